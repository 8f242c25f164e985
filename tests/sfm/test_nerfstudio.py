"""transforms.json by nerfstudio's rules: each frame projects the points of its PLY to where COLMAP saw them."""

import json

import numpy as np
import pytest
from tiny_model import write_tiny_model

from photoglue.errors import ConfigError, ImageError
from photoglue.sfm.nerfstudio import write_nerfstudio
from photoglue.solvers.colmap_model import read_model

PINHOLE = ("PINHOLE", (60.0, 60.0, 32.0, 24.0))


def points_of(path):
    text = path.read_text().splitlines()
    start = text.index("end_header") + 1
    assert text[1] == "format ascii 1.0"
    return np.array([[float(word) for word in line.split()] for line in text[start:]])


@pytest.mark.parametrize("cameras", [(PINHOLE,), (PINHOLE, ("SIMPLE_RADIAL", (60.0, 32.0, 24.0, 0.0)))])
def test_frames_see_the_points_where_colmap_does(tmp_path, cameras):
    """OpenGL's axes: x right, y up, looking along -z. COLMAP's pixels, half a pixel included."""
    tiny = write_tiny_model(tmp_path, cameras=cameras)
    path = write_nerfstudio(tiny.model, tiny.photos, tmp_path / "out" / "scene")
    meta = json.loads(path.read_text())
    points = points_of(path.parent / meta["ply_file_path"])[:, :3]
    model = read_model(tiny.model)
    assert len(meta["frames"]) == 3
    for frame in meta["frames"]:
        camera = meta | frame
        name = (path.parent / frame["file_path"]).resolve().relative_to(tiny.photos.resolve()).as_posix()
        image = model.image(name)
        assert frame["colmap_im_id"] == image.image_id
        in_camera = (np.c_[points, np.ones(len(points))] @ np.linalg.inv(frame["transform_matrix"]).T)[:, :3]
        x = camera["fl_x"] * in_camera[:, 0] / -in_camera[:, 2] + camera["cx"]
        y = camera["fl_y"] * -in_camera[:, 1] / -in_camera[:, 2] + camera["cy"]
        np.testing.assert_allclose(np.c_[x, y], image.keypoints.numpy() + 0.5, atol=1e-4)
        assert (camera["w"], camera["h"], camera["camera_model"]) == (64, 48, "OPENCV")


def test_the_world_is_turned_as_the_file_says(tmp_path):
    """COLMAP's y, which points down, becomes -z; undoing applied_transform gives COLMAP's points."""
    tiny = write_tiny_model(tmp_path)
    path = write_nerfstudio(str(tiny.model), str(tiny.photos), str(tmp_path))
    applied = np.array(json.loads(path.read_text())["applied_transform"])
    assert applied.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]]
    rows = points_of(tmp_path / "sparse_pc.ply")
    np.testing.assert_allclose(rows[:, :3] @ applied[:, :3], tiny.points, atol=1e-6)
    assert rows[3, 3:].tolist() == [3, 100, 200]


def test_one_camera_stands_once_and_several_with_each_frame(tmp_path):
    one = write_tiny_model(tmp_path / "one")
    meta = json.loads(write_nerfstudio(one.model, one.photos, tmp_path / "one" / "out").read_text())
    assert (meta["k1"], meta["k2"], meta["p1"], meta["p2"]) == (-0.05, 0, 0, 0)
    assert "fl_x" not in meta["frames"][0]
    numbers = ((50, 51, 32, 24, 0.1, 0.2, 0.3, 0.4), (60, 61, 32, 24, 0, 0, 0, 0))
    cameras = tuple(("OPENCV_FISHEYE", parameters) for parameters in numbers)
    two = write_tiny_model(tmp_path / "two", cameras=cameras)
    meta = json.loads(write_nerfstudio(two.model, two.photos, tmp_path / "two" / "out").read_text())
    assert meta["camera_model"] == "OPENCV_FISHEYE"
    assert "fl_x" not in meta
    assert [frame["fl_y"] for frame in meta["frames"]] == [51, 61, 51]
    assert [meta["frames"][0][f"k{i}"] for i in (1, 2, 3, 4)] == [0.1, 0.2, 0.3, 0.4]


def test_what_nerfstudio_cannot_have(tmp_path):
    fov = write_tiny_model(tmp_path / "fov", cameras=(("FOV", (60.0, 60.0, 32.0, 24.0, 0.9)),))
    with pytest.raises(ConfigError, match=r"no camera like COLMAP's FOV; undistort"):
        write_nerfstudio(fov.model, fov.photos, tmp_path / "out")
    mixed = write_tiny_model(tmp_path / "mixed", cameras=(PINHOLE, ("OPENCV_FISHEYE", (60, 61, 32, 24, 0, 0, 0, 0))))
    with pytest.raises(ConfigError, match="OPENCV and OPENCV_FISHEYE; undistort"):
        write_nerfstudio(mixed.model, mixed.photos, tmp_path / "out")
    (mixed.photos / "a.jpg").unlink()
    with pytest.raises(ImageError, match=r"a\.jpg"):
        write_nerfstudio(mixed.model, mixed.photos, tmp_path / "out")
    assert not (tmp_path / "out").exists()
