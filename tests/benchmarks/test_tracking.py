"""The benchmark of tracking runs, and says what it measured."""

from pathlib import Path

import pytest
from moving_picture import frames, models, write_video

for package in ("cv2", "h5py", "poselib"):
    pytest.importorskip(package, exc_type=ImportError)


@pytest.mark.rare
def test_memory_and_times(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import tracking

    from photoglue.pipeline import Pipeline

    monkeypatch.setattr(Pipeline, "pretrained", classmethod(lambda cls, *_, **__: cls(*models())))
    video = str(write_video(tmp_path / "a.avi", frames(6)))
    rows = tracking.memory(video, 20, 160)
    assert [row[0] for row in rows] == list(range(2, 21, 2))
    assert all(row[1] > 10 for row in rows)
    found = tracking.timed(video, 1, 100.0)
    assert [name for name, _ in found] == ["real time", "as fast as it can", "and a keyframe every 10"]
    assert all(summary.frames == 6 for _, summary in found)
