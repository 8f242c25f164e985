"""Robust estimation against geometry that is known."""

import math
import sys

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError, MissingExtra, ShapeError
from photoglue.geometry.camera import PinholeCamera
from photoglue.solvers.poselib import SAMPLE_SIZE, THRESHOLD_PX, scaled_threshold_px, verify

pytest.importorskip("poselib", exc_type=ImportError)

MODELS = ("homography", "fundamental", "essential")
CAMERA0 = PinholeCamera(fx=800.0, fy=810.0, cx=401.0, cy=297.0, image_size=(800, 600))
CAMERA1 = PinholeCamera(fx=640.0, fy=630.0, cx=330.0, cy=235.0, image_size=(640, 480))
HOMOGRAPHY = torch.tensor([[1.1, 0.05, 20], [-0.03, 0.95, 10], [1e-4, 5e-5, 1]], dtype=torch.float64)


def _rotation(axis, angle):
    """Rodrigues' formula, by the exponential of the cross-product matrix."""
    x, y, z = (angle * np.asarray(axis) / np.linalg.norm(axis)).tolist()
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))


ROTATION = _rotation([0.2, 1, 0.1], 0.25)
TRANSLATION = torch.tensor([1.0, 0.1, 0.2], dtype=torch.float64)


def _project(matrix, points):
    homogeneous = points @ matrix.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def _scene(count=600, outliers=200, noise_px=0.1):
    """Matches of a scene with depth, the first ones wrong: (points0, points1, which are right)."""
    world = torch.rand(count, 3, dtype=torch.float64) * torch.tensor([4.0, 3, 5]) + torch.tensor([-2.0, -1.5, 4])
    points0 = _project(CAMERA0.matrix, world)
    points1 = _project(CAMERA1.matrix, world @ ROTATION.T + TRANSLATION) + noise_px * torch.randn(count, 2)
    points1[:outliers] = torch.rand(outliers, 2, dtype=torch.float64) * torch.tensor([640.0, 480])
    return points0.float(), points1.float(), torch.arange(count) >= outliers


def _plane(count=400, outliers=150, noise_px=0.3):
    points0 = torch.rand(count, 2, dtype=torch.float64) * torch.tensor([800.0, 600])
    points1 = _project(HOMOGRAPHY, torch.cat([points0, torch.ones(count, 1)], dim=1))
    points1 += noise_px * torch.randn(count, 2)
    points1[:outliers] = torch.rand(outliers, 2, dtype=torch.float64) * torch.tensor([800.0, 600])
    return points0.float(), points1.float(), torch.arange(count) >= outliers


def _true_fundamental():
    x, y, z = TRANSLATION.tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    matrix = CAMERA1.matrix.inverse().T @ cross @ ROTATION @ CAMERA0.matrix.inverse()
    return matrix / matrix.norm()


def _sampson_px(fundamental, points0, points1):
    """Written out from Hartley & Zisserman, 11.9."""
    x0, x1 = (torch.cat([p.double(), torch.ones(len(p), 1)], dim=1) for p in (points0, points1))
    lines1, lines0 = x0 @ fundamental.T, x1 @ fundamental
    gradient = (lines0[:, :2] ** 2).sum(1) + (lines1[:, :2] ** 2).sum(1)
    return (x1 * lines1).sum(1).abs() / gradient.sqrt()


def test_homography_is_recovered_and_wrong_matches_are_flagged():
    points0, points1, right = _plane()
    found = verify(points0, points1, "homography")
    corners = torch.tensor([[0, 0, 1], [799, 0, 1], [799, 599, 1], [0, 599, 1]], dtype=torch.float64)
    assert (_project(found.matrix, corners) - _project(HOMOGRAPHY, corners)).norm(dim=1).max() < 0.5
    assert found.matrix[2, 2] == 1
    assert (found.rotation, found.translation) == (None, None)
    assert bool(found.inliers[right].all())
    assert found.inliers[~right].sum() <= 1
    assert len(found) == int(found.inliers.sum())


def test_homography_inliers_are_those_within_the_threshold_in_image_1():
    points0, points1, _ = _plane(noise_px=3.0)
    found = verify(points0, points1, "homography", threshold_px=4.0)
    ones = torch.ones(len(points0), 1, dtype=torch.float64)
    distance = (_project(found.matrix, torch.cat([points0.double(), ones], dim=1)) - points1).norm(dim=1)
    assert distance[found.inliers].max() < 4.4
    assert distance[~found.inliers].min() > 3.6
    assert found.threshold_px == 4.0


def test_fundamental_is_recovered_and_wrong_matches_are_flagged():
    points0, points1, right = _scene()
    found = verify(points0, points1, "fundamental")
    true = _true_fundamental()
    exact0, exact1, exact = _scene(outliers=0, noise_px=0)
    assert _sampson_px(found.matrix, exact0[exact], exact1[exact]).max() < 0.3
    sign = torch.sign((found.matrix * true).sum())
    torch.testing.assert_close(sign * found.matrix, true, atol=2e-3, rtol=0)
    assert float(found.matrix.norm()) == pytest.approx(1)
    assert float(torch.linalg.det(found.matrix)) == pytest.approx(0, abs=1e-12)
    assert bool(found.inliers[right].all())
    # An epipolar line is thin but long: a few random points lie on theirs.
    assert found.inliers[~right].float().mean() < 0.05


