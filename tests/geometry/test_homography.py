"""Homographies against hand-made values, OpenCV and kornia."""

import math

import numpy as np
import pytest
import torch

from photoglue.errors import ShapeError
from photoglue.geometry.homography import corner_error_px, estimate_homography_dlt, scaled_homography, warp_points
from photoglue.image import Resize

HOMOGRAPHY = torch.tensor([[1.1, 0.05, 20], [-0.03, 0.95, 10], [1e-4, 5e-5, 1]], dtype=torch.float64)
EYE = torch.eye(3, dtype=torch.float64)
SIZE = (800, 600)


def _points(count=100):
    return torch.rand(count, 2, dtype=torch.float64) * torch.tensor([800.0, 600])


def _same(found, wanted):
    """Equal up to scale."""
    torch.testing.assert_close(found / found.norm(), wanted / wanted.norm() * torch.sign((found * wanted).sum()))


def test_warping_by_hand():
    shift_and_zoom = torch.tensor([[2.0, 0, 5], [0, 2, -1], [0, 0, 1]], dtype=torch.float64)
    points = torch.tensor([[0.0, 0], [10, 20]])
    assert warp_points(points, shift_and_zoom).tolist() == [[5, -1], [25, 39]]
    # x / (1 + x / 100): halves what is at 100.
    fading = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.01, 0, 1]], dtype=torch.float64)
    assert warp_points(torch.tensor([[100.0, 40]]), fading).tolist() == [[50, 20]]


def test_warping_is_opencvs():
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    points = _points()
    expected = cv2.perspectiveTransform(points[None].numpy(), HOMOGRAPHY.numpy())[0]
    np.testing.assert_allclose(warp_points(points, HOMOGRAPHY), expected, rtol=1e-12)
    assert warp_points(points.float(), HOMOGRAPHY).dtype == torch.float32
    assert warp_points(points[:0], HOMOGRAPHY).shape == (0, 2)


@pytest.mark.parametrize("scale", [1.0, -3.0, 1e-6])
def test_points_behind_the_camera_are_infinitely_far_away(scale):
    """The horizon is at x = 100; plain division would mirror what is beyond it."""
    homography = scale * torch.tensor([[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]], dtype=torch.float64)
    warped = warp_points(torch.tensor([[50.0, 10], [100, 10], [150, 10]]), homography)
    torch.testing.assert_close(warped[0], torch.tensor([100.0, 20]))
    assert warped[1:].tolist() == [[math.inf] * 2] * 2


def test_the_pixel_0_0_may_be_behind_the_camera():
    """A tilted plane whose horizon is at x = 100, to be seen only to the right of it: the third coordinate is
    x / 100 - 1, and nothing is mirrored."""
    homography = torch.tensor([[0, 0, 1], [0, -1, 0], [0.01, 0, -1]], dtype=torch.float64)
    assert torch.linalg.det(homography) > 0
    warped = warp_points(torch.tensor([[0.0, 0], [150, 10]]), homography)
    assert warped[0].tolist() == [math.inf] * 2
    torch.testing.assert_close(warped[1], torch.tensor([2.0, -20]))


@pytest.mark.data
def test_the_right_side_of_evds_horizons_is_seen(shared_data):
    """By what the second photo shows: in "vin" the visible part of the plane is away from the pixel (0, 0)."""
    for folder in sorted((shared_data / "eval" / "evd").iterdir()):
        if not (folder / "H_1_2").is_file():
            continue
        homography = torch.from_numpy(np.loadtxt(folder / "H_1_2").reshape(3, 3))
        grid = torch.cartesian_prod(torch.arange(0.0, 1000, 10), torch.arange(0.0, 700, 10))
        warped = warp_points(grid, homography)
        inside = (warped >= 0).all(dim=1) & (warped < torch.tensor([1000, 667])).all(dim=1)
        assert inside.float().mean() > 0.02, folder.name


