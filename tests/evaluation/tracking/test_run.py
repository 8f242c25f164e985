"""Tracking measured on a walk past a flat picture, whose poses are known."""

import json
import math

import numpy as np
import pytest
from moving_picture import STEP, frames, models, write_folder

from photoglue.errors import ConfigError

for package in ("cv2", "poselib"):
    pytest.importorskip(package, exc_type=ImportError)


@pytest.fixture
def walk(tmp_path):
    """A camera that moves along a wall at the distance of one focal length: a pixel is 1 / 150."""
    folder = tmp_path / "data" / "walk"
    folder.mkdir(parents=True)
    write_folder(folder / "images", frames(42))
    rows = [
        f"{number / 30:.6f} {' '.join(str(step * number / 150) for step in STEP)} 0 0 0 0 1" for number in range(42)
    ]
    (folder / "trajectory_tum.txt").write_text("\n".join(rows))
    (folder / "intrinsics.txt").write_text("150 150 80 60\n")
    return folder


@pytest.mark.slow
def test_measured(walk, tmp_path, monkeypatch):
    from photoglue.evaluation import measure_tracking
    from photoglue.evaluation.tracking import methods
    from photoglue.evaluation.tracking.run import COLUMNS, row_of
    from photoglue.pipeline import Pipeline

    monkeypatch.setattr(methods, "_pipeline", lambda device: Pipeline(*models()))
    told = []
    out = tmp_path / "out"
    results = measure_tracking([walk.parent], ["tracker", "klt"], out, progress=lambda *words: told.append(words))
    assert [(result.video, result.method) for result in results] == [("walk", "tracker"), ("walk", "klt")]
    assert told[0] == ("walk: tracker", 1, 42)
    for result in results:
        score = result.score
        assert score.frames == 42
        assert score.near["10"] > 0.98
        assert 0.3 < score.alive["10"] <= 1
        assert score.alive["30"] < score.alive["10"]
        assert math.isnan(score.near["60"])
        assert score.rotation_deg < 30
        assert score.cpu_ms > 0
        assert len(row_of(result)) == len(COLUMNS)
    ours, flow = (result.score for result in results)
    assert (ours.after_gap, ours.after_cut, flow.after_gap, flow.after_cut) == (1, 1, math.inf, math.inf)
    assert (ours.keyframes > 0, flow.keyframes) == (True, 0)
    assert ours.fps_two > ours.fps_one
    again = measure_tracking([walk], ["orb"], out)
    assert {each["method"] for each in json.loads((out / "tracking.json").read_text())["results"]} == {
        "tracker", "klt", "orb",
    }  # fmt: skip
    assert (out / "tracking.md").read_text().count("\n") == 5
    assert again[0].method == "orb"


def test_refused(walk, tmp_path):
    from photoglue.evaluation import measure_tracking

    with pytest.raises(ConfigError, match="no method of tracking"):
        measure_tracking([walk], ["sift"], tmp_path / "out")
    with pytest.raises(ConfigError, match="holds no video with a known path"):
        measure_tracking([tmp_path / "data" / "walk" / "images"], ["klt"], tmp_path / "out")


def test_no_common_tracks_is_a_failure(walk):
    from photoglue.evaluation.tracking.run import _mean, _near, _pose_errors
    from photoglue.evaluation.tracking.walks import read_walk

    read, none = read_walk(walk), np.zeros((0, 2), dtype=np.float32)
    assert _pose_errors(read, 0, 1, none, none, 0) == (math.inf, math.inf)
    assert math.isnan(_near(read, 0, 1, none, none))
    assert _mean([1.0, math.nan, 3.0]) == 2
    assert math.isnan(_mean([]))
