"""OpenCV's estimators against geometry that is known."""

import math
import sys

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError, MissingExtra, ShapeError
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.epipolar import line_distances, sampson_distance
from photoglue.geometry.homography import corner_error_px, warp_points
from photoglue.geometry.pose import pose_error_deg
from photoglue.solvers.opencv import THRESHOLD_PX, verify_opencv
from photoglue.solvers.verification import SAMPLE_SIZE

cv2 = pytest.importorskip("cv2", exc_type=ImportError)

MODELS = ("homography", "fundamental", "essential")
METHODS = ("ransac", "magsac")
CAMERA0 = PinholeCamera(fx=800.0, fy=810.0, cx=401.0, cy=297.0, image_size=(800, 600))
CAMERA1 = PinholeCamera(fx=640.0, fy=400.0, cx=330.0, cy=235.0, image_size=(640, 480))
CAMERAS = {"camera0": CAMERA0, "camera1": CAMERA1}
HOMOGRAPHY = torch.tensor([[1.1, 0.05, 20], [-0.03, 0.95, 10], [1e-4, 5e-5, 1]], dtype=torch.float64)


def _pose():
    pose = torch.eye(4, dtype=torch.float64)
    axis = np.array([0.2, 1, 0.1])
    pose[:3, :3] = torch.from_numpy(cv2.Rodrigues(0.25 * axis / np.linalg.norm(axis))[0])
    pose[:3, 3] = torch.tensor([1.0, 0.1, 0.2])
    return pose


POSE = _pose()


def _image(camera, points):
    pixels = points @ camera.matrix.T
    return pixels[:, :2] / pixels[:, 2:]


def _scene(count=600, outliers=200, noise_px=0.1):
    """Matches of a scene with depth, the first ones wrong: (points0, points1, which are right)."""
    world = torch.rand(count, 3, dtype=torch.float64) * torch.tensor([4.0, 3, 5]) + torch.tensor([-2.0, -1.5, 4])
    points0 = _image(CAMERA0, world)
    points1 = _image(CAMERA1, world @ POSE[:3, :3].T + POSE[:3, 3]) + noise_px * torch.randn(count, 2)
    points1[:outliers] = torch.rand(outliers, 2, dtype=torch.float64) * torch.tensor([640.0, 480])
    return points0.float(), points1.float(), torch.arange(count) >= outliers


def _plane(count=400, outliers=150, noise_px=0.3):
    points0 = torch.rand(count, 2, dtype=torch.float64) * torch.tensor([800.0, 600])
    points1 = warp_points(points0, HOMOGRAPHY) + noise_px * torch.randn(count, 2)
    points1[:outliers] = torch.rand(outliers, 2, dtype=torch.float64) * torch.tensor([800.0, 600])
    return points0.float(), points1.float(), torch.arange(count) >= outliers


def _sampson_px(fundamental, points0, points1):
    """Written out from Hartley & Zisserman, 11.9."""
    x0, x1 = (torch.cat([p.double(), torch.ones(len(p), 1)], dim=1) for p in (points0, points1))
    lines1, lines0 = x0 @ fundamental.T, x1 @ fundamental
    gradient = (lines0[:, :2] ** 2).sum(1) + (lines1[:, :2] ** 2).sum(1)
    return (x1 * lines1).sum(1).abs() / gradient.sqrt()


@pytest.mark.parametrize("method", METHODS)
def test_homography_is_recovered_and_wrong_matches_are_flagged(method):
    points0, points1, right = _plane()
    found = verify_opencv(points0, points1, "homography", method=method)
    assert corner_error_px(found.matrix, HOMOGRAPHY, (800, 600)) < 0.5
    assert found.matrix[2, 2] == 1
    assert found.rotation is None
    assert bool(found.inliers[right].all())
    assert found.inliers[~right].sum() <= 1


@pytest.mark.parametrize("seed", [0, 3])
def test_homography_inliers_are_those_within_the_threshold_in_image_1(seed):
    """Also when the matches were shuffled: each answer belongs to its match."""
    points0, points1, _ = _plane(noise_px=3.0)
    found = verify_opencv(points0, points1, "homography", threshold_px=4.0, seed=seed)
    distance = (warp_points(points0.double(), found.matrix) - points1).norm(dim=1)
    assert distance[found.inliers].max() < 4.6
    assert distance[~found.inliers].min() > 3.4
    assert found.threshold_px == 4.0


@pytest.mark.parametrize("method", METHODS)
def test_fundamental_is_recovered_and_wrong_matches_are_flagged(method):
    points0, points1, right = _scene()
    found = verify_opencv(points0, points1, "fundamental", method=method)
    exact0, exact1, _ = _scene(outliers=0, noise_px=0)
    assert _sampson_px(found.matrix, exact0, exact1).max() < 0.8
    assert float(found.matrix.norm()) == pytest.approx(1)
    assert found.inliers[right].float().mean() > 0.98
    assert found.inliers[~right].float().mean() < 0.05


