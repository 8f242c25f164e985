import json

import numpy as np
import pytest
from tiny_model import write_tiny_model

from photoglue.errors import ConfigError
from photoglue.sfm import PairOptions, find_pairs
from photoglue.sfm.poses import known_poses, named_alike


def test_a_trajectory_by_time_and_by_order(tmp_path):
    quarter = [0, np.sqrt(0.5), 0, np.sqrt(0.5)]  # a turn by 90° about y: looks along x
    rows = [[0.5, 1, 2, 3, 0, 0, 0, 1], [1.5, 4, 5, 6, *quarter]]
    path = tmp_path / "trajectory.txt"
    path.write_text("# time and pose\n" + "\n".join(" ".join(map(str, row)) for row in rows))
    for names in (["a.jpg", "b.jpg"], ["0.5.jpg", "1.5.jpg"]):
        placed = known_poses(path, names)
        assert placed.names == tuple(names)
        np.testing.assert_allclose(placed.centres, [[1, 2, 3], [4, 5, 6]], atol=1e-12)
        np.testing.assert_allclose(placed.axes, [[0, 0, 1], [1, 0, 0]], atol=1e-12)
    assert known_poses(path, ["1.5.jpg", "x.jpg", "y.jpg"]).names == ("1.5.jpg",)
    assert known_poses(path, ["1.jpg", "1.5.jpg"]).names == ("1.jpg", "1.5.jpg")  # as many as lines: by their order
    with pytest.raises(ConfigError, match="2 poses for 3 photos"):
        known_poses(path, ["a.jpg", "b.jpg", "c.jpg"])
    for text, said in (("1 2 3", "no TUM trajectory"), ("0 0 0 nan 0 0 0 1", "not finite"), ("0 " * 8, "0 0 0 0")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=said):
            known_poses(path, ["a.jpg"])


def test_cameras_json(tmp_path):
    pose = np.eye(4)
    pose[:3, 3] = [1, 2, 3]
    (tmp_path / "cameras.json").write_text(json.dumps({"a": {"T_w2c": pose.tolist()}}))
    for source in (tmp_path, tmp_path / "cameras.json"):
        placed = known_poses(source, ["images/a.jpg", "b.jpg"])
        assert placed.names == ("images/a.jpg",)
        assert placed.centres.tolist() == [[-1, -2, -3]]
    with pytest.raises(ConfigError, match=r"poses of 1 photos, such as 'a', and none of the 1 given, such as 'z\.jpg'"):
        known_poses(tmp_path, ["z.jpg"])
    (tmp_path / "cameras.json").rename(tmp_path / "mine.json")
    assert known_poses(tmp_path / "mine.json", ["a.jpg"]).names == ("a.jpg",)
    for content in ({"a": {}}, {"a": 1}):
        (tmp_path / "cameras.json").write_text(json.dumps(content))
        with pytest.raises(ConfigError, match="'a' in"):
            known_poses(tmp_path, ["a.jpg"])


def test_names_are_alike_where_that_is_unique():
    stored = {"images/1.png": 1, "left/2.png": 2, "right/2.png": 3, "3": 4}
    assert named_alike(["1.png", "left/2.png", "2.png", "sub/3.jpg", "9.jpg"], stored) == {
        "1.png": 1, "left/2.png": 2, "sub/3.jpg": 4,
    }  # fmt: skip


MODEL = {
    "cameras.txt": "1 SIMPLE_PINHOLE 100 80 90 50 40\n",
    "images.txt": (
        "1 1 0 0 0 -1 0 0 1 a.jpg\n10 10 1 20 20 2 30 30 3 1 1 -1\n"
        "2 1 0 0 0 -2 0 0 1 b.jpg\n10 10 1 20 20 2\n"
        "3 1 0 0 0 -3 0 0 1 c.jpg\n10 10 3\n"
    ),
    "points3D.txt": ("1 0 0 5 0 0 0 0.5 1 0 2 0\n2 1 0 5 0 0 0 0.5 1 1 2 1\n3 2 0 5 0 0 0 0.5 1 2 3 0\n"),
}


@pytest.fixture
def model(tmp_path):
    pytest.importorskip("pycolmap", exc_type=ImportError)
    for name, text in MODEL.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_colmap_model(model):
    placed = known_poses(model, ["a.jpg", "c.jpg"])
    np.testing.assert_allclose(placed.centres, [[1, 0, 0], [3, 0, 0]])
    np.testing.assert_allclose(placed.axes, [[0, 0, 1], [0, 0, 1]])


def test_pairs_of_a_model(model):
    photos = {name: model / name for name in ("a.jpg", "b.jpg", "c.jpg")}
    assert find_pairs(photos, by="model", model=model) == [("a.jpg", "b.jpg"), ("a.jpg", "c.jpg")]
    best = find_pairs(photos, by="model", model=model, options=PairOptions(neighbors=1))
    assert best == [("a.jpg", "b.jpg"), ("a.jpg", "c.jpg")]  # c's best is a


@pytest.mark.parametrize("name", ["images.bin", "points3D.bin"])
def test_a_model_that_is_cut_off(tmp_path, name):
    """COLMAP's own reader waits for ever on it."""
    folder = write_tiny_model(tmp_path).model
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    for rule in ("model", "poses"):
        with pytest.raises(ConfigError, match="cut off or damaged"):
            find_pairs({"a.jpg": folder, "b.jpg": folder}, by=rule, model=folder)
