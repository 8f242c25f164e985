"""The view of a model agrees with COLMAP's own, and models that make no sense are refused."""

import shutil
import struct

import numpy as np
import pytest
import torch
from tiny_model import write_tiny_model

from photoglue.errors import ConfigError
from photoglue.geometry.frames import StoredFrame
from photoglue.solvers.colmap_model import read_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def test_poses_points_and_tracks(tiny):
    model = read_model(tiny.model)
    assert [image.name for image in model.images] == tiny.names
    assert np.array_equal(model.points.numpy(), tiny.points)
    for image in model.images:
        np.testing.assert_allclose(image.cam_from_world.numpy(), tiny.cam_from_world[image.name], atol=1e-12)
        expected = -tiny.cam_from_world[image.name][:3, :3].T @ [0, 0, 4]
        np.testing.assert_allclose(image.centre.numpy(), expected, atol=1e-12)
        assert image.points.tolist() == list(range(12))
        # Half a pixel from COLMAP's.
        in_camera = tiny.points @ image.cam_from_world[:3, :3].numpy().T + [0, 0, 4]
        projected = 60 * in_camera[:, :2] / in_camera[:, 2:] + [31.5, 23.5]
        np.testing.assert_allclose(image.keypoints.numpy(), projected, atol=1e-9)
    with pytest.raises(KeyError):
        model.image("none.jpg")


def test_shared_points(tmp_path):
    model = read_model(write_tiny_model(tmp_path, blind=("b.jpg",)).model)
    assert model.shared_points() == {("a.jpg", "sub/c.jpg"): 12}
    everything = read_model(write_tiny_model(tmp_path / "all").model)
    assert set(everything.shared_points().values()) == {12}
    assert len(everything.shared_points()) == 3


def test_it_is_what_pycolmap_reads(tiny):
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    theirs, ours = pycolmap.Reconstruction(str(tiny.model)), read_model(tiny.model)
    for image in theirs.images.values():
        pose = image.cam_from_world
        pose = (pose() if callable(pose) else pose).matrix()
        np.testing.assert_allclose(ours.image(image.name).cam_from_world[:3].numpy(), pose, atol=1e-12)
    for row, point in enumerate(theirs.points3D.values()):
        assert np.abs(ours.points.numpy() - point.xyz).sum(axis=1).min() == 0, row


@pytest.mark.parametrize("camera", [("PINHOLE", (60.0, 60.0, 32.0, 24.0)), ("OPENCV", (60, 60, 32, 24, 0, 0, 0, 0))])
def test_errors_are_zero_where_keypoints_are_projections(tmp_path, camera):
    pytest.importorskip("pycolmap", exc_type=ImportError)
    model = read_model(write_tiny_model(tmp_path, cameras=(camera,)).model)
    for image in model.images:
        assert model.reprojection_errors(image).max() < 1e-6


def test_errors_are_pixels(tmp_path):
    """A principal point that is moved by (3, 4) moves all projections by 5."""
    pytest.importorskip("pycolmap", exc_type=ImportError)
    model = read_model(write_tiny_model(tmp_path, cameras=(("SIMPLE_PINHOLE", (60.0, 35.0, 28.0)),)).model)
    torch.testing.assert_close(model.reprojection_errors(model.images[0]), torch.full((12,), 5.0, dtype=torch.float64))


def test_upright_poses_see_points_where_the_upright_photo_has_them(tiny):
    image = read_model(tiny.model).images[0]
    frame = StoredFrame(orientation=6, upright_size=(48, 64))
    upright = image.upright(frame)
    points = torch.from_numpy(tiny.points) @ upright[:3, :3].T + upright[:3, 3]
    projected = 60 * points[:, :2] / points[:, 2:] + torch.tensor([23.5, 31.5])
    torch.testing.assert_close(projected, frame.to_upright(image.keypoints))


def test_text_is_read_by_pycolmap(tiny, tmp_path):
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    pycolmap.Reconstruction(str(tiny.model)).write_text(str(tmp_path))
    ours, text = read_model(tiny.model), read_model(tmp_path)
    assert [image.name for image in text.images] == tiny.names
    for image in ours.images:
        assert torch.allclose(text.image(image.name).cam_from_world, image.cam_from_world)
    (tmp_path / "images.txt").write_text("1 nonsense\n")
    with pytest.raises(ConfigError):
        read_model(tmp_path)


def test_no_model(tiny, tmp_path):
    with pytest.raises(ConfigError, match="There is no folder"):
        read_model(tmp_path / "none")
    with pytest.raises(ConfigError, match="holds no COLMAP model"):
        read_model(tmp_path)
    shutil.copytree(tiny.model, tmp_path / "sparse" / "0")
    with pytest.raises(ConfigError, match=r"Is it '.*sparse/0'\?"):
        read_model(tmp_path)


def test_files_that_do_not_belong_together(tiny, tmp_path):
    for name, other, message in (
        ("points3D.bin", {"points": 5}, "sees points that points3D does not have"),
        ("images.bin", {"names": ("a.jpg", "b.jpg")}, "different tracks"),
        ("cameras.bin", None, "the camera of 'a.jpg' is missing"),
    ):
        folder = tmp_path / name
        shutil.copytree(tiny.model, folder)
        if other is None:
            (folder / name).write_bytes(struct.pack("<Q", 0))
        else:
            shutil.copy(write_tiny_model(tmp_path / f"{name}_other", **other).model / name, folder / name)
        with pytest.raises(ConfigError, match=message):
            read_model(folder)
