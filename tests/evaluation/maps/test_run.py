"""Scenes are read, mappers are called in turn, and a mapper that fails is in the table."""

import json
import math

import numpy as np
import pytest
from tiny_model import write_tiny_model

from photoglue.errors import ConfigError
from photoglue.evaluation.maps.colmap import MapRun
from photoglue.evaluation.maps.run import measure_maps, read_truth

NAMES = ("images/a.jpg", "images/b.jpg", "images/sub/c.jpg")


@pytest.fixture
def scene(tmp_path):
    """Its photos and true poses are those of a tiny model, b.jpg stored turned."""
    tiny = write_tiny_model(tmp_path / "tiny", names=("a.jpg", "b.jpg", "sub/c.jpg"), exif={"b.jpg": 3})
    folder = tmp_path / "data" / "scene"
    folder.mkdir(parents=True)
    tiny.photos.rename(folder / "images")
    frames = {}
    for name, pose in tiny.cam_from_world.items():
        turn = np.diag([-1.0, -1, 1, 1]) if name == "b.jpg" else np.eye(4)  # the truth is of upright photos
        matrix = [[60.0, 0, 30.0], [0, 60.0, 23.5], [0, 0, 1]]
        frames[f"images/{name}"] = {"K": matrix, "T_w2c": (turn @ pose).tolist(), "width": 64, "height": 48}
    (folder / "cameras.json").write_text(json.dumps(frames))
    return folder, tiny


def test_truth_is_upright_and_cameras_are_stored(scene):
    truth, cameras = read_truth(scene[0])
    assert sorted(truth) == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert truth["b.jpg"].frame.orientation == 3
    assert (cameras["a.jpg"].cx, cameras["b.jpg"].cx) == (30.0, 33.0)


def test_mappers_in_turn(scene, tmp_path):
    pytest.importorskip("pycolmap", exc_type=ImportError)
    folder, tiny = scene
    told = []

    def perfect(photos, out, cameras):
        assert photos == folder / "images" and list(out.iterdir()) == []
        told.append(cameras)
        (out / "left").write_text("over")
        return MapRun(model=tiny.model, cpu_seconds={"map": 2.0})

    def lost(photos, out, cameras):
        return MapRun(model=None, cpu_seconds={})

    for intrinsics in ("unknown", "known"):
        results = measure_maps(
            [tmp_path / "data"], {"good": perfect, "lost": lost}, tmp_path / "out", intrinsics=intrinsics
        )
        assert [(result.scene, result.mapper, result.score.placed) for result in results] == [
            ("scene", "good", 3), ("scene", "lost", 0),
        ]  # fmt: skip
        assert results[0].score.position < 1e-9 and results[0].score.rotation_deg < 1e-6
        assert results[1].score.position == math.inf
    assert told[0] is None and sorted(told[1]) == ["a.jpg", "b.jpg", "sub/c.jpg"]
    table = (tmp_path / "out" / "maps.md").read_text()
    assert "| scene (K known) | lost | 0/3 | inf |" in table and "2.0 (map 2.0)" in table
    assert json.loads((tmp_path / "out" / "maps.json").read_text())[1]["score"]["position"] == "inf"


def test_no_scene(tmp_path):
    with pytest.raises(ConfigError, match="holds no scenes"):
        measure_maps([tmp_path], {}, tmp_path / "out")
