"""Photos to model: in one call, gone on from wherever it was killed, and only what changed is done again."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import PIL.Image
import pytest
from mapped_scene import EMPTY, PLACES, TURNING, Told, position_error, write

from photoglue import sfm
from photoglue.errors import ConfigError, ImageError, MissingExtra
from photoglue.matchers.nearest import NearestNeighbor

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)
pytest.importorskip("pycolmap", exc_type=ImportError)


def mapped(folder, out="out", **options):
    progress = options.pop("progress", None)
    made = {"extractor": Told(), "matcher": NearestNeighbor(0.8)}
    return sfm.map_photos(folder / "photos", folder / out, sfm.MapOptions(**options), progress=progress, **made)


def content(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("sparse/*/*.bin"))}


@pytest.mark.slow
def test_one_call(tmp_path):
    write(tmp_path / "photos", 0, 1, 2, 3, PLACES * EMPTY)
    told = []
    summary = mapped(tmp_path, progress=lambda *state: told.append(state))
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "database.db", "features.h5", "matches.h5", "pairs.txt", "report.html", "run.json", "sparse", "verified.h5",
    ]  # fmt: skip
    assert summary.model.placed == ("000.png", "001.png", "002.png", "003.png")
    assert position_error(summary.model.path) < 0.05
    assert summary.unplaced.keys() == {"056.png"}
    assert summary.unplaced["056.png"].startswith("no verified pair: of 4 pairs")
    assert summary.lines()[0] == "1 camera, 0 with a known focal length"
    assert summary.lines()[1].startswith("4 of 5 photos placed, ")
    assert list(summary.cpu_seconds) == list(summary.seconds)
    assert list(summary.seconds) == ["extract", "pairs", "match", "verify", "database", "map", "deliver"]
    assert next(row for row in summary.pairs if row.good and row.name0 == "000.png").inliers > 60
    assert (out / "pairs.txt").read_text().splitlines()[0] == "000.png 001.png"
    assert {stage for stage, *_ in told} == {"extract", "match", "verify", "map"}
    assert ("match", 10, 10) in told
    assert told[-1] == ("map", 4, 4)
    page = (out / "report.html").read_text()
    assert "no verified pair: of 4 pairs" in page
    assert "056.png" in page
    before = content(out)
    again = mapped(tmp_path)
    assert content(out) == before
    assert again.unplaced == summary.unplaced
    assert "5 photos were there already" in again.notes


@pytest.mark.slow
def test_a_photo_added_replaced_or_removed(tmp_path):
    photos = write(tmp_path / "photos", 0, 1, 2, 3)
    mapped(tmp_path)
    write(photos, 4)
    summary = mapped(tmp_path)
    assert len(summary.model.placed) == 5
    assert "1 photo added since the last run: 004.png" in summary.notes
    assert any(line.startswith("4 pairs, ") for line in summary.notes)
    assert "6 pairs were there already" in summary.notes
    write(tmp_path / "other", 5).joinpath("005.png").replace(photos / "000.png")
    summary = mapped(tmp_path)
    assert {"1 photo replaced since: extracted again", "6 pairs were there already"} <= set(summary.notes)
    assert "4 checked pairs whose matches changed since: checked again" in summary.notes
    (photos / "000.png").unlink()
    summary = mapped(tmp_path)
    assert summary.model.placed == ("001.png", "002.png", "003.png", "004.png")
    assert "1 photo removed since the last run: 000.png" in summary.notes
    fresh = mapped(tmp_path, "fresh")
    assert content(tmp_path / "out") == content(tmp_path / "fresh")
    assert len(fresh.pairs) == len(summary.pairs) == 6


@pytest.mark.slow
def test_a_model_is_extended_with_new_photos(tmp_path):
    photos = write(tmp_path / "photos", 0, 1, 2, 3)
    mapped(tmp_path)
    write(photos, 4)
    told = []
    summary = mapped(tmp_path, extend=True, progress=lambda *state: told.append(state))
    assert len(summary.model.placed) == 5
    assert [state for state in told if state[0] == "map"] == [("map", 4, 5), ("map", 5, 5)]
    write(tmp_path / "other", 6).joinpath("006.png").replace(photos / "001.png")
    (photos / "000.png").unlink()
    before = content(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"removed or replaced since.*: 000\.png, 001\.png\. Leave out --extend"):
        mapped(tmp_path, extend=True)
    assert content(tmp_path / "out") == before


@pytest.mark.slow
def test_cut_off_photos_and_turned_ones_among_others(tmp_path):
    photos = write(tmp_path / "photos", 0, 1, 2, 3, 4, exif={1: {0x0112: 6}, 2: {0x0112: 3}})
    PIL.Image.new("RGB", (300, 200)).save(photos / "cut.jpg")
    (photos / "cut.jpg").write_bytes((photos / "cut.jpg").read_bytes()[:900])
    summary = mapped(tmp_path)
    assert len(summary.model.placed) == 5
    assert position_error(summary.model.path) < 0.05
    assert summary.unplaced["cut.jpg"].startswith("unreadable: ")
    assert len(summary.cameras.cameras) == 2


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((0,), "alone: there is no other photo, and a model needs two"),
        ((0, PLACES), "no verified pair: of 1 pair"),
        ((PLACES * TURNING, PLACES * TURNING + 1, PLACES * TURNING + 2), "no parallax: the camera only turned"),
    ],
)
def test_nothing_can_be_placed(tmp_path, numbers, reason):
    write(tmp_path / "photos", *numbers)
    summary = mapped(tmp_path)
    assert summary.models == ()
    assert summary.model is None
    assert len(summary.unplaced) == len(numbers)
    assert all(why.startswith(reason) for why in summary.unplaced.values())
    assert summary.lines()[-1] == f"0 of {len(numbers)} photos placed"


@pytest.mark.slow
def test_two_photos_are_a_model_if_they_are_far_enough_apart(tmp_path):
    write(tmp_path / "photos", 1, 4)
    assert len(mapped(tmp_path, cameras=sfm.CameraOptions(intrinsics="280")).model.placed) == 2


def test_the_same_photo_many_times(tmp_path):
    photos = write(tmp_path / "photos", 0)
    for name in ("a.png", "b.png", "c.png"):
        (photos / name).write_bytes((photos / "000.png").read_bytes())
    summary = mapped(tmp_path)
    assert summary.models == ()
    assert all(why.startswith("no parallax") for why in summary.unplaced.values())


@pytest.mark.slow
def test_two_places(tmp_path):
    write(tmp_path / "photos", 0, 1, 2, 3, *range(PLACES, PLACES + 5))
    summary = mapped(tmp_path)
    assert [len(model.placed) for model in summary.models] == [5, 4]
    assert set(summary.unplaced.values()) == {"in another model: sparse/1, of 4 photos"}


def test_no_mapper_stops_at_the_database(tmp_path):
    write(tmp_path / "photos", 0, 1)
    (tmp_path / "pairs.txt").write_text("001.png 000.png\n000.png absent.png\n")
    summary = mapped(tmp_path, mapper=None, pairs=tmp_path / "pairs.txt")
    assert (summary.models, summary.unplaced) == ((), {})
    assert summary.notes[0] == "pairs.txt names photos that are not there, in 1 of its 2 pairs: absent.png"
    assert (tmp_path / "out" / "database.db").exists()
    assert (tmp_path / "out" / "pairs.txt").read_text() == "001.png 000.png\n"


def test_cameras_that_make_no_sense_are_refused_before_the_work(tmp_path):
    write(tmp_path / "photos", 0, 1)
    with pytest.raises(ConfigError, match="not a list of numbers"):
        mapped(tmp_path, cameras=sfm.CameraOptions(intrinsics="280,x"))
    assert not (tmp_path / "out" / "features.h5").exists()


def test_look_alikes_are_dropped_if_that_is_wanted(tmp_path, monkeypatch):
    from photoglue.sfm import map as room

    write(tmp_path / "photos", 0, 1, 2)
    found = sfm.Contradicted(name0="000.png", name1="002.png", against=3, for_it=0)
    monkeypatch.setattr(room, "contradicted_pairs", lambda pairs, *_: (found,) if len(pairs) == 3 else ())
    summary = mapped(tmp_path, mapper=None, check_loops=True)
    assert [row.kind for row in summary.pairs] == ["uncalibrated", "look-alike", "uncalibrated"]
    assert "1 pair of look-alikes dropped" in summary.notes
    assert "000.png and 002.png (3 triangles of photos against it, 0 for it)" in summary.notes
    with closing(sqlite3.connect(tmp_path / "out" / "database.db")) as base:
        assert base.execute("SELECT count(*) FROM two_view_geometries").fetchone() == (2,)


@pytest.mark.slow
def test_best_refines_and_plain_photos_have_nothing_to_refine(tmp_path):
    write(tmp_path / "photos", 0, 1, 2)
    told = []
    best = mapped(tmp_path, "best", preset="best", progress=lambda *state: told.append(state))
    mapped(tmp_path, "default")
    assert "refine" in best.seconds
    assert ("refine", 3, 3) in told
    assert content(tmp_path / "best") == content(tmp_path / "default") != {}


def test_nothing_to_extend(tmp_path):
    write(tmp_path / "photos", 0, 1)
    with pytest.raises(ConfigError, match=r"no model .* to extend"):
        mapped(tmp_path, extend=True)


def test_no_photos(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match="no photos"):
        mapped(tmp_path)
    with pytest.raises(ImageError, match="absent"):
        sfm.map_photos(tmp_path / "absent", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_packages_are_named_before_the_work(tmp_path, monkeypatch):
    write(tmp_path / "photos", 0)
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(MissingExtra, match=r"photoglue\[sfm\]"):
        mapped(tmp_path)
    assert not (tmp_path / "out").exists()
    assert mapped(tmp_path, mapper=None).models == ()


PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from test_map import mapped
print("ready", flush=True)
mapped(Path(sys.argv[3]))
"""


@pytest.mark.rare
def test_killed_at_any_moment_it_comes_to_the_same_model(tmp_path):
    write(tmp_path / "photos", 0, 1, 2, 3, 4, 5)
    mapped(tmp_path, "whole")
    here = Path(__file__).parent
    arguments = [sys.executable, "-c", PROGRAM, str(here), str(here.parent / "helpers"), str(tmp_path)]
    for seconds in (0.15, 0.45, 0.7):
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
    summary = mapped(tmp_path)
    assert len(summary.model.placed) == 6
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert list((tmp_path / "out").glob("*.partial*")) == []


@pytest.mark.weights
@pytest.mark.slow
def test_the_preset_of_keyframes_is_that_of_the_tracker():
    from photoglue.matchers.lightglue import LightGlueConfig
    from photoglue.sfm.matching import matcher_of
    from photoglue.sfm.options import MapOptions

    matcher = matcher_of(MapOptions(preset="realtime"), "aliked-n16", "cpu")
    assert matcher.config == LightGlueConfig.realtime()