def test_a_mirrored_image_is_not_behind_the_camera():
    mirror = torch.tensor([[-1.0, 0, 799], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    assert warp_points(torch.tensor([[0.0, 7]]), mirror).tolist() == [[799, 7]]


def test_resized_images_have_the_homography_of_resized_points():
    resize0, resize1 = Resize.long_side((800, 600), 501), Resize.long_side((640, 481), 333)
    assert resize1.scale[0] != resize1.scale[1], "rounding gives each axis its own scale"
    points = _points().float()
    scaled = scaled_homography(HOMOGRAPHY, resize0.scale, resize1.scale)
    torch.testing.assert_close(
        warp_points(resize0.redo(points), scaled), resize1.redo(warp_points(points, HOMOGRAPHY)), atol=1e-3, rtol=0
    )


def test_the_half_pixel_of_resizing_by_hand():
    # Halved, the pixels 0 and 1 become the pixel 0, whose centre was at 0.5.
    assert warp_points(torch.tensor([[0.5, 0.5]]), scaled_homography(EYE, (1.0, 1.0), (0.5, 0.5))).tolist() == [[0, 0]]
    assert warp_points(torch.tensor([[0.0, 0]]), scaled_homography(EYE, (0.5, 0.5), (1.0, 1.0))).tolist() == [
        [0.5, 0.5]
    ]
    torch.testing.assert_close(scaled_homography(EYE, (0.3, 0.7), (0.3, 0.7)), EYE)


@pytest.mark.parametrize("count", [4, 5, 100])
@pytest.mark.parametrize("weighted", [False, True])
def test_dlt_recovers_an_exact_homography(count, weighted):
    points0 = _points(count)
    points1 = warp_points(points0, HOMOGRAPHY)
    found = estimate_homography_dlt(points0, points1, torch.rand(count) + 0.1 if weighted else None)
    assert corner_error_px(found, HOMOGRAPHY, SIZE) < 1e-7
    assert float(found.norm()) == pytest.approx(1)
    assert float(found[2, 2]) > 0


def test_dlt_is_kornias():
    homography = pytest.importorskip("kornia.geometry.homography", exc_type=ImportError)
    points0 = _points()
    points1 = warp_points(points0, HOMOGRAPHY) + torch.randn(100, 2)
    weights = torch.rand(100, dtype=torch.float64)
    found, weighted = estimate_homography_dlt(points0, points1), estimate_homography_dlt(points0, points1, weights)
    assert corner_error_px(weighted, found, SIZE) > 0.2, "weights count"
    batch = points0[None], points1[None]
    expected = homography.find_homography_dlt(*batch, solver="svd")[0]
    assert corner_error_px(found, expected, SIZE) < 1e-4
    # Not all versions weight the normalisation, too.
    expected = homography.find_homography_dlt(*batch, weights[None], solver="svd")[0]
    assert corner_error_px(weighted, expected, SIZE) < 0.05
    # What glue-factory calls: the last element 1 instead of the norm.
    expected = homography.find_homography_dlt(*batch, weights[None])[0]
    assert corner_error_px(weighted, expected, SIZE) < 0.1


def test_dlt_is_the_same_for_moved_and_shuffled_points():
    """Normalising (Hartley & Zisserman 4.4) makes it independent of where the origin lies."""
    points0 = _points()
    points1 = warp_points(points0, HOMOGRAPHY) + torch.randn(100, 2)
    found = estimate_homography_dlt(points0, points1)
    away = torch.tensor([[1, 0, 1e5], [0, 1, -1e5], [0, 0, 1]], dtype=torch.float64)
    moved = estimate_homography_dlt(warp_points(points0, away), warp_points(points1, away))
    assert corner_error_px(torch.linalg.inv(away) @ moved @ away, found, SIZE) < 1e-4
    order = torch.randperm(100)
    assert corner_error_px(estimate_homography_dlt(points0[order], points1[order]), found, SIZE) < 1e-9


def test_matches_of_weight_0_are_as_if_absent():
    points0 = _points()
    points1 = warp_points(points0, HOMOGRAPHY)
    points1[60:] = torch.rand(40, 2, dtype=torch.float64) * 1e6
    weights = (torch.arange(100) < 60).double()
    found = estimate_homography_dlt(points0, points1, weights)
    assert corner_error_px(found, HOMOGRAPHY, SIZE) < 1e-7
    torch.testing.assert_close(found, estimate_homography_dlt(points0[:60], points1[:60]))
    assert estimate_homography_dlt(points0, points1, (torch.arange(100) < 3).double()) is None


def test_dlt_of_float32_pixels_of_a_large_photo():
    points0 = _points() * 8
    points1 = warp_points(points0, HOMOGRAPHY)
    found = estimate_homography_dlt(points0.float(), points1.float())
    assert corner_error_px(found, HOMOGRAPHY, (6400, 4800)) < 1e-2


def test_what_determines_no_homography():
    on_a_line = torch.stack([torch.arange(50.0), 3 * torch.arange(50.0) + 2], dim=1)
    anywhere = _points(50).float()
    three_on_a_line = torch.tensor([[0.0, 0], [1, 1], [2, 2], [5, 0]])
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    for points0, points1 in (
        (anywhere[:0], anywhere[:0]),
        (anywhere[:3], anywhere[:3]),
        (torch.full((50, 2), 7.0), anywhere),
        (anywhere, torch.full((50, 2), 7.0)),
        (on_a_line, on_a_line + 1),
        (on_a_line * 0.37 + 311.7, on_a_line * 0.19 + 55.3),  # rounded to float32: not quite on a line
        (anywhere, on_a_line),
        (three_on_a_line, three_on_a_line),
        (three_on_a_line, square),
        (anywhere[:4].repeat(10, 1)[:3].repeat(5, 1), anywhere[:3].repeat(5, 1)),
    ):
        assert estimate_homography_dlt(points0, points1) is None


def test_senseless_numbers_are_refused():
    points = _points(10)
    bad = points.clone()
    bad[3, 0] = math.inf
    with pytest.raises(ShapeError, match="not finite"):
        estimate_homography_dlt(points, bad)
    with pytest.raises(ShapeError, match=r"negative or not finite; pass matches\.scores"):
        estimate_homography_dlt(points, points, torch.linspace(-1, 1, 10))
    with pytest.raises(ShapeError, match="weights have values"):
        estimate_homography_dlt(points, points, torch.full((10,), math.nan))


def test_corner_errors_by_hand():
    # Shifted by (3, 4): each corner by 5.
    shift = torch.tensor([[1.0, 0, 3], [0, 1, 4], [0, 0, 1]], dtype=torch.float64)
    assert corner_error_px(shift, EYE, SIZE) == pytest.approx(5)
    # Twice as wide: the corners at W = 800 move by 800, the others stay.
    assert corner_error_px(torch.diag(torch.tensor([2.0, 1, 1]).double()), EYE, SIZE) == pytest.approx(400)
    # Twice as high: those at H = 600 move by 600. Width and height are not swapped.
    assert corner_error_px(torch.diag(torch.tensor([1.0, 2, 1]).double()), EYE, SIZE) == pytest.approx(300)
    assert corner_error_px(-5 * HOMOGRAPHY, HOMOGRAPHY, SIZE) == pytest.approx(0, abs=1e-9)


def test_no_homography_and_corners_at_the_horizon_are_failures():
    assert corner_error_px(None, EYE, SIZE) == math.inf
    through_a_corner = torch.tensor([[1, 0, 0], [0, 1, 0], [-1 / 800, 0, 1]], dtype=torch.float64)
    assert corner_error_px(through_a_corner, EYE, SIZE) == math.inf
    assert corner_error_px(torch.full((3, 3), math.nan, dtype=torch.float64), EYE, SIZE) == math.inf
