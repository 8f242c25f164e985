"""Poses and their errors, against angles that are known."""

import math

import numpy as np
import pytest
import torch

from photoglue.geometry.pose import (
    pose_error_deg,
    quaternion_from_rotation,
    relative_pose,
    rotation_error_deg,
    rotation_from_quaternion,
    translation_error_deg,
)


def _rotation(axis, angle_deg):
    """The exponential of the cross-product matrix."""
    x, y, z = (math.radians(angle_deg) * np.asarray(axis) / np.linalg.norm(axis)).tolist()
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))


def _pose(axis, angle_deg, translation):
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = _rotation(axis, angle_deg)
    pose[:3, 3] = torch.tensor(translation, dtype=torch.float64)
    return pose


@pytest.mark.parametrize("length", [1.0, -3.0])
def test_a_rotation_from_a_quaternion(length):
    axis, angle_deg = np.array([1.0, 2, 3]) / 14**0.5, 70
    half = math.radians(angle_deg) / 2
    quaternion = length * torch.tensor([math.cos(half), *(axis * math.sin(half))], dtype=torch.float64)
    torch.testing.assert_close(rotation_from_quaternion(quaternion), _rotation(axis, angle_deg))


def test_a_relative_pose_takes_points_from_one_camera_to_the_other():
    cam0_from_world, cam1_from_world = _pose([1, 2, 3], 40, [1.0, 2, 3]), _pose([-1, 0, 1], 70, [0.5, -1, 2])
    world = torch.rand(20, 4, dtype=torch.float64)
    world[:, 3] = 1
    cam1_from_cam0 = relative_pose(cam0_from_world, cam1_from_world)
    torch.testing.assert_close(world @ cam0_from_world.T @ cam1_from_cam0.T, world @ cam1_from_world.T)
    torch.testing.assert_close(relative_pose(cam0_from_world, cam0_from_world), torch.eye(4, dtype=torch.float64))


def test_a_relative_pose_is_pycolmaps():
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    poses = [_pose([1, 2, 3], 40, [1.0, 2, 3]), _pose([-1, 0, 1], 70, [0.5, -1, 2])]
    rigid = [pycolmap.Rigid3d(pose[:3].numpy()) for pose in poses]
    np.testing.assert_allclose(relative_pose(*poses)[:3], (rigid[1] * rigid[0].inverse()).matrix(), atol=1e-14)


@pytest.mark.parametrize("angle_deg", [0.0, 1e-12, 1e-9, 1e-4, 1.0, 45.0, 90.0, 135.0, 179.0, 179.9999, 180.0])
def test_rotation_error_is_the_angle_however_small_or_large(angle_deg):
    true = _rotation([3, -1, 2], 77)
    estimated = true @ _rotation([0.3, 0.5, -0.8], angle_deg)
    assert rotation_error_deg(estimated, true) == pytest.approx(angle_deg, rel=1e-5, abs=2e-14)
    assert rotation_error_deg(true, estimated) == pytest.approx(angle_deg, rel=1e-5, abs=2e-14)


def test_rotation_error_agrees_with_the_arc_cosine_where_that_is_sharp():
    for seed in range(20):
        chance = np.random.default_rng(seed)
        first, second = (_rotation(chance.normal(size=3), chance.uniform(10, 170)) for _ in range(2))
        cosine = (float((first.T @ second).trace()) - 1) / 2
        assert rotation_error_deg(first, second) == pytest.approx(math.degrees(math.acos(cosine)), rel=1e-9)


def test_rotations_read_from_float32_files_have_no_error_with_themselves():
    rotation = _rotation([3, -1, 2], 77).float()
    assert rotation_error_deg(rotation, rotation) < 1e-6


def test_a_truth_written_with_six_digits_costs_no_more_than_its_digits():
    rotation = _rotation([3, -1, 2], 77)
    rounded = torch.round(rotation * 1e6) / 1e6
    assert rotation_error_deg(rotation, rounded) < 1e-4
    assert rotation_error_deg(rotation, rotation * (1 - 1e-6)) < 1e-9


@pytest.mark.parametrize("angle_deg", [0.0, 1e-12, 1e-4, 5.0, 60.0, 90.0])
def test_translation_error_is_the_angle_without_length_and_sign(angle_deg):
    true = torch.tensor([0.0, 0, 2.5], dtype=torch.float64)
    angle = math.radians(angle_deg)
    estimated = torch.tensor([math.sin(angle), 0, math.cos(angle)], dtype=torch.float64)
    for scale in (1.0, -1.0, 1e-100, 1e100):
        assert translation_error_deg(scale * estimated, true) == pytest.approx(angle_deg, rel=1e-9, abs=1e-14)


def test_beyond_90_degrees_the_other_sign_is_nearer():
    true = torch.tensor([1.0, 0, 0])
    estimated = torch.tensor([math.cos(math.radians(150)), math.sin(math.radians(150)), 0])
    assert translation_error_deg(estimated, true) == pytest.approx(30, rel=1e-6)


def test_translations_of_zero():
    zero, other = torch.zeros(3), torch.tensor([0.0, 1, 0])
    assert translation_error_deg(other, zero) == 0, "the camera only turned: no direction is wrong"
    assert translation_error_deg(zero, zero) == 0
    assert translation_error_deg(zero, other) == 90, "no direction is no answer"


def test_the_pose_error_is_the_larger_one_and_infinite_without_a_pose():
    true = _pose([1, 2, 3], 40, [0.0, 0, 3])
    turned = _rotation([0, 1, 0], 7) @ true[:3, :3]
    aside = torch.tensor([math.tan(math.radians(3)), 0, 1], dtype=torch.float64)
    assert pose_error_deg(turned, aside, true) == pytest.approx(7)
    assert pose_error_deg(true[:3, :3], aside, true) == pytest.approx(3)
    assert pose_error_deg(true[:3, :3], -true[:3, 3], true) == pytest.approx(0, abs=1e-12)
    assert pose_error_deg(None, None, true) == math.inf


def test_an_estimate_that_is_not_finite_has_no_finite_error():
    true = _pose([1, 2, 3], 40, [0.0, 0, 3])
    nothing = torch.full((3, 3), math.nan)
    assert math.isnan(rotation_error_deg(nothing, true[:3, :3]))
    assert pose_error_deg(nothing, true[:3, 3], true) == math.inf
    assert pose_error_deg(true[:3, :3], nothing[0], true) == math.inf


@pytest.mark.parametrize("angle_deg", [0.0, 1e-5, 40.0, 120.0, 179.9999, 180.0])
def test_a_quaternion_of_a_rotation(angle_deg):
    axis = torch.tensor([0.36, -0.48, 0.8], dtype=torch.float64)
    quaternion = quaternion_from_rotation(_rotation(axis, angle_deg))
    assert float(quaternion.norm()) == pytest.approx(1)
    assert float(quaternion[0]) >= 0
    torch.testing.assert_close(rotation_from_quaternion(quaternion), _rotation(axis, angle_deg), atol=1e-12, rtol=0)
