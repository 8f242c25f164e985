"""The scene that the viewer draws is upright, of size one, and sees what the photos see."""

from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_model import write_tiny_model

from photoglue.geometry.frames import StoredFrame
from photoglue.sfm.report import scene as scenes
from photoglue.sfm.report.scene import scene_of
from photoglue.solvers.colmap_model import read_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return read_model(write_tiny_model(tmp_path_factory.mktemp("model"), names=[f"{i}.jpg" for i in range(9)]).model)


def arrays(scene):
    points = np.frombuffer(b64decode(scene.points), "<f4").reshape(-1, 3)
    return points, np.frombuffer(b64decode(scene.cameras), "<f4").reshape(-1, 14)


def moved(model, rotation, translation, scale):
    """The same model in another world."""
    images = []
    for image in model.images:
        pose = image.cam_from_world.clone()
        pose[:3, :3] = pose[:3, :3] @ rotation.T
        pose[:3, 3] = scale * pose[:3, 3] - pose[:3, :3] @ translation
        images.append(replace(image, cam_from_world=pose))
    return replace(model, images=tuple(images), points=scale * model.points @ rotation.T + translation)


def projections(scene):
    points, cameras = arrays(scene)
    found = []
    for camera in cameras.astype(float):
        inside = (points - camera[9:12]) @ camera[:9].reshape(3, 3).T
        found.append(inside[:, :2] / inside[:, 2:])
    return np.array(found)


def test_y_is_up_and_the_cameras_stand_in_front(model):
    """COLMAP's y points down: what is lowest there is lowest here."""
    points, cameras = arrays(scene_of(model, [None] * 9))
    assert np.corrcoef(points[:, 1], -model.points[:, 1].numpy())[0, 1] > 0.9999
    assert cameras[:, 11].mean() > 0
    assert abs(cameras[:, 9].mean()) < 1e-5
    assert 0.3 < np.linalg.norm(points, axis=1).max() < 3


def test_any_world_gives_the_same_scene(model):
    """Also one of coordinates in a country's grid, millions from its origin, where float32 has half-metre steps."""
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    turn = turn * torch.linalg.det(turn)
    far = torch.tensor([6.7e6, -3.1e5, 90.0], dtype=torch.float64)
    here, there, turned = (
        scene_of(each, [None] * 9)
        for each in (model, moved(model, torch.eye(3).double(), far, 7.0), moved(model, turn, far, 7.0))
    )
    np.testing.assert_allclose(arrays(there)[1], arrays(here)[1], atol=2e-5)
    for other in (there, turned):  # the middle of a turned model may be chosen a little beside
        np.testing.assert_allclose(projections(other), projections(here), atol=1e-4)


def test_cameras_see_points_where_the_photos_do(model):
    scene = scene_of(model, [None] * 9)
    for image, seen in zip(model.images, projections(scene), strict=True):
        np.testing.assert_allclose(60 * seen + [31.5, 23.5], image.keypoints.numpy(), atol=1e-3)


def test_turned_photos_are_drawn_upright(model):
    frame = StoredFrame(orientation=6, upright_size=(48, 64))
    scene = scene_of(model, [frame] * 9)
    seen = projections(scene)[0]
    expected = frame.to_upright(model.images[0].keypoints).numpy()
    np.testing.assert_allclose(60 * seen + [23.5, 31.5], expected, atol=1e-3)
    np.testing.assert_allclose(arrays(scene)[1][0, 12:], [24 / 60, 32 / 60], rtol=1e-6)


def test_photos_straight_down_in_all_directions(model):
    """Of a drone: what is up in the photos is anywhere, but no camera was held askew."""
    down = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]], dtype=torch.float64)  # the world's z points up
    images = []
    for i, image in enumerate(model.images):
        angle = torch.tensor(2.2 * i)
        c, s = float(angle.cos()), float(angle.sin())
        rotation = torch.tensor([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=torch.float64) @ down
        centre = torch.tensor([i % 3 - 1, i // 3 - 1, 9.0], dtype=torch.float64)
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3], pose[:3, 3] = rotation, -rotation @ centre
        images.append(replace(image, cam_from_world=pose))
    points, cameras = arrays(scene_of(replace(model, images=tuple(images)), [None] * 9))
    assert np.corrcoef(points[:, 1], model.points[:, 2].numpy())[0, 1] > 0.9999
    assert cameras[:, 10].min() > points[:, 1].max()


def test_points_are_thinned_out_evenly_and_none_is_fine(model, monkeypatch):
    monkeypatch.setattr(scenes, "MAX_POINTS", 4)
    scene = scene_of(model, [None] * 9)
    assert (scene.shown, scene.total, len(arrays(scene)[0])) == (4, 12, 4)
    none = {name: getattr(model, name)[:0] for name in ("points", "colours", "errors", "track_lengths")}
    blind = tuple(replace(image, keypoints=image.keypoints[:0], points=image.points[:0]) for image in model.images)
    empty = replace(model, images=blind, **none)
    assert len(arrays(scene_of(empty, [None] * 9))[0]) == 0


def test_a_single_camera(model):
    one = replace(model, images=model.images[:1])
    assert np.isfinite(arrays(scene_of(one, [None]))[1]).all()


def test_another_camera_stands_where_it_would_in_the_scene(model):
    """As of a photo that is placed later: in the scene of the model without it, not in one of its own."""
    frame = scenes.frame_of_scene(model, [None] * 9)
    _, cameras = arrays(scene_of(model, [None] * 9))
    poses = torch.stack([image.cam_from_world for image in model.images])
    again = frame.cameras(poses, torch.from_numpy(cameras[:, 12:].astype(float)))
    assert again.numpy() == pytest.approx(cameras, abs=1e-5)
    wide = frame.cameras(poses[:1], torch.full((1, 2), 9.0, dtype=torch.float64))
    assert wide[0, 12:].tolist() == [scenes.WIDEST] * 2
