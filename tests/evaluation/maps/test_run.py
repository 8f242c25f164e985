"""Scenes are read, mappers are called in turn, and a mapper that fails is in the table."""

import json
import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

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


@dataclass(frozen=True)
class Perfect:
    """A mapper that knows the model."""

    model: Path
    told: list = field(default_factory=list, repr=False)

    def __call__(self, photos, out, cameras, progress):
        assert list(out.iterdir()) == []
        self.told.append((sorted(path.name for path in photos.rglob("*.jpg")), cameras))
        (out / "left").write_text("over")
        progress("map", 1, 1)
        return MapRun(model=self.model, cpu_seconds={"map": 2.0}, unplaced={"b.jpg": "why"})


def lost(photos, out, cameras, progress):
    return MapRun(model=None, cpu_seconds={})


def test_mappers_in_turn(scene, tmp_path):
    pytest.importorskip("pycolmap", exc_type=ImportError)
    folder, tiny = scene
    good, shown = Perfect(tiny.model), []
    run = partial(measure_maps, [tmp_path / "data"], out=tmp_path / "out", intrinsics=["unknown", "known"])
    results = run({"good": good, "lost": lost}, progress=lambda *told: shown.append(told))
    assert [(result.mapper, result.intrinsics, result.score.placed) for result in results] == [
        ("good", "unknown", 3), ("lost", "unknown", 0), ("good", "known", 3), ("lost", "known", 0),
    ]  # fmt: skip
    assert results[0].score.position < 1e-9 and results[0].score.rotation_deg < 1e-6
    assert results[1].score.position == math.inf
    assert good.told[0] == (["a.jpg", "b.jpg", "c.jpg"], None) and sorted(good.told[1][1]) == [
        "a.jpg",
        "b.jpg",
        "sub/c.jpg",
    ]
    assert ("scene, K known, good: map", 1, 1) in shown and shown[-1] == ("models", 4, 4)
    table = (tmp_path / "out" / "maps.md").read_text()
    assert "| scene (K known) | lost | 0/3 | inf |" in table and "2.0 (map 2.0)" in table
    assert run({"good": good}) == [results[0], results[2]] and len(good.told) == 2  # nothing is done twice
    frames = json.loads((folder / "cameras.json").read_text())
    frames["images/a.jpg"]["T_w2c"][0][3] += 0.5
    (folder / "cameras.json").write_text(json.dumps(frames))
    assert run({"good": good})[0].score.position > 1e-3 and len(good.told) == 4
    assert len(json.loads((tmp_path / "out" / "maps.json").read_text())["results"]) == 4  # those of "lost" stay


def test_some_of_the_photos_and_no_truth(scene, tmp_path):
    pytest.importorskip("pycolmap", exc_type=ImportError)
    folder, tiny = scene
    good = Perfect(tiny.model)
    (result,) = measure_maps([folder], {"good": good}, tmp_path / "out", max_photos=2)
    assert good.told == [(["a.jpg", "b.jpg"], None)] and (result.score.photos, result.score.placed) == (2, 2)
    (folder / "cameras.json").unlink()
    (result,) = measure_maps([folder], {"good": good}, tmp_path / "out2", intrinsics=["known", "unknown"])
    assert (result.intrinsics, result.score.placed, result.score.compared) == ("unknown", 3, 0)
    assert "| scene (K unknown) | good | 3/3 | – | – | – |" in (tmp_path / "out2" / "maps.md").read_text()


def test_what_cannot_be_mapped(scene, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConfigError, match="holds no scenes"):
        measure_maps([tmp_path / "nothing"], {}, tmp_path / "out")
    with pytest.raises(ConfigError, match="'ours' is no mapper"):
        measure_maps([scene[0]], ["ours"], tmp_path / "out")
    with pytest.raises(ConfigError, match="Two scenes are called 'scene'"):
        measure_maps([scene[0], scene[0]], {}, tmp_path / "out")
    with pytest.raises(ConfigError, match="max_photos is 0"):
        measure_maps([scene[0]], {}, tmp_path / "out", max_photos=0)
