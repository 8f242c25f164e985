"""What the picture of labels shows, and where."""

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError, ShapeError
from photoglue.viz.labels import IGNORED, MATCHED, UNMATCHED, draw_labels

matplotlib = pytest.importorskip("matplotlib", exc_type=ImportError)
PHOTO0, PHOTO1 = np.full((60, 80, 3), 90, np.uint8), np.full((120, 90, 3), 90, np.uint8)
POINTS0 = torch.tensor([[10.0, 10.0], [40.0, 30.0], [70.0, 50.0]])
POINTS1 = torch.tensor([[20.0, 100.0], [80.0, 30.0]])


def _figure(matches0=(1, -1, -2), matches1=(-2, 0), points0=POINTS0, points1=POINTS1, **options):
    labels0, labels1 = (torch.tensor(labels, dtype=torch.int64) for labels in (matches0, matches1))
    return draw_labels(PHOTO0, PHOTO1, points0, points1, labels0, labels1, **options)


def _dots(figure, colour):
    """Places of all dots of a colour."""
    wanted = matplotlib.colors.to_rgb(colour)
    collections = [item for item in figure.axes[0].collections if not hasattr(item, "get_segments")]
    same = [item for item in collections if np.allclose(item.get_facecolor()[:, :3], wanted)]
    return np.concatenate([np.asarray(item.get_offsets()) for item in same])


def _segments(figure):
    (lines,) = [item for item in figure.axes[0].collections if hasattr(item, "get_segments")]
    assert np.allclose(lines.get_color()[0][:3], matplotlib.colors.to_rgb(MATCHED))
    return lines.get_segments()


def test_points_have_the_colour_of_their_label_and_matches_are_joined():
    figure = _figure()
    height = figure.axes[0].get_ylim()[0]
    scale0, scale1, left = height / 60, height / 120, height / 60 * 80 + 8
    place0 = (POINTS0.numpy() + 0.5) * scale0
    place1 = (POINTS1.numpy() + 0.5) * scale1 + [left, 0]
    assert np.allclose(_dots(figure, UNMATCHED), place0[[1]])
    assert np.allclose(_dots(figure, IGNORED), [place0[2], place1[0]])
    assert np.allclose(_dots(figure, MATCHED), [place0[0], place1[1]])
    (segment,) = _segments(figure)
    assert np.allclose(segment, [place0[0], place1[1]])


def test_title_and_legend_count():
    figure = _figure()
    assert figure.texts[0].get_text() == "1 match"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["40% matched", "20% without partner", "40% ignored"]
    assert _figure(title="mine").texts[0].get_text() == "mine"


def test_at_most_so_many_lines_are_drawn():
    count = 50
    points, index = torch.rand(count, 2) * 50, list(range(count))
    figure = _figure(index, index, points, points, max_lines=7)
    assert len(_segments(figure)) == 7
    assert len(_dots(figure, MATCHED)) == 2 * count
    assert figure.texts[0].get_text() == "50 matches · 7 drawn"
    assert len(_segments(_figure(index, index, points, points, max_lines=None))) == count


def test_no_points_at_all():
    nothing = torch.zeros(0, 2)
    figure = _figure((), (), nothing, nothing)
    figure.canvas.draw()
    assert figure.texts[0].get_text() == "0 matches"


def test_labels_that_do_not_fit_are_refused(as_a_user):
    with pytest.raises(ShapeError, match="Image 1 has 2 keypoints and 1 labels"):
        _figure(matches1=(-1,))
    with pytest.raises(ShapeError, match="labels of image 0 reach from -2 to 2; the indices of the 2 keypoints"):
        _figure(matches0=(2, -1, -2))
    with pytest.raises(ShapeError, match="reach from -3 to 0"):
        _figure(matches1=(-3, 0))
    with pytest.raises(ConfigError, match="max_lines is 0"):
        _figure(max_lines=0)


def test_the_legend_does_not_cover_the_title():
    figure = _figure(list(range(500)), list(range(500)), torch.rand(500, 2) * 50, torch.rand(500, 2) * 50)
    figure.canvas.draw()
    assert figure.texts[0].get_window_extent().x1 < figure.legends[0].get_window_extent().x0
