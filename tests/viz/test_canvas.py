"""Where photos and points come to lie, and which colours numbers get."""

import numpy as np
import pytest
import torch

from photoglue.errors import PhotoGlueWarning
from photoglue.viz.canvas import HEADER, MARGIN, Canvas, Colours

pytest.importorskip("matplotlib", exc_type=ImportError)

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def _photo(width, height):
    return np.full((height, width, 3), 90, dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [((640, 480), (480, 640)), ((5, 3000), (3000, 5)), ((1, 1), (4000, 3000))])
def test_photos_stand_at_one_height_and_the_picture_is_never_too_wide(sizes):
    canvas = Canvas([_photo(*size) for size in sizes])
    extents = [image.get_extent() for image in canvas.axes.images]
    assert len({(bottom, top) for _, _, bottom, top in extents}) == 1
    for (left, right, bottom, _), (width, height) in zip(extents, sizes, strict=True):
        assert (right - left) / bottom == pytest.approx(width / height)
    assert extents[1][0] > extents[0][1]  # side by side
    canvas.figure.canvas.draw()
    height, width, _ = np.asarray(canvas.figure.canvas.buffer_rgba()).shape
    assert 640 < width <= 1800
    assert 240 <= height <= 1000


def test_the_unit_of_the_axes_is_a_pixel_of_the_picture():
    canvas = Canvas([_photo(300, 200), _photo(200, 300)])
    height = canvas.figure.bbox.height
    for point in ([0, 0], [canvas.width, 0], [123, 45]):
        x, y = canvas.axes.transData.transform(point)
        assert (x, height - y) == pytest.approx((MARGIN + point[0], HEADER + point[1]))


def test_points_are_placed_by_the_centres_of_their_pixels():
    canvas = Canvas([_photo(30, 20), _photo(20, 10)])
    right = canvas.axes.images[1].get_extent()
    corners = torch.tensor([[-0.5, -0.5], [19.5, 9.5], [9.5, 4.5]])
    wanted = [[right[0], 0], [right[1], right[2]], [(right[0] + right[1]) / 2, right[2] / 2]]
    np.testing.assert_allclose(canvas.place(corners, 1), wanted)


def test_points_outside_the_photo_are_noticed():
    canvas = Canvas([_photo(30, 20)])
    canvas.place(torch.tensor([[-0.5, -0.5], [29.5, 19.5]]), 0)
    with pytest.warns(PhotoGlueWarning, match=r"2 of 3 points lie outside photo 0 of \(30, 20\).*size in which"):
        canvas.place(torch.tensor([[5.0, 25.0], [-3, 5], [5, 5]]), 0)


@pytest.mark.slow
def test_a_large_photo_is_shrunk_before_it_is_kept_in_the_figure():
    canvas = Canvas([_photo(3000, 2000), _photo(300, 200)])
    assert [image.get_array().shape[:2] for image in canvas.axes.images] == [(531, 796), (200, 300)]


def test_without_a_bar_there_is_no_space_for_one():
    with_bar, without = (Canvas([_photo(300, 200)], bar=bar).figure.bbox.width for bar in (True, False))
    assert with_bar - without == pytest.approx(72)
    assert without == pytest.approx(900 * 1.5 + 2 * MARGIN)


@pytest.mark.parametrize(("kind", "values"), [("continuous", np.linspace(0, 1, 20)), ("whole", np.arange(0, 9))])
def test_colours_grow_brighter_and_are_never_dark(kind, values):
    luminance = Colours(kind, float(values[0]), float(values[-1])).of(values)[:, :3] @ LUMINANCE
    assert (np.diff(luminance) > 0.01).all()
    assert luminance[0] > 0.08 if kind == "whole" else luminance[0] > 0.25


def test_equal_values_have_a_colour_and_none_have_none():
    assert Colours("continuous", 0.3, 0.3).of(np.array([0.3])).shape == (1, 4)
    assert Colours("whole", 1.0, 1.0).of(np.zeros(0)).shape == (0, 4)
