"""Poses from points: exact ones are found exactly, wrong matches are told, and the spread is that of many trials."""

import numpy as np
import pytest
import torch

from photoglue.solvers.absolute_pose import absolute_pose, pose_spread, project, refined_pose, reprojection_errors
from photoglue.solvers.colmap_files import CameraRecord

pytest.importorskip("pycolmap", exc_type=ImportError)
CAMERA = CameraRecord(
    camera_id=1, model="SIMPLE_RADIAL", image_size=(640, 480), parameters=(500.0, 320.0, 240.0, -0.05)
)


def scene(noise=0.0, wrong=0, count=60, seed=0):
    """(points seen, points, pose)."""
    source = np.random.default_rng(seed)
    points = np.random.default_rng(1).uniform((-2, -1.5, 4), (2, 1.5, 8), (count, 3))
    angle, pose = 0.1, torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.tensor(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]], dtype=torch.float64
    )
    pose[:3, 3] = torch.tensor([0.3, -0.2, 0.5])
    seen, _ = project(CAMERA, pose, points)
    seen += source.normal(scale=noise, size=seen.shape)
    seen[:wrong] += 50
    return seen, points, pose


def centre(pose):
    return (-pose[:3, :3].T @ pose[:3, 3]).numpy()


@pytest.mark.parametrize("focal", [False, True])
def test_exact(focal):
    seen, points, pose = scene(wrong=20)
    start = CAMERA if not focal else CameraRecord(
        camera_id=1, model="SIMPLE_PINHOLE", image_size=(640, 480), parameters=(900.0, 320.0, 240.0)
    )  # fmt: skip
    if focal:  # without the distortion, which is not estimated
        inside = points @ pose[:3, :3].numpy().T + pose[:3, 3].numpy()
        seen[20:] = (inside[:, :2] / inside[:, 2:] * 500 + (320, 240))[20:]
    found = absolute_pose(seen, points, start, threshold_px=2.0, focal=focal)
    torch.testing.assert_close(found.cam_from_world, pose, atol=1e-5, rtol=0)
    assert found.camera.parameters[0] == pytest.approx(500, abs=1e-3)
    assert found.inliers.tolist() == [False] * 20 + [True] * 40 and len(found) == 40


def test_none():
    seen, points, _ = scene()
    assert absolute_pose(seen[:3], points[:3], CAMERA, threshold_px=2.0) is None
    assert absolute_pose(seen[:0], points[:0], CAMERA, threshold_px=2.0) is None


def test_the_same_every_time():
    seen, points, _ = scene(noise=0.5, wrong=30)
    one, two = (absolute_pose(seen, points, CAMERA, threshold_px=2.0) for _ in range(2))
    assert torch.equal(one.cam_from_world, two.cam_from_world)


def test_more_points_make_it_better():
    seen, points, pose = scene(noise=0.5)
    few = absolute_pose(seen[:6], points[:6], CAMERA, threshold_px=4.0)
    better = refined_pose(few, seen, points, threshold_px=4.0)
    errors = [np.linalg.norm(centre(each.cam_from_world) - centre(pose)) for each in (better, few)]
    assert errors[0] < 0.5 * errors[1] and len(better) > 50
    hopeless = refined_pose(few, seen + 100, points, threshold_px=4.0)
    assert torch.equal(hopeless.cam_from_world, few.cam_from_world) and len(hopeless) == 0


def test_points_behind():
    _, points, pose = scene()
    seen, depths = project(CAMERA, pose, points * (1, 1, -1))
    assert np.isnan(seen).all() and (depths < 0).all()
    found = absolute_pose(*scene()[:2], CAMERA, threshold_px=2.0)
    assert np.isinf(reprojection_errors(found, np.zeros((60, 2)), points * (1, 1, -1))).all()


@pytest.mark.parametrize("focal", [False, True])
def test_spread_is_that_of_many_trials(focal):
    places, focals, told = [], [], []
    for seed in range(40):
        seen, points, _ = scene(noise=0.5, seed=seed)
        found = absolute_pose(seen, points, CAMERA, threshold_px=10.0, focal=focal)
        places.append(centre(found.cam_from_world))
        focals.append(found.camera.parameters[0])
        told.append(pose_spread(found, seen, points, focal=focal))
    true = np.sqrt(np.var(places, axis=0).sum())
    assert np.median([each.position for each in told]) == pytest.approx(true, rel=0.35)
    if focal:
        spread = np.std(focals) / np.mean(focals)
        assert np.median([each.focal for each in told]) == pytest.approx(spread, rel=0.35)
    else:
        assert told[0].focal == 0 and 0 < told[0].rotation_deg < 0.2


def test_a_pose_that_is_not_determined():
    seen, points, _ = scene()
    found = absolute_pose(seen, points, CAMERA, threshold_px=2.0)
    one = np.arange(60) < 1
    lonely = type(found)(cam_from_world=found.cam_from_world, camera=CAMERA, inliers=one)
    assert pose_spread(lonely, seen, points).position == np.inf
