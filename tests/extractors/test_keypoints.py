"""What detectors share: local maxima, the best points, sampling a map at points."""

import pytest
import torch

from photoglue.extractors.keypoints import (
    best,
    iterated_maxima,
    local_maxima,
    pixels_within,
    sample_bilinear,
    window_maximum,
    without_blank,
    without_border,
)


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 40])
@pytest.mark.parametrize("shape", [(2, 13, 17), (1, 1, 1), (1, 1, 9)])
def test_window_maximum_is_max_pooling(shape, radius):
    maps = torch.randn(shape)
    padded = torch.nn.functional.pad(maps, (radius,) * 4, value=float("-inf"))
    wanted = torch.nn.functional.max_pool2d(padded, 2 * radius + 1, stride=1)
    assert torch.equal(window_maximum(maps, radius), wanted)


def test_ties_all_count():
    scores = torch.tensor([[[1.0, 1, 0, 2]]])
    assert local_maxima(scores, 1).tolist() == [[[True, True, False, True]]]
    assert local_maxima(scores, 3).tolist() == [[[False, False, False, True]]]


def test_iterated_maxima_bring_back_what_a_suppressed_point_suppressed():
    scores = torch.tensor([[[3.0, 2, 1, 0.5]]])
    assert local_maxima(scores, 1).tolist() == [[[True, False, False, False]]]
    assert iterated_maxima(scores, 1, rounds=1).tolist() == [[[True, False, True, False]]]


def test_border():
    wanted = torch.ones(1, 5, 6, dtype=torch.bool)
    assert torch.equal(without_border(wanted, 0), wanted)
    assert without_border(wanted, 2).nonzero().tolist() == [[0, 2, 2], [0, 2, 3]]
    assert not without_border(wanted, 3).any()


@pytest.mark.parametrize("border", [0, 2, 3])
def test_pixels_are_those_of_the_mask_without_its_border(border):
    wanted = torch.rand(5, 7) < 0.7
    listed = without_border(wanted[None], border)[0].nonzero().flip(1)
    assert torch.equal(pixels_within(wanted, border), listed)


def test_blank_images_have_no_points():
    images = torch.full((3, 3, 4, 4), 0.5)
    images[1, 2, 0, 0] = 0.6
    images[2] += 1e-6 * torch.rand(3, 4, 4)
    wanted = torch.ones(3, 4, 4, dtype=torch.bool)
    assert without_blank(wanted, images).flatten(1).all(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize(("count", "wanted"), [(2, [1, 2]), (None, [1, 2, 3, 0]), (9, [1, 2, 3, 0]), (0, [])])
def test_the_best_come_first_and_equals_in_their_order(count, wanted):
    assert best(torch.tensor([1.0, 4, 4, 2]), count).tolist() == wanted


def test_samples():
    maps = torch.arange(12.0).view(1, 3, 4)
    points = torch.tensor([[0.0, 0], [3, 2], [1.5, 0.5], [0, 1.25]])
    assert sample_bilinear(maps, points)[:, 0].tolist() == pytest.approx([0, 11, 3.5, 5])
    outside = torch.tensor([[-2.0, 1]])
    assert sample_bilinear(maps, outside).tolist() == [[0]]
    assert sample_bilinear(maps, outside, padding_mode="border").tolist() == [[4]]
    assert sample_bilinear(torch.full((2, 1, 1), 7.0), torch.zeros(1, 2)).tolist() == [[7, 7]]