@pytest.mark.parametrize(("method", "farthest"), [("ransac", "line"), ("magsac", "sampson")])
def test_fundamental_inliers_are_those_within_the_threshold(method, farthest):
    """RANSAC takes the larger of the two distances from point to line, MAGSAC++ the Sampson distance."""
    points0, points1, _ = _scene(noise_px=1.0)
    found = verify_opencv(points0, points1, "fundamental", threshold_px=1.5, method=method)
    if farthest == "line":
        distance = line_distances(points0, points1, found.matrix).amax(dim=1)
    else:
        distance = sampson_distance(points0, points1, found.matrix)
    assert distance[found.inliers].max() < 1.55
    assert distance[~found.inliers].min() > 1.45


@pytest.mark.parametrize("method", METHODS)
def test_essential_gives_the_pose_of_camera_1_in_terms_of_camera_0(method):
    points0, points1, right = _scene()
    found = verify_opencv(points0, points1, "essential", method=method, **CAMERAS)
    assert pose_error_deg(found.rotation, found.translation, POSE) < 0.5
    assert float(found.translation @ POSE[:3, 3]) > 0.99, "the sign is told by what lies in front"
    assert float(found.translation.norm()) == pytest.approx(1)
    torch.testing.assert_close(torch.linalg.svdvals(found.matrix), torch.tensor([1.0, 1, 0], dtype=torch.float64))
    assert found.inliers[right].float().mean() > 0.95
    assert found.inliers[~right].float().mean() < 0.05


def test_the_essential_threshold_is_divided_by_the_mean_of_all_four_focal_lengths():
    points0, points1, _ = _scene(outliers=100, noise_px=1.0)
    found = verify_opencv(points0, points1, "essential", threshold_px=1.5, **CAMERAS)
    directions = [
        (points.double() - torch.tensor([c.cx, c.cy])) / torch.tensor([c.fx, c.fy])
        for points, c in ((points0, CAMERA0), (points1, CAMERA1))
    ]
    distance = _sampson_px(found.matrix, *directions)
    limit = 1.5 / 662.5  # (800 + 810 + 640 + 400) / 4
    assert distance[found.inliers].max() < limit * 1.001
    # All others within it would have to lie behind a camera.
    assert (distance[~found.inliers] < limit * 0.999).float().mean() < 0.02


@pytest.mark.slow
def test_seed_0_is_what_opencv_answers_itself():
    points0, points1, _ = _scene(noise_px=1.0)
    directions = [
        ((points.double() - torch.tensor([c.cx, c.cy])) / torch.tensor([c.fx, c.fy])).numpy()
        for points, c in ((points0, CAMERA0), (points1, CAMERA1))
    ]
    essential, mask = cv2.findEssentialMat(
        *directions, np.eye(3), threshold=0.5 / 662.5, prob=0.99999, method=cv2.RANSAC
    )
    _, rotation, translation, mask, _ = cv2.recoverPose(
        essential, *directions, np.eye(3), distanceThresh=1e9, mask=mask
    )
    found = verify_opencv(points0, points1, "essential", **CAMERAS)
    np.testing.assert_array_equal(found.rotation, rotation)
    np.testing.assert_allclose(found.translation, translation.ravel(), atol=1e-15)
    np.testing.assert_array_equal(found.inliers, mask.ravel() > 0)

    homography, mask = cv2.findHomography(
        points0.numpy(), points1.numpy(), cv2.RANSAC, 3.0, maxIters=3000, confidence=0.995
    )
    found = verify_opencv(points0, points1, "homography")
    np.testing.assert_allclose(found.matrix, homography, rtol=1e-9)
    np.testing.assert_array_equal(found.inliers, mask.ravel() > 0)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_one_seed_gives_one_answer_and_another_one_another(model, method):
    points0, points1, _ = _scene(count=200, outliers=100, noise_px=2.0)
    answers = []
    for seed in (0, 0, 7, 7):
        cv2.setRNGSeed(len(answers))  # which must not matter
        answers.append(verify_opencv(points0, points1, model, seed=seed, method=method, **CAMERAS).matrix)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[2], answers[3])
    assert not torch.allclose(answers[0], answers[2], rtol=1e-4, atol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_too_few_matches_give_no_model_and_no_error(model, method):
    points0, points1, _ = _scene(outliers=0)
    for count in range(SAMPLE_SIZE[model] + 1):
        found = verify_opencv(points0[:count], points1[:count], model, method=method, **CAMERAS)
        assert found.matrix is None
        assert found.inliers.shape == (count,)
        assert len(found) == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_senseless_matches_raise_nothing(model, method):
    """All in one place, on one line, on a grid with many doubles, far outside any image."""
    line = torch.linspace(0, 600, 40)[:, None].expand(40, 2).contiguous()
    for points0, points1 in (
        (torch.full((40, 2), 100.0), torch.full((40, 2), 100.0)),
        (line, line.flip(0)),
        (torch.randint(0, 2, (40, 2)).float(), torch.randint(0, 2, (40, 2)).float()),
        (torch.rand(40, 2) * 1e18, torch.rand(40, 2) * 1e-18),
    ):
        found = verify_opencv(points0, points1, model, method=method, **CAMERAS)
        assert found.matrix is None or bool(torch.isfinite(found.matrix).all())
        assert found.matrix is not None or len(found) == 0


@pytest.mark.parametrize("model", MODELS)
def test_an_error_within_opencv_is_no_model(model, monkeypatch):
    points0, points1, _ = _scene()

    def fail(*args, **kwargs):
        raise cv2.error("(-215:Assertion failed)")

    for name in ("findHomography", "findFundamentalMat", "findEssentialMat"):
        monkeypatch.setattr(cv2, name, fail)
    found = verify_opencv(points0, points1, model, **CAMERAS)
    assert (found.matrix, found.rotation, len(found)) == (None, None, 0)


def test_of_several_essential_matrices_the_one_with_most_points_in_front_is_taken(monkeypatch):
    points0, points1, _ = _scene(outliers=0)
    wanted = verify_opencv(points0, points1, "essential", **CAMERAS)
    original = cv2.findEssentialMat

    def several(*args, **kwargs):
        matrix, mask = original(*args, **kwargs)
        wrong = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])  # along the optical axis, without turning
        return np.concatenate([wrong, matrix, wrong]), mask

    monkeypatch.setattr(cv2, "findEssentialMat", several)
    found = verify_opencv(points0, points1, "essential", **CAMERAS)
    assert torch.equal(found.matrix, wanted.matrix)
    assert torch.equal(found.inliers, wanted.inliers)


