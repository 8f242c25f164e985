"""Depth maps, their values between pixels, and where points land in another photo."""

import math
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from rendered_scene import CAMERA, SIZE, exact_depth, poses, render, write_scene

from photoglue.datasets.depth import project_points, read_depth, sample_depth
from photoglue.datasets.scenes import DepthFile, read_scene
from photoglue.errors import ImageError
from photoglue.geometry.pose import relative_pose

NAN = math.nan


def test_a_png_is_read_in_the_unit_of_the_poses(tmp_path):
    scene = read_scene(write_scene(tmp_path / "wall", count=2, hole=(10, 20, 30, 25)))
    depth = read_depth(scene.frames[1])
    assert depth.shape == (SIZE[1], SIZE[0])
    expected = render(poses(2)[1])[1]
    expected[20:25, 10:30] = NAN
    assert np.allclose(depth.numpy(), expected, atol=0.51e-3, equal_nan=True)


def test_hdf5_is_read(tmp_path):
    h5py = pytest.importorskip("h5py", exc_type=ImportError)
    frame = read_scene(write_scene(tmp_path / "wall", count=2)).frames[0]
    stored = np.full((SIZE[1], SIZE[0]), 2.5, np.float32)
    stored[0, :3] = [0.0, -1.0, np.inf]
    with h5py.File(tmp_path / "depth.h5", "w") as file:
        file["depth"] = stored
    depth = read_depth(replace(frame, depth=DepthFile(path=tmp_path / "depth.h5", scale=1.0)))
    assert torch.isnan(depth[0, :3]).all()
    assert (depth[1:] == 2.5).all()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["range"] = stored
    with pytest.raises(ImageError, match=r"other\.h5' of photo '0' cannot be read"):
        read_depth(replace(frame, depth=DepthFile(path=tmp_path / "other.h5", scale=1.0)))


def test_depth_that_does_not_fit_is_named(tmp_path):
    folder = write_scene(tmp_path / "wall", count=2)
    frame = read_scene(folder).frames[0]
    PIL.Image.fromarray(np.ones((5, 7), np.uint16)).save(frame.depth.path)
    with pytest.raises(ImageError, match=r"has shape \(5, 7\), and photo '0' 240 × 180 pixels"):
        read_depth(frame)
    PIL.Image.fromarray(np.ones((180, 240), np.uint8)).save(frame.depth.path)
    with pytest.raises(ImageError, match="mode L; 16 bits and one channel were wanted"):
        read_depth(frame)
    frame.depth.path.write_bytes(frame.depth.path.read_bytes()[:40])
    with pytest.raises(ImageError, match="of photo '0' cannot be read"):
        read_depth(frame)


def test_between_pixels_depth_is_bilinear_and_beside_holes_that_of_the_nearest_pixel():
    depth = torch.tensor([[1.0, 2.0, NAN], [3.0, 4.0, 8.0]])
    points = [
        (0.25, 0.5),
        (1.0, 1.0),
        (1.4, 0.2),
        (1.6, 0.2),
        (1.4, 0.9),
        (-0.4, -0.5),
        (2.49, 1.4),
        (-0.6, 0),
        (0, 1.5),
    ]
    expected = [0.75 * 2.0 + 0.25 * 3.0, 4.0, 2.0, NAN, 4.0, 1.0, 8.0, NAN, NAN]
    assert torch.allclose(sample_depth(depth, torch.tensor(points)), torch.tensor(expected), equal_nan=True)
    assert sample_depth(depth, torch.zeros(0, 2)).shape == (0,)


def test_points_of_one_photo_land_where_another_sees_them():
    """The world's points are projected by the whole matrices."""
    pose0, pose1 = poses(2)
    points = np.random.default_rng(0).uniform([0, 0], SIZE, (50, 2)).astype(np.float32)
    depth, world = exact_depth(pose0, points)
    homogeneous = (CAMERA @ (pose1[:3] @ np.concatenate([world, np.ones((50, 1))], axis=1).T)).T
    camera = _camera()
    landed = project_points(
        torch.from_numpy(points),
        torch.from_numpy(depth.astype(np.float32)),
        camera,
        camera,
        relative_pose(torch.from_numpy(pose0), torch.from_numpy(pose1)),
    )
    assert np.allclose(landed.numpy(), homogeneous[:, :2] / homogeneous[:, 2:], atol=1e-4)


def test_without_depth_or_behind_the_camera_points_land_nowhere():
    turned = torch.diag(torch.tensor([-1.0, 1, -1, 1], dtype=torch.float64))
    points = torch.full((3, 2), 50.0)
    camera = _camera()
    nowhere = project_points(points, torch.tensor([NAN, 0.0, -1.0]), camera, camera, torch.eye(4, dtype=torch.float64))
    assert torch.isnan(nowhere).all()
    assert torch.isnan(project_points(points, torch.ones(3), camera, camera, turned)).all()


def _camera():
    from photoglue.geometry.camera import PinholeCamera

    return PinholeCamera.parse(" ".join(str(value) for value in CAMERA.flat), SIZE)
