"""Models: the largest first, done once, the same bytes, and kept when interrupted."""

import shutil
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import mapped_scene
import numpy as np
import pytest
from mapped_scene import PLACES, Scene, position_error

from photoglue.errors import ConfigError, OutputError
from photoglue.sfm import reconstruct
from photoglue.sfm.database import write_database
from photoglue.sfm.reconstruct import made_from
from photoglue.solvers import colmap_mapping
from photoglue.solvers.colmap import pycolmap
from photoglue.solvers.colmap_facts import numbers_in
from photoglue.solvers.colmap_mapping import MapperOptions
from photoglue.solvers.colmap_model import read_model

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)
pytest.importorskip("pycolmap", exc_type=ImportError)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path, 0, 1, 2, 3, 4, focal="280")


def database(scene, **options):
    scene.verify()
    path = scene.folder / "d.db"
    files = {"features": scene.folder / "f.h5", "matches": scene.folder / "m.h5", "verified": scene.folder / "v.h5"}
    write_database(path, **files, cameras=scene.cameras, pairs=scene.pairs, **options)
    return path


def mapped(scene, out="out", **options):
    mapper = MapperOptions(refine_focal_length=False, **options.pop("mapper", {}))
    return reconstruct(database(scene), scene.folder / "photos", scene.folder / out, options=mapper, **options)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("sparse/*/*.bin"))}


@pytest.mark.slow
def test_places_and_bytes(scene):
    told = []
    (model,) = mapped(scene, progress=told.append)
    assert model.placed == tuple(f"{number:03}.png" for number in range(5))
    assert model.path == scene.folder / "out" / "sparse" / "0"
    assert position_error(model.path) < 0.02
    assert model.points > 100
    assert 3 < model.mean_track < 5
    assert model.error_px < 0.2
    assert sum(model.observations.values()) == pytest.approx(model.mean_track * model.points)
    assert told == [2, 3, 4, 5]
    mapped(scene, "again")
    assert content(scene.folder / "again") == content(scene.folder / "out")
    before = database(scene).read_bytes()
    assert mapped(scene, progress=told.append) == (model,)
    assert told == [2, 3, 4, 5]  # not done again
    assert database(scene).read_bytes() == before
    assert sorted(path.name for path in (scene.folder / "out").iterdir()) == ["sparse"]


@pytest.mark.slow
@pytest.mark.parametrize("lost", [True, False])
def test_a_focal_length_that_runs_away_is_held_the_second_time(tmp_path, monkeypatch, lost):
    """The calibration is far off, so that photos are lost; from the guess, held, all find their places."""
    scene = Scene(tmp_path, 0, 1, 2, 3, 4)
    (camera,) = scene.cameras.cameras
    scene.cameras = replace(scene.cameras, cameras=(replace(camera, params=(310.0, *camera.params[1:])),))
    incremental, starts = colmap_mapping._incremental, []

    def runs_away(module, database, options):
        with closing(sqlite3.connect(database)) as base, base:
            (params,) = base.execute("SELECT params FROM cameras").fetchone()
            base.execute("UPDATE cameras SET params = ?", (np.array([9000.0]).tobytes() + params[8:],))

    def recorded(module, places, options, run, first=None):
        starts.append(options.refine_focal_length)
        found = incremental(module, places, options, run)
        return [] if lost and len(starts) == 1 else found

    monkeypatch.setattr(colmap_mapping, "_incremental", recorded)
    if lost:
        monkeypatch.setattr(colmap_mapping, "_calibrate", runs_away)
    (model,) = reconstruct(database(scene), scene.folder / "photos", scene.folder / "out")
    assert starts == ([True, False] if lost else [True])
    assert len(model.placed) == 5 and position_error(model.path) < 0.1
    assert sorted(path.name for path in (scene.folder / "out").iterdir()) == ["sparse"]
    (focal,) = {camera.parameters[0] for camera in read_model(model.path).cameras.values()}
    assert focal == pytest.approx(280, rel=0.08)  # refined in the end: the guess is 310


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False])
def test_a_walk_straight_ahead(tmp_path, monkeypatch, again):
    """Where each photo lies ahead of the one before, COLMAP 4.2 alone finds no two photos to begin with."""
    version = tuple(int(part) for part in pycolmap().__version__.split(".")[:2])
    if not again and version < (4, 2):
        pytest.skip("older versions find two by themselves")

    def ahead(number):
        return np.c_[np.eye(3), [0.02 * number, 0, -0.3 * number]]

    monkeypatch.setattr(mapped_scene, "pose", ahead)
    monkeypatch.setattr(colmap_mapping, "FEW", 0.8 if again else 0.0)
    scene = Scene(tmp_path, *range(8), focal="280")
    found = reconstruct(database(scene), scene.folder / "photos", scene.folder / "out")
    if again:
        assert len(found[0].placed) == 8 and position_error(found[0].path) < 0.1
    else:
        assert not found or len(found[0].placed) < 8