def test_defaults():
    points0, points1, _ = _plane()
    assert [verify_opencv(points0, points1, model, **CAMERAS).threshold_px for model in MODELS] == [3.0, 1.0, 0.5]
    assert dict(THRESHOLD_PX) == {"homography": 3.0, "fundamental": 1.0, "essential": 0.5}


def test_confidence_decides_how_long_it_looks():
    """Of noisy matches, a model from the first sample explains fewer than the best of many."""
    points0, points1, _ = _plane(count=300, outliers=100, noise_px=2.0)
    hasty, patient = (
        sum(len(verify_opencv(points0, points1, "homography", confidence=confidence, seed=s)) for s in range(1, 6))
        for confidence in (0.01, 0.99999)
    )
    assert hasty < 0.95 * patient


def test_a_scene_a_thousand_baselines_away_is_in_front_of_the_cameras():
    """OpenCV's own limit of 50 would leave no point in front, and the pose to chance."""
    world = torch.rand(300, 3, dtype=torch.float64) * torch.tensor([800.0, 600, 600]) + torch.tensor([-400, -300, 700])
    points0, points1 = _image(CAMERA0, world), _image(CAMERA1, world @ POSE[:3, :3].T + POSE[:3, 3])
    found = verify_opencv(points0, points1, "essential", **CAMERAS)
    assert len(found) > 290
    assert float(found.translation @ POSE[:3, 3]) > 0.99


def test_wrong_input_says_what_to_do(as_a_user):
    points = torch.rand(20, 2)
    with pytest.raises(ConfigError, match=r"no camera0 and camera1\. Pass camera0=PinholeCamera\(fx="):
        verify_opencv(points, points, "essential")
    with pytest.raises(ConfigError, match="no model 'affine'; choose one of homography, fundamental, essential"):
        verify_opencv(points, points, "affine")
    with pytest.raises(ConfigError, match="no method 'lmeds'; choose one of ransac, magsac"):
        verify_opencv(points, points, "homography", method="lmeds")
    with pytest.raises(ConfigError, match=r"threshold_px is 0\.0"):
        verify_opencv(points, points, "homography", threshold_px=0.0)
    for confidence in (0.0, 1.0, 99.0, math.nan):
        with pytest.raises(ConfigError, match="must be a probability between 0 and 1"):
            verify_opencv(points, points, "homography", confidence=confidence)
    with pytest.raises(ShapeError, match="not finite"):
        verify_opencv(points, torch.full((20, 2), math.nan), "homography")


def test_a_missing_opencv_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"photoglue\[sift\]"):
        verify_opencv(torch.rand(20, 2), torch.rand(20, 2), "homography")


@pytest.mark.slow
@pytest.mark.data
def test_the_wall_of_graffiti_is_a_plane(shared_data):
    folder = shared_data / "eval" / "oxford_affine" / "graf"
    sift = cv2.SIFT_create(2000)
    (keypoints0, descriptors0), (keypoints1, descriptors1) = (
        sift.detectAndCompute(cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE), None) for name in ("1.jpg", "2.jpg")
    )
    nearest = cv2.BFMatcher().knnMatch(descriptors0, descriptors1, k=2)
    good = [best for best, second in nearest if best.distance < 0.85 * second.distance]
    points0 = torch.tensor([keypoints0[match.queryIdx].pt for match in good])
    points1 = torch.tensor([keypoints1[match.trainIdx].pt for match in good])
    true = torch.from_numpy(np.loadtxt(folder / "H_1_2"))
    for method in METHODS:
        found = verify_opencv(points0, points1, "homography", method=method)
        assert corner_error_px(found.matrix, true, (800, 640)) < 3
