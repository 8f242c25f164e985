"""Poses in another convention are recognised by matches that are exact under the right ones."""

import numpy as np
import pytest
import torch

from photoglue.datasets.conventions import CONVENTIONS, PosedMatches, advice, fitting_convention
from photoglue.geometry.camera import PinholeCamera

CAMERA = PinholeCamera(fx=500.0, fy=520.0, cx=320.0, cy=240.0, image_size=(640, 480))
MISTAKES = {
    "inverted (camera-to-world)": np.linalg.inv,
    "OpenGL axes": lambda pose: np.diag([1.0, -1.0, -1.0, 1.0]) @ pose,
    "inverted (camera-to-world) with OpenGL axes": lambda pose: np.linalg.inv(np.diag([1.0, -1, -1, 1]) @ pose),
}


def poses(make):
    return [
        make.pose(axis=(0.2, 1.0, 0.3), degrees=6.0 * i + 3.0, translation=(0.4 * i, -0.2 * i, 0.1 * i * i))
        for i in range(4)
    ]


def matches(right, given, *, wrong=0.0):
    """Matches of the first photo with each other one: points 2 to 6 before the first camera; some of them wrong."""
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.uniform(-1, 1, (80, 2)), generator.uniform(2, 6, (80, 1))], axis=1)
    world = (points - right[0][:3, 3]) @ right[0][:3, :3]
    seen = []
    for pose in right:
        xyz = world @ pose[:3, :3].T + pose[:3, 3]
        pixels = xyz[:, :2] / xyz[:, 2:] * [CAMERA.fx, CAMERA.fy] + [CAMERA.cx, CAMERA.cy]
        seen.append(torch.from_numpy(pixels).float())
    lost = torch.from_numpy(generator.uniform(size=80) < wrong)
    return [
        PosedMatches(
            points0=seen[0],
            points1=torch.where(lost[:, None], points1.flip(0), points1),
            camera0=CAMERA,
            camera1=CAMERA,
            cam0_from_world=given[0],
            cam1_from_world=pose,
        )
        for points1, pose in zip(seen[1:], given[1:], strict=True)
    ]


@pytest.mark.parametrize("convention", MISTAKES)
def test_each_mistake_is_named(make, convention):
    right = poses(make)
    found = matches(right, [MISTAKES[convention](pose) for pose in right], wrong=0.2)
    assert fitting_convention(found) == convention
    assert convention in advice(convention)


def test_a_relative_pose_that_was_inverted(make):
    """Lists of pairs give no poses of single cameras."""
    right = poses(make)
    relative = [np.eye(4), *(np.linalg.inv(pose @ np.linalg.inv(right[0])) for pose in right[1:])]
    assert fitting_convention(matches(right, relative)) == "inverted (camera-to-world)"


def test_nothing_fits_right_poses_transposed_ones_or_no_matches(make):
    right = poses(make)
    transposed = [pose.copy() for pose in right]
    for pose in transposed:
        pose[:3, :3] = pose[:3, :3].T
    assert fitting_convention(matches(right, right)) is None
    assert fitting_convention(matches(right, transposed)) is None
    assert fitting_convention([]) is None
    assert advice(None).startswith("Are they inverted")
    assert set(CONVENTIONS) == set(MISTAKES)
