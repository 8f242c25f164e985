import math

import numpy as np
import pytest

from photoglue.datasets.truths import Posed
from photoglue.evaluation.benchmarks.base import MatchedPair
from photoglue.evaluation.benchmarks.relative_pose import RelativePose
from photoglue.geometry.camera import PinholeCamera

CAMERA = PinholeCamera(fx=500.0, fy=500.0, cx=320.0, cy=240.0, image_size=(640, 480))


def seen(make, count=100, noise_px=0.0, seed=0):
    """Points in front of two cameras, and where both see them."""
    random = np.random.default_rng(seed)
    points = random.uniform([-2, -1.5, 4], [2, 1.5, 8], (count, 3))
    truth = Posed(camera0=CAMERA, camera1=CAMERA, cam1_from_cam0=make.pose())
    there = points @ truth.cam1_from_cam0[:3, :3].T + truth.cam1_from_cam0[:3, 3]
    pixels = [view @ CAMERA.matrix.numpy().T for view in (points, there)]
    points0, points1 = (view[:, :2] / view[:, 2:] for view in pixels)
    return points0, points1 + noise_px * random.normal(size=points1.shape), truth


def pair_of(make, points0, points1, truth):
    matches = make.matches(points0, points1)
    return MatchedPair(truth=truth, matches=matches, size0=(640, 480), size1=(640, 480))


@pytest.mark.parametrize("estimator", ["poselib", "opencv"])
def test_perfect_matches(make, estimator):
    pair = pair_of(make, *seen(make))
    measured = RelativePose().measure(pair)
    assert measured["num_matches"] == 100
    assert {value for name, value in measured.items() if "precision" in name} == {1.0}
    found = RelativePose().estimate(pair, estimator, 1.0, 0)
    assert found["pose_error_deg"] < 0.05
    assert found["num_inliers"] > 95


def test_pose_error_is_the_larger_of_two_known_angles(make):
    """The truth is turned by 3° against what the matches say; the direction of translation turns with it."""
    points0, points1, truth = seen(make)
    turned = truth.cam1_from_cam0.copy()
    turned[:3, :3] = make.rotation((0, 1, 0), 3.0) @ turned[:3, :3]
    pair = pair_of(make, points0, points1, Posed(camera0=CAMERA, camera1=CAMERA, cam1_from_cam0=turned))
    found = RelativePose().estimate(pair, "poselib", 1.0, 0)
    assert found["rotation_error_deg"] == pytest.approx(3, abs=0.05)
    assert found["translation_error_deg"] == pytest.approx(0, abs=0.2)
    assert found["pose_error_deg"] == max(found["rotation_error_deg"], found["translation_error_deg"])


def test_precision_counts_distances_in_focal_lengths(make):
    """All matches moved by 0.5 px across their epipolar lines: 0.5 / 500 = 1e-3 in one image."""
    points0, points1, truth = seen(make)
    inverse = np.linalg.inv(CAMERA.matrix.numpy())
    translation = truth.cam1_from_cam0[:3, 3]
    skew = np.cross(np.eye(3), translation)
    fundamental = inverse.T @ skew.T @ truth.cam1_from_cam0[:3, :3] @ inverse
    lines = np.c_[points0, np.ones(100)] @ fundamental.T
    assert np.abs((lines * np.c_[points1, np.ones(100)]).sum(1)).max() < 1e-9  # our F is the right one
    across = lines[:, :2] / np.linalg.norm(lines[:, :2], axis=1, keepdims=True)

    def precision(moved_px, name):
        pair = pair_of(make, points0, points1 + moved_px * across, truth)
        return RelativePose().measure(pair)[name]

    assert precision(0.2, "epipolar_precision_5e-4") == 1.0
    assert precision(0.2, "epipolar_precision_1e-4") == 0.0
    assert precision(2.0, "epipolar_precision_1e-3") == 0.0
    assert precision(2.0, "squared_epipolar_precision_1e-4") == 1.0  # 2 · (2 / 500)² = 3.2e-5
    assert precision(30.0, "squared_epipolar_precision_5e-4") == 0.0


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_matches_are_failures(make, count):
    points0, points1, truth = seen(make)
    pair = pair_of(make, points0[:count], points1[:count], truth)
    values = RelativePose().measure(pair) | RelativePose().estimate(pair, "poselib", 1.0, 0)
    assert values["pose_error_deg"] == values["rotation_error_deg"] == math.inf
    assert values["num_inliers"] == 0
    assert values["epipolar_precision_5e-4"] == (0.0 if count == 0 else 1.0)


def test_summary_by_hand():
    """Errors 2 and failure: recall is 1/2 from 2 on; up to 5 the area is (2 · 1/2 / 2 + 3 · 1/2) / 5 = 0.4."""
    values = [{"pose_error_deg": 2.0, "num_matches": 10.0}, {"pose_error_deg": math.inf, "num_matches": 0.0}]
    summary = RelativePose().summary(values)
    assert summary["AUC@5"] == pytest.approx(0.4)
    assert summary["AUC@10"] == pytest.approx((0.5 + 8 / 2) / 10)
    assert summary["matches"] == 5.0


def test_the_angle_between_the_cameras_is_recorded(make):
    points0, points1, _ = seen(make)
    pose = make.pose((1, 2, -1), 64.0)
    measured = RelativePose().measure(
        pair_of(make, points0, points1, Posed(camera0=CAMERA, camera1=CAMERA, cam1_from_cam0=pose))
    )
    assert measured["rotation_angle_deg"] == pytest.approx(64.0, abs=1e-9)
