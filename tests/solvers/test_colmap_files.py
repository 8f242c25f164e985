"""COLMAP's binary files are read whole or refused; COLMAP's own reader waits for ever on some that are cut off."""

import struct

import numpy as np
import pytest
from tiny_model import write_tiny_model

from photoglue.errors import ConfigError
from photoglue.solvers.colmap_files import CAMERA_MODELS, images_without, read_cameras, read_images, read_points


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def test_records_are_what_was_written(tiny):
    (camera,) = read_cameras(tiny.model / "cameras.bin")
    assert (camera.camera_id, camera.model, camera.image_size) == (1, "SIMPLE_RADIAL", (64, 48))
    assert camera.parameters == (60.0, 32.0, 24.0, -0.05)
    images = read_images(tiny.model / "images.bin")
    assert [image.name for image in images] == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert images[0].xy[0].tolist() == [3.0, 4.0]
    assert images[0].point_ids.tolist() == [-1, *range(10, 22)]
    points = read_points(tiny.model / "points3D.bin")
    assert np.array_equal(points.xyz, tiny.points)
    assert points.colours[3].tolist() == [3, 100, 200]
    assert points.track_lengths.tolist() == [3] * 12


@pytest.mark.parametrize(
    ("name", "read"), [("cameras", read_cameras), ("images", read_images), ("points3D", read_points)]
)
def test_cut_off_anywhere_or_with_more_at_the_end_is_refused(tiny, tmp_path, name, read):
    whole = (tiny.model / f"{name}.bin").read_bytes()
    path = tmp_path / f"{name}.bin"
    for content in [*(whole[:n] for n in range(0, len(whole), 7)), whole[:-1], whole + b"\0"]:
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=rf"{name}\.bin' is cut off or damaged"):
            read(path)


@pytest.mark.parametrize("read", [read_cameras, read_images, read_points])
def test_counts_that_cannot_be_are_refused_at_once(tmp_path, read):
    (tmp_path / "x.bin").write_bytes(struct.pack("<Q", 2**60) + bytes(200))
    with pytest.raises(ConfigError, match="records, more than can be in it"):
        read(tmp_path / "x.bin")


def test_none_at_all(tmp_path):
    (tmp_path / "x.bin").write_bytes(struct.pack("<Q", 0))
    assert read_cameras(tmp_path / "x.bin") == read_images(tmp_path / "x.bin") == []
    assert read_points(tmp_path / "x.bin").xyz.shape == (0, 3)


def test_images_are_left_out(tiny, tmp_path):
    (tmp_path / "images.bin").write_bytes(images_without(tiny.model / "images.bin", {"b.jpg"}))
    before, after = read_images(tiny.model / "images.bin"), read_images(tmp_path / "images.bin")
    assert [image.name for image in after] == ["a.jpg", "sub/c.jpg"]
    assert np.array_equal(after[1].xy, before[2].xy)


def test_camera_models_are_pycolmaps():
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    for name, model in pycolmap.CameraModelId.__members__.items():
        if model.value >= 0 and name in {known for known, _ in CAMERA_MODELS.values()}:
            assert CAMERA_MODELS[model.value][0] == name
            create = getattr(pycolmap.Camera, "create_from_model_id", None)
            if create is not None and name != "EQUIRECTANGULAR":
                assert CAMERA_MODELS[model.value][1] == len(create(0, model, 1, 2, 2).params)