def test_fundamental_inliers_are_those_within_the_sampson_distance():
    points0, points1, _ = _scene(noise_px=0.8)
    found = verify(points0, points1, "fundamental", threshold_px=1.5)
    distance = _sampson_px(found.matrix, points0, points1)
    assert distance[found.inliers].max() < 1.65
    assert distance[~found.inliers].min() > 1.35


def test_essential_gives_the_pose_of_camera_1_in_terms_of_camera_0():
    points0, points1, right = _scene()
    found = verify(points0, points1, "essential", camera0=CAMERA0, camera1=CAMERA1)
    torch.testing.assert_close(found.rotation, ROTATION, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.translation, TRANSLATION / TRANSLATION.norm(), atol=3e-3, rtol=0)
    assert float(torch.linalg.det(found.rotation)) == pytest.approx(1)
    # E has two equal singular values, and is F seen through the cameras.
    torch.testing.assert_close(torch.linalg.svdvals(found.matrix), torch.tensor([1.0, 1, 0], dtype=torch.float64))
    fundamental = CAMERA1.matrix.inverse().T @ found.matrix @ CAMERA0.matrix.inverse()
    distance = _sampson_px(fundamental, points0, points1)
    assert distance[found.inliers].max() < 1.1
    assert bool(found.inliers[right].all())
    assert found.inliers[~right].float().mean() < 0.05


def test_swapping_the_images_inverts_the_pose():
    points0, points1, _ = _scene()
    forth = verify(points0, points1, "essential", camera0=CAMERA0, camera1=CAMERA1)
    back = verify(points1, points0, "essential", camera0=CAMERA1, camera1=CAMERA0)
    torch.testing.assert_close(back.rotation, forth.rotation.T, atol=1e-3, rtol=0)
    torch.testing.assert_close(back.translation, -forth.rotation.T @ forth.translation, atol=3e-3, rtol=0)


def test_points_and_cameras_may_share_another_pixel_convention():
    points0, points1, _ = _scene()
    ours = verify(points0, points1, "essential", camera0=CAMERA0, camera1=CAMERA1)
    shifted = [
        PinholeCamera(fx=c.fx, fy=c.fy, cx=c.cx + 0.5, cy=c.cy + 0.5, image_size=c.image_size)
        for c in (CAMERA0, CAMERA1)
    ]
    colmap = verify(points0 + 0.5, points1 + 0.5, "essential", camera0=shifted[0], camera1=shifted[1])
    torch.testing.assert_close(colmap.rotation, ours.rotation, atol=1e-4, rtol=0)
    torch.testing.assert_close(colmap.translation, ours.translation, atol=1e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_one_seed_gives_one_answer(model):
    points0, points1, _ = _scene(noise_px=2.0)
    first, second = (verify(points0, points1, model, camera0=CAMERA0, camera1=CAMERA1, seed=7) for _ in range(2))
    assert torch.equal(first.matrix, second.matrix)
    assert torch.equal(first.inliers, second.inliers)


def test_another_seed_samples_other_matches():
    points0, points1 = torch.rand(60, 2) * 800, torch.rand(60, 2) * 800
    found = [verify(points0, points1, "homography", seed=seed).inliers for seed in range(6)]
    assert any(not torch.equal(found[0], inliers) for inliers in found[1:])


@pytest.mark.parametrize("model", MODELS)
def test_too_few_matches_give_no_model_and_no_error(model):
    points0, points1, _ = _scene(outliers=0)
    for count in range(SAMPLE_SIZE[model] + 1):
        found = verify(points0[:count], points1[:count], model, camera0=CAMERA0, camera1=CAMERA1)
        assert found.matrix is None
        assert found.rotation is None
        assert found.inliers.shape == (count,)
        assert len(found) == 0


def test_one_match_more_than_the_sample_is_enough():
    points0, points1, _ = _plane(outliers=0, noise_px=0)
    found = verify(points0[:5], points1[:5], "homography")
    torch.testing.assert_close(found.matrix, HOMOGRAPHY, atol=1e-2, rtol=1e-3)
    assert len(found) == 5


@pytest.mark.parametrize("model", MODELS)
def test_matches_that_are_all_the_same_give_no_model(model):
    points = torch.full((40, 2), 100.0)
    found = verify(points, points, model, camera0=CAMERA0, camera1=CAMERA1)
    assert found.matrix is None
    assert len(found) == 0


def test_defaults_and_conversions():
    points0, points1, _ = _plane()
    found = verify(points0, points1, "homography")
    assert found.threshold_px == THRESHOLD_PX["homography"] == 3.0
    arrays = found.numpy()
    assert arrays["matrix"].dtype == np.float64
    assert "rotation" not in arrays


def test_wrong_input_says_what_to_do():
    points = torch.rand(20, 2)
    with pytest.raises(ConfigError, match=r"no camera0 and camera1\. Pass camera0=PinholeCamera\(fx="):
        verify(points, points, "essential")
    with pytest.raises(ConfigError, match="no camera1"):
        verify(points, points, "essential", camera0=CAMERA0)
    for threshold in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="must be a positive number of pixels"):
            verify(points, points, "homography", threshold_px=threshold)
    bad = points.clone()
    bad[3, 1] = math.nan
    with pytest.raises(ShapeError, match="not finite"):
        verify(points, bad, "homography")