@pytest.mark.slow
def test_other_options_and_another_database_are_mapped_anew(scene):
    mapped(scene)
    told = []
    mapped(scene, mapper={"refine_principal_point": True}, progress=told.append)
    assert told
    scene.pairs = [pair for pair in scene.pairs if "004.png" not in pair]
    (model,) = mapped(scene)
    assert len(model.placed) == 4


@pytest.mark.slow
def test_two_places_are_two_models_the_larger_first(tmp_path):
    scene = Scene(tmp_path, 0, 1, 2, 3, *range(PLACES, PLACES + 5), focal="280")
    larger, smaller = mapped(scene)
    assert (len(larger.placed), len(smaller.placed)) == (5, 4)
    assert [model.path.name for model in (larger, smaller)] == ["0", "1"]
    assert max(position_error(model.path) for model in (larger, smaller)) < 0.03


class Interrupted:
    """Raises when so many photos are placed."""

    def __init__(self, placed):
        self.placed = placed

    def __call__(self, placed):
        if placed == self.placed:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_interruption_keeps_what_is_there_and_the_next_run_is_as_if_there_was_none(scene):
    with pytest.raises(KeyboardInterrupt):
        mapped(scene, progress=Interrupted(4))
    sparse = scene.folder / "out" / "sparse"
    assert len(numbers_in(sparse / "0")) == 4
    assert not made_from(sparse).finished
    (model,) = mapped(scene)
    assert len(model.placed) == 5
    mapped(scene, "other")
    assert content(scene.folder / "other") == content(scene.folder / "out")
    with pytest.raises(KeyboardInterrupt):
        mapped(scene, mapper={"seed": 1}, progress=Interrupted(3))
    assert made_from(sparse).finished  # a whole model is not given up for half of another
    assert len(numbers_in(sparse / "0")) == 5


@pytest.mark.slow
def test_snapshots_are_gone_on_from(scene):
    with pytest.raises(KeyboardInterrupt):
        mapped(scene, mapper={"snapshot_photos": 1}, progress=Interrupted(4))
    told = []
    (model,) = mapped(scene, mapper={"snapshot_photos": 1}, progress=told.append)
    assert told[0] > 2
    assert len(model.placed) == 5
    assert sorted(path.name for path in (scene.folder / "out").iterdir()) == ["sparse"]


@pytest.mark.slow
def test_a_model_is_extended(scene):
    pairs = scene.pairs
    scene.pairs = [pair for pair in pairs if "000.png" not in pair]
    (model,) = mapped(scene)
    numbers = numbers_in(model.path)
    assert len(numbers) == 4
    scene.pairs = pairs
    told = []
    path = database(scene, first=numbers)
    options = MapperOptions(refine_focal_length=False)
    args = (path, scene.folder / "photos", scene.folder / "out")
    (larger,) = reconstruct(*args, options=options, extend=True, progress=told.append)
    assert told == [4, 5]
    assert numbers.items() <= numbers_in(larger.path).items()
    assert position_error(larger.path) < 0.02


@pytest.mark.slow
def test_what_is_missing_is_named(scene, tmp_path):
    with pytest.raises(ConfigError, match=r"no model .* to extend"):
        mapped(scene, extend=True)
    with pytest.raises(OutputError, match=r"absent\.db"):
        reconstruct(tmp_path / "absent.db", tmp_path, tmp_path)


def test_strangers_give_no_model(tmp_path):
    scene = Scene(tmp_path, 0, PLACES, focal="280")
    assert mapped(scene) == ()
    assert (tmp_path / "out" / "sparse").is_dir()


@pytest.mark.slow
def test_global_mapping(scene):
    if not hasattr(pycolmap(), "global_mapping"):
        pytest.skip("this pycolmap has no global mapping")
    (model,) = mapped(scene, mapper={"mapper": "global"})
    assert len(model.placed) == 5
    assert position_error(model.path) < 0.02
    mapped(scene, "again", mapper={"mapper": "global"})
    assert content(scene.folder / "again") == content(scene.folder / "out")


@pytest.mark.slow
def test_a_model_of_photos_that_the_first_has_is_left_out(scene, monkeypatch):
    real = colmap_mapping.map_photos

    def twice(copy, photos, work, *rest, **options):
        (found,) = real(copy, photos, work, *rest, **options)
        return [found, Path(shutil.copytree(found, work / "7"))]

    monkeypatch.setattr(sys.modules["photoglue.sfm.reconstruct"], "map_photos", twice)
    (model,) = mapped(scene, mapper={"seed": 5})
    assert sorted(path.name for path in model.path.parent.iterdir()) == ["0", "made_from.json"]
