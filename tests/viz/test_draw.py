"""What the pictures show, and where."""

import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import torch

from photoglue.errors import ConfigError, ImageError, MissingExtra, PhotoGlueWarning, ShapeError
from photoglue.structs import Features, Matches
from photoglue.viz import draw_keypoints, draw_matches, draw_pruning
from photoglue.viz.draw import _kept, _spread

matplotlib = pytest.importorskip("matplotlib", exc_type=ImportError)

RED = (1.0, 0x3B / 255, 0x30 / 255)


def _pairs(scores, size0=(640, 480), size1=(640, 480), **more):
    """Matches of random points, the i-th with the i-th, with the given scores."""
    count = len(scores)
    index, scores = torch.arange(count), torch.as_tensor(scores, dtype=torch.float32)
    return Matches(
        matches0=index,
        matches1=index,
        matching_scores0=scores,
        matching_scores1=scores,
        keypoints0=torch.rand(count, 2) * (torch.tensor(size0) - 1.0),
        keypoints1=torch.rand(count, 2) * (torch.tensor(size1) - 1.0),
        **more,
    )


def _photo(width=640, height=480):
    return np.full((height, width, 3), 90, dtype=np.uint8)


def _rendered(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def _title(figure):
    return figure.texts[0].get_text()


def _legend(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def _lines(figure):
    """The line collections: rejected, accepted."""
    return [item for item in figure.axes[0].collections if hasattr(item, "get_segments")]


def _dots(figure):
    return [item for item in figure.axes[0].collections if not hasattr(item, "get_segments")]


def _bar_label(figure):
    return [axes.get_ylabel() for axes in figure.axes[1:]]


@pytest.mark.slow
def test_dots_lie_on_the_centres_of_their_pixels_in_images_of_different_sizes():
    """In each photo one white pixel and its keypoint: the dot is in the middle of the white square, as rendered."""
    image0, image1 = np.zeros((9, 12, 3), dtype=np.uint8), np.zeros((18, 6, 3), dtype=np.uint8)
    image0[2, 3], image1[17, 5] = 255, 255
    matches = Matches(
        matches0=torch.tensor([0]),
        matches1=torch.tensor([0]),
        matching_scores0=torch.ones(1),
        matching_scores1=torch.ones(1),
        keypoints0=torch.tensor([[3.0, 2.0]]),
        keypoints1=torch.tensor([[5.0, 17.0]]),
    )
    figure = draw_matches(image0, image1, matches)
    picture = _rendered(figure)
    height, width, _ = picture.shape
    photos = picture[45:, : int(figure.axes[1].get_position().x0 * width)]  # without the title and the colour bar
    middle = int(photos.shape[1] * 0.75)  # photo 0 lies to the left of it, the white pixel of photo 1 to the right
    places = [dots.get_offset_transform().transform(dots.get_offsets())[0] for dots in _dots(figure)]
    for (x, y), start, stop in zip(places, (0, middle), (middle, None), strict=True):
        part = photos[:, start:stop, :3].astype(int)
        # The toned white of the pixel: gray, unlike dot and line, and not as white as the margins.
        rows, columns = np.nonzero((part.min(axis=2) > 220) & (part.max(axis=2) < 240))
        square = start + (columns.min() + columns.max() + 1) / 2, 45 + (rows.min() + rows.max() + 1) / 2
        assert (x, height - y) == pytest.approx(square, abs=1.0)
    ends = _lines(figure)[-1].get_transform().transform(_lines(figure)[-1].get_segments()[0])
    np.testing.assert_allclose(ends, places)


@pytest.mark.slow
def test_lines_are_coloured_by_score_and_the_best_is_drawn_last():
    matches = _pairs([0.9, 0.1, 0.5])
    figure = draw_matches(_photo(), _photo(), matches)
    lines = _lines(figure)[-1]
    starts = np.array([segment[0] for segment in lines.get_segments()])
    scale = 796 / 640
    np.testing.assert_allclose(starts, (matches.keypoints0[[1, 2, 0]].numpy() + 0.5) * scale, rtol=1e-5)
    colours = lines.get_colors()
    luminance = colours[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0.1).all()  # a perceptual map: brighter is better, also in gray
    assert 0 < lines.get_alpha() < 1
    # The colour of a score is the same in every picture.
    again = _lines(draw_matches(_photo(), _photo(), _pairs([0.5, 0.3])))[-1].get_colors()
    np.testing.assert_array_equal(again[1], colours[1])
    assert _bar_label(figure) == ["match score"]


@pytest.mark.slow
def test_too_many_matches_are_sampled_along_their_scores():
    scores = torch.rand(1000)
    figure = draw_matches(_photo(), _photo(), _pairs(scores, stop=7, n_layers=9))
    assert _title(figure) == "1,000 matches · exit at layer 7 of 9 · 200 drawn"
    assert len(_lines(figure)[-1].get_segments()) == 200
    rows = _spread(scores, 200)
    ranks = torch.argsort(torch.argsort(scores))[rows]
    assert int(ranks[-1]) == 999  # the best of all, and on top
    assert ranks.diff().tolist() == [5] * 199
    assert len(_lines(draw_matches(_photo(), _photo(), _pairs(scores), max_lines=None))[-1].get_segments()) == 1000


@pytest.mark.parametrize(("count", "limit"), [(0, 5), (1, 5), (5, 5), (6, 5), (7, 1), (1001, 250)])
def test_a_sample_has_no_row_twice(count, limit):
    rows = _spread(torch.rand(count), limit)
    assert len(rows) == min(count, limit)
    assert len(set(rows.tolist())) == len(rows)


def test_rejected_matches_are_faint_red_below_the_others_and_counted():
    inliers = torch.tensor([True, False, False])
    matches = _pairs([0.9, 0.8, 0.7])
    figure = draw_matches(_photo(), _photo(), matches, inliers=inliers)
    rejected, accepted = _lines(figure)
    np.testing.assert_allclose(rejected.get_colors()[0, :3], RED)
    assert rejected.get_alpha() < accepted.get_alpha()
    assert len(rejected.get_segments()) == 2
    assert len(accepted.get_segments()) == 1
    np.testing.assert_allclose(accepted.get_segments()[0][0], (matches.keypoints0[0] + 0.5) * 796 / 640, rtol=1e-5)
    assert next(iter(figure.axes[0].collections)) is rejected
    assert _title(figure) == "1 of 3 matches verified"
    assert _legend(figure) == ["2 rejected"]


@pytest.mark.parametrize(
    ("scores", "more", "wanted"),
    [
        ([], {"stop": 1, "n_layers": 9}, "0 matches · exit at layer 1 of 9"),
        ([0.5], {}, "1 match"),
        ([0.5, 0.6], {"stop": 3}, "2 matches · exit at layer 3"),
    ],
)
def test_the_title_says_what_is_known(scores, more, wanted):
    assert _title(draw_matches(_photo(), _photo(), _pairs(scores, **more))) == wanted
    assert _title(draw_matches(_photo(), _photo(), _pairs(scores, **more), title="mine")) == "mine"


def _pruned(stop=6):
    """Six points each: two matched, the others pruned after layers 1, 1, 3 and 5, or kept without a match."""
    matches = torch.tensor([0, 1, -1, -1, -1, -1])
    return Matches(
        matches0=matches,
        matches1=matches,
        matching_scores0=torch.rand(6),
        matching_scores1=torch.rand(6),
        keypoints0=torch.rand(6, 2) * 400,
        keypoints1=torch.rand(6, 2) * 400,
        stop=stop,
        n_layers=9,
        prune0=torch.tensor([6, 6, 1, 1, 3, 5]),
        prune1=torch.tensor([6, 6, 6, 6, 6, 2]),
    )


def test_pruned_points_are_coloured_by_layer_and_kept_ones_white():
    matches = _pruned()
    figure = draw_pruning(_photo(), _photo(), matches)
    assert _title(figure) == "4 of 6 and 1 of 6 points pruned · exit at layer 6 of 9"
    assert _legend(figure) == ["7 kept"]
    kept0, pruned0, kept1, pruned1 = _dots(figure)
    assert [len(dots.get_offsets()) for dots in (kept0, pruned0, kept1, pruned1)] == [2, 4, 5, 1]
    np.testing.assert_array_equal(kept0.get_facecolors()[0], [1, 1, 1, 1])
    first, same, third, fifth = pruned0.get_facecolors()
    np.testing.assert_array_equal(first, same)
    luminance = np.array([first, pruned1.get_facecolors()[0], third, fifth])[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0.02).all()  # layers 1, 2, 3, 5: later is brighter, also in gray
    assert luminance[-1] < 0.8  # and not as bright as the kept ones
    np.testing.assert_allclose(pruned0.get_offsets(), (matches.keypoints0[2:].numpy() + 0.5) * 796 / 640, rtol=1e-5)
    assert _bar_label(figure) == ["pruned after layer"]
    assert figure.axes[1].get_yticks().tolist() == [1, 2, 3, 4, 5]  # all layers after which points could go


def test_a_pair_without_pruning_has_no_colour_bar():
    nine = torch.full((3,), 9)
    figure = draw_pruning(_photo(), _photo(), _pairs([0.1, 0.2, 0.3], stop=9, n_layers=9, prune0=nine, prune1=nine))
    assert _title(figure) == "0 of 3 and 0 of 3 points pruned · exit at layer 9 of 9"
    assert _legend(figure) == ["6 kept"]
    assert len(figure.axes) == 1


def test_kept_points_have_the_count_of_the_matched_ones():
    # Pruning stopped after three steps: fewer points were left than it is worth for.
    assert _kept(torch.tensor([4, 4, 2, 3]), torch.tensor([0, -1, -1, -1])).tolist() == [True, True, False, False]
    assert _kept(torch.tensor([1, 3, 3]), torch.tensor([-1, -1, -1])).tolist() == [False, True, True]
    assert _kept(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)).tolist() == []


def test_keypoints_are_coloured_by_score_the_best_on_top(motorcycle):
    features = Features(
        keypoints=torch.tensor([[10.0, 20], [30, 40], [700, 490]]),
        descriptors=torch.rand(3, 8),
        scores=torch.tensor([0.2, 0.9, 0.1]),
        image_size=(741, 500),
        kind="aliked-n16",
    )
    figure = draw_keypoints(motorcycle[0], features)
    (dots,) = _dots(figure)
    np.testing.assert_allclose(dots.get_offsets(), (features.keypoints[[2, 0, 1]].numpy() + 0.5) * 900 / 500, rtol=1e-6)
    assert (np.diff(dots.get_facecolors()[:, :3] @ [0.2126, 0.7152, 0.0722]) > 0).all()
    assert _title(figure) == "3 keypoints · aliked-n16"
    assert _bar_label(figure) == ["detection score"]


@pytest.mark.slow
def test_a_photo_without_keypoints_is_a_picture():
    none = Features(
        keypoints=torch.zeros(0, 2), descriptors=torch.zeros(0, 8), scores=torch.zeros(0), image_size=(640, 480)
    )
    figure = draw_keypoints(_photo(), none)
    assert _title(figure) == "0 keypoints"
    assert len(figure.axes) == 1
    assert _rendered(figure).shape[1] < 1300


@pytest.mark.slow
def test_any_kind_of_image_gives_the_same_picture(tmp_path):
    array = (torch.rand(48, 64, 3) * 255).to(torch.uint8).numpy()
    picture = PIL.Image.fromarray(array)
    picture.save(tmp_path / "photo.png")
    tensor = torch.from_numpy(array).permute(2, 0, 1).float() / 255
    matches = _pairs([0.3, 0.8], size0=(64, 48), size1=(64, 48))
    wanted = _rendered(draw_matches(array, array, matches))
    for source in (picture, tmp_path / "photo.png", str(tmp_path / "photo.png"), tensor):
        np.testing.assert_array_equal(_rendered(draw_matches(source, source, matches)), wanted)
    _rendered(draw_matches(array[..., 0], picture, matches))  # gray beside colour


def test_input_that_does_not_fit_says_why():
    matches = _pairs([0.3, 0.8])
    with pytest.raises(ShapeError, match=r"inliers has shape \(3,\) and there are 2 matches.*verify\(matches\.points0"):
        draw_matches(_photo(), _photo(), matches, inliers=torch.ones(3, dtype=torch.bool))
    with pytest.raises(ConfigError, match="max_lines is 0; it must be at least 1, or None"):
        draw_matches(_photo(), _photo(), matches, max_lines=0)
    with pytest.raises(ConfigError, match=r"prune0 or prune1 is None.*Match with LightGlue"):
        draw_pruning(_photo(), _photo(), matches)
    with pytest.raises(ImageError, match="no file"):
        draw_matches("absent.jpg", _photo(), matches)
    features = Features(
        keypoints=torch.zeros(1, 2), descriptors=torch.zeros(1, 8), scores=torch.zeros(1), image_size=(480, 640)
    )
    with pytest.raises(ShapeError, match=r"of an image of \(480, 640\) pixels .* this one has \(640, 480\)"):
        draw_keypoints(_photo(), features)
    with pytest.warns(PhotoGlueWarning, match=r"1 of 2 points lie outside photo 1 of \(640, 480\)"):
        moved = matches.keypoints1 + torch.tensor([[0.0, 0], [900, 0]])
        draw_matches(_photo(), _photo(), Matches(**{**matches.__dict__, "keypoints1": moved}))


def test_a_missing_matplotlib_names_the_extra(monkeypatch):
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"photoglue\[viz\]"):
        draw_matches(_photo(), _photo(), _pairs([]))


@pytest.mark.slow
def test_nothing_global_is_touched():
    code = """
import sys, numpy, torch, matplotlib

def settings():  # to read "backend" would import pyplot
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}

before = settings()
from photoglue.structs import Features
from photoglue.viz import draw_keypoints
points = Features(keypoints=torch.rand(3, 2), descriptors=torch.rand(3, 2), scores=torch.rand(3), image_size=(8, 8))
draw_keypoints(numpy.zeros((8, 8)), points).canvas.draw()
assert before == settings()
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