def test_a_missing_poselib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "poselib", None)
    with pytest.raises(MissingExtra, match=r"photoglue\[geometry\]"):
        verify(torch.rand(20, 2), torch.rand(20, 2), "homography")


def _sift_matches(path0, path1, max_ratio=0.85):
    """OpenCV's SIFT and the ratio test."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    sift = cv2.SIFT_create(2000)
    (keypoints0, descriptors0), (keypoints1, descriptors1) = (
        sift.detectAndCompute(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), None) for path in (path0, path1)
    )
    nearest = cv2.BFMatcher().knnMatch(descriptors0, descriptors1, k=2)
    good = [best for best, second in nearest if best.distance < max_ratio * second.distance]
    points0 = torch.tensor([keypoints0[match.queryIdx].pt for match in good])
    points1 = torch.tensor([keypoints1[match.trainIdx].pt for match in good])
    return points0, points1


@pytest.mark.slow
def test_a_rectified_stereo_pair_has_horizontal_epipolar_lines(motorcycle):
    points0, points1 = _sift_matches(*motorcycle)
    found = verify(points0, points1, "fundamental")
    assert len(found) > 200
    y_difference = (points0[:, 1] - points1[:, 1]).abs()
    assert y_difference[found.inliers].quantile(0.95) < 2
    assert (~found.inliers[y_difference > 10]).float().mean() > 0.95
    # The line a x + b y + c = 0 on which the partner of a point has to lie: b y + c = 0 with the y of the point.
    ones = torch.ones(len(points0), 1, dtype=torch.float64)
    a, b, c = (torch.cat([points0.double(), ones], dim=1) @ found.matrix.T)[found.inliers].unbind(dim=1)
    slope_deg = torch.rad2deg(torch.atan((a / b).abs()))
    assert slope_deg.median() < 1
    at_partner = -(a * points1[found.inliers, 0] + c) / b
    assert (at_partner - points0[found.inliers, 1]).abs().median() < 0.5


@pytest.mark.slow
def test_the_stereo_pair_moves_sideways_and_does_not_turn(motorcycle):
    points0, points1 = _sift_matches(*motorcycle)
    # Middlebury 2014, "Motorcycle", at the size in scikit-image (quarter of 2964 × 2000).
    size = (741, 500)
    camera0 = PinholeCamera(fx=994.978, fy=994.978, cx=311.193, cy=254.877, image_size=size)
    camera1 = PinholeCamera(fx=994.978, fy=994.978, cx=342.295, cy=254.877, image_size=size)
    found = verify(points0, points1, "essential", camera0=camera0, camera1=camera1)
    assert len(found) > 200
    angle_deg = math.degrees(math.acos(min(1.0, (float(found.rotation.trace()) - 1) / 2)))
    assert angle_deg < 1
    # cam1_from_cam0 of a right camera: the world moves to the left.
    assert float(found.translation[0]) < -0.99


@pytest.mark.slow
@pytest.mark.data
def test_the_wall_of_graffiti_is_a_plane(shared_data):
    folder = shared_data / "eval" / "oxford_affine" / "graf"
    points0, points1 = _sift_matches(folder / "1.jpg", folder / "2.jpg")
    found = verify(points0, points1, "homography")
    true = torch.from_numpy(np.loadtxt(folder / "H_1_2"))
    corners = torch.tensor([[0, 0, 1], [799, 0, 1], [799, 639, 1], [0, 639, 1]], dtype=torch.float64)
    assert (_project(found.matrix, corners) - _project(true, corners)).norm(dim=1).mean() < 3


@pytest.mark.parametrize(
    ("sizes", "resize", "threshold"),
    [
        ([(1000, 600), (800, 600)], 1024, 1.0),  # not below the default
        ([(3072, 2048), (1024, 768)], 1024, 3.0),
        ([(768, 1024), (2048, 3072)], 1024, 3.0),
        ([(3072, 2048), (3072, 2048)], None, 1.0),
    ],
)
def test_thresholds_grow_with_the_photo_that_was_shrunk(sizes, resize, threshold):
    assert scaled_threshold_px("fundamental", sizes, resize) == threshold
    assert scaled_threshold_px("homography", sizes, resize) == 3 * threshold


def test_the_threshold_of_an_unknown_model(as_a_user):
    with pytest.raises(ConfigError, match="There is no model 'affine'"):
        scaled_threshold_px("affine", [(1, 1)], None)
