"""Trackers by name: each follows a picture that moves."""

import numpy as np
import pytest
from moving_picture import STEP, frames, models

from photoglue.errors import ConfigError

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)


@pytest.fixture
def small(monkeypatch):
    """SIFT instead of ALIKED and LightGlue."""
    from photoglue.evaluation.tracking import methods
    from photoglue.pipeline import Pipeline

    monkeypatch.setattr(methods, "_pipeline", lambda device: Pipeline(*models()))


@pytest.mark.parametrize("name", ["tracker", "tracker:4", "klt", "orb", "aliked+lightglue"])
def test_tracks_move_with_the_picture(name, small):
    from photoglue.evaluation.tracking.methods import method_named
    from photoglue.video import Frame

    method = method_named(name, 30.0, "cpu")
    seen = []
    for number, image in enumerate(frames(9)):
        seen.append(method.step(Frame(number=number, timestamp=number / 30, image=image, name="")))
    method.close()
    _, rows0, rows1 = np.intersect1d(seen[0][0], seen[8][0], return_indices=True)
    assert len(rows0) > 10
    moved = seen[8][1][rows1] - seen[0][1][rows0]
    assert np.abs(np.median(moved, axis=0) + 8 * STEP).max() < 0.5
    assert all(len(np.unique(ids)) == len(ids) == len(points) for ids, points in seen)
    assert (method.keyframes() > 0) == name.startswith("tracker")
    assert (method.other_seconds() > 0) == name.startswith("tracker")


def test_frames_without_a_point():
    from photoglue.evaluation.tracking.methods import method_named
    from photoglue.video import Frame

    for name in ("klt", "orb"):
        method = method_named(name, 30.0)
        black = Frame(number=0, timestamp=0.0, image=np.zeros((120, 160, 3), dtype=np.uint8), name="")
        assert [len(method.step(black)[0]) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("name", ["sift", "tracker:", "tracker:x"])
def test_unknown(name):
    from photoglue.evaluation.tracking.methods import method_named

    with pytest.raises(ConfigError, match="is no method of tracking"):
        method_named(name, 30.0)
