"""The weakest links are those of the strongest way to join all photos."""

import pytest
import torch
from tiny_model import write_tiny_model

from photoglue.geometry.frames import StoredFrame
from photoglue.sfm.report.links import shared_links, weakest_links
from photoglue.solvers.colmap_model import read_model


def pair(first, second, inliers):
    return first, second, inliers, "calibrated"


def test_a_weak_pair_with_a_strong_way_around_it_is_none():
    pairs = [pair("a", "b", 90), pair("b", "c", 80), pair("a", "c", 3), pair("c", "d", 20), pair("b", "d", 10)]
    assert weakest_links(pairs, 9) == [pair("c", "d", 20), pair("b", "c", 80), pair("a", "b", 90)]
    assert weakest_links(pairs[::-1], 1) == [pair("c", "d", 20)]


def test_two_parts_have_links_of_their_own():
    pairs = [pair("a", "b", 5), pair("c", "d", 4), pair("a", "b", 2)]
    assert weakest_links(pairs, 9) == [pair("c", "d", 4), pair("a", "b", 5)]
    assert weakest_links([], 3) == []


def test_a_chain_of_thousands_is_quick():
    pairs = [pair(f"{i:05}", f"{i + 1:05}", i + 1) for i in range(5000)]
    assert [found[2] for found in weakest_links(pairs, 3)] == [1, 2, 3]


@pytest.mark.parametrize("orientation", [1, 6])
def test_matches_from_a_model_are_upright(tmp_path, orientation):
    model = read_model(write_tiny_model(tmp_path).model)
    frame = StoredFrame(orientation=orientation, upright_size=(64, 48) if orientation == 1 else (48, 64))
    frames = {image.name: frame for image in model.images}
    ((name0, name1, points0, points1),) = shared_links(model, [pair("a.jpg", "sub/c.jpg", 9)], frames, 100)
    assert (name0, name1, len(points0)) == ("a.jpg", "sub/c.jpg", 12)
    expected = frame.to_upright(model.image("sub/c.jpg").keypoints)
    torch.testing.assert_close(points1, expected.float())
    assert len(shared_links(model, [pair("a.jpg", "b.jpg", 9)], frames, 5)[0][2]) == 5
    assert shared_links(model, [pair("a.jpg", "gone.jpg", 9)], frames, 5) == []
