"""One reader of cameras for data sets and scenes: both refuse the same, and say the same."""

import json

import numpy as np
import pytest
from rendered_scene import CAMERA, SIZE, poses, write_scene

from photoglue.datasets.cameras import checked_pose, read_cameras, read_megadepth
from photoglue.datasets.images import Images
from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.scenes import read_scene
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning

READERS = (load_dataset, read_scene)


@pytest.fixture
def spoiled(tmp_path):
    """A scene whose photo 1 has other entries; None removes one."""

    def spoil(changes):
        folder = write_scene(tmp_path / "wall", count=3)
        described = json.loads((folder / "cameras.json").read_text())
        frame = described["frames"]["1"] | changes
        described["frames"]["1"] = {name: value for name, value in frame.items() if value is not None}
        (folder / "cameras.json").write_text(json.dumps(described))
        return folder

    return spoil


def test_a_photo_is_read_as_it_was_written(tmp_path):
    cameras = read_cameras(write_scene(tmp_path / "wall"))
    photo = cameras.photo("2", Images(folder=tmp_path))
    assert (photo.name, photo.camera.image_size, cameras.depth_scale) == ("wall/images/2.png", SIZE, 1000)
    assert np.array_equal(photo.camera.matrix.numpy(), CAMERA)
    assert np.array_equal(photo.cam_from_world, poses(4)[2])


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 80}, "belongs to an image of 80 × 180"),
        ({"K": [[50, 0, 260], [0, 50, 14], [0, 0, 1]]}, "principal point at .* outside its image"),
        ({"K": [[400, 3, 120], [0, 400, 90], [0, 0, 1]]}, "is not valid: .*no skew"),
        ({"K": [[400, 0], [0, 400]]}, "is not valid"),
        ({"K": "wide"}, "is not valid"),
        ({"K": None}, "not complete .'K'"),
        ({"T_w2c": None}, "not complete .'T_w2c'"),
        ({"T_w2c": [[1, 0], [0, 1]]}, "not a 4 × 4 matrix"),
        ({"T_w2c": [[1, 0], [0]]}, "not a 4 × 4 matrix"),
        ({"T_w2c": (2 * np.eye(4)).tolist()}, "may not be scaled or mirrored"),
        ({"T_w2c": np.diag([-1.0, 1, 1, 1]).tolist()}, "may not be scaled or mirrored"),
        ({"T_w2c": np.zeros((4, 4)).tolist()}, "may not be scaled or mirrored"),
        ({"T_w2c": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [5, 0, 0, 1]]}, "last row .* Is it transposed"),
        ({"width": "wide"}, "not complete .*'wide'.*width and height"),
    ],
)
def test_cameras_that_do_not_fit(spoiled, changes, said, read):
    with pytest.raises(ConfigError, match=rf"1\.png.*{said}"):
        read(spoiled(changes))


@pytest.mark.parametrize("read", READERS)
def test_the_size_need_not_be_stated(spoiled, read):
    read(spoiled({"width": None, "height": None}))


@pytest.mark.parametrize("read", READERS)
def test_the_camera_of_an_image_of_another_size_is_noticed(spoiled, read):
    with pytest.warns(PhotoGlueWarning, match=r"1\.png.* far from the middle"):
        read(spoiled({"K": [[100, 0, 60], [0, 100, 44], [0, 0, 1]]}))


@pytest.mark.parametrize("read", READERS)
def test_a_photo_is_measured_as_it_stands_upright(tmp_path, make, read):
    """Its EXIF tag turns it, as whoever reads it does."""
    folder = write_scene(tmp_path / "wall", count=2)
    make.image(folder / "images" / "1.png", SIZE, exif=6)
    with pytest.raises(ConfigError, match=r"belongs to an image of 240 × 180 pixels, and the file has 180 × 240"):
        read(folder)


@pytest.mark.parametrize("read", READERS)
def test_files_that_are_missing_or_damaged(tmp_path, read):
    folder = write_scene(tmp_path / "wall", count=2)
    (folder / "images" / "1.png").unlink()
    with pytest.raises(ImageError, match=r"no image '.*images/1', which '.*cameras\.json' names"):
        read(folder)
    (folder / "cameras.json").write_text("{")
    with pytest.raises(ConfigError, match=r"cameras\.json' cannot be read"):
        read(folder)


@pytest.mark.parametrize("text", ['{"frames": [{"K": 1}, {"K": 2}]}', "[]", "null"])
def test_not_a_camera_for_each_image(tmp_path, text):
    (tmp_path / "cameras.json").write_text(text)
    with pytest.raises(ConfigError, match=r"cameras\.json' has a \w+ where a camera for each image was wanted"):
        read_cameras(tmp_path)


def test_a_rotation_may_be_rounded_but_not_scaled():
    pose = np.eye(4)
    pose[0, 0] = 1.0001
    assert checked_pose(pose, "x")[0, 0] == 1.0001
    pose[0, 0] = 1.001
    with pytest.raises(ConfigError, match="The pose of x has no rotation"):
        checked_pose(pose, "x")


def test_arrays_that_megadepths_files_lack_are_named(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, image_paths=np.zeros(1), poses=np.zeros(1))
    with pytest.raises(ConfigError, match=r"s\.npz' is no scene file of MegaDepth .*intrinsics.*overlap_matrix"):
        read_megadepth(path, ("overlap_matrix",))
