import numpy as np
import pytest
import torch
from agreement import pose_error

from photoglue.datasets.truths import Posed
from photoglue.geometry.camera import PinholeCamera


def test_the_error_is_that_of_the_estimated_pose(make):
    """Exact matches against a truth that is turned by 4°."""
    pytest.importorskip("poselib", exc_type=ImportError)
    camera = PinholeCamera(fx=100.0, fy=100.0, cx=79.5, cy=59.5, image_size=(160, 120))
    pose = make.pose(degrees=5.0, translation=(-0.8, 0, 0))
    xyz = np.random.default_rng(0).uniform([-1, -1, 3], [1, 1, 6], (60, 3))
    views = [points @ camera.matrix.numpy().T for points in (xyz, xyz @ pose[:3, :3].T + pose[:3, 3])]
    matches = make.matches(*(view[:, :2] / view[:, 2:] for view in views))
    turned = make.pose(degrees=4.0, translation=(0, 0, 0)) @ pose
    errors = [pose_error(matches, Posed(camera0=camera, camera1=camera, cam1_from_cam0=p)) for p in (pose, turned)]
    assert errors == [pytest.approx(0, abs=0.05), pytest.approx(4, abs=0.05)]
    assert pose_error(make.matches([], []), Posed(camera0=camera, camera1=camera, cam1_from_cam0=pose)) == torch.inf
