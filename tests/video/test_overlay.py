"""The video with tracks on it."""

import numpy as np
import pytest
from moving_picture import frames, models

from photoglue.errors import ConfigError, OutputError

pytest.importorskip("cv2", exc_type=ImportError)


@pytest.fixture(scope="module")
def results():
    from photoglue.video import Tracker, TrackerConfig

    with Tracker(*models(), TrackerConfig(lag=0)) as tracker:
        return [tracker.push(image) for image in frames(6)]


def test_frames_are_written_with_trails(tmp_path, results):
    import cv2

    from photoglue.video import OverlayWriter, open_frames

    images = frames(6)
    writer = OverlayWriter(tmp_path / "o.mp4", 25.0)
    for image, result in zip(images, results, strict=True):
        writer.add(image, result, "25 fps")
    writer.add(cv2.resize(images[0], (80, 60)), results[0], "smaller")
    writer.add(images[0][:, :159], results[0], "odd")
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"]
    with open_frames(tmp_path / "o.mp4") as found:
        read = list(found)
    assert len(read) == 8
    assert read[5].image.shape == images[5].shape
    drawn = writer.drawn(images[5], results[5], "25 fps")[:, :, ::-1]
    assert (drawn != images[5]).any(axis=2).mean() > 0.02
    point = results[5].points[10].round().astype(int)
    assert (drawn[point[1], point[0]] != images[5][point[1], point[0]]).any()


def test_no_frame_no_file(tmp_path):
    from photoglue.video import OverlayWriter

    OverlayWriter(tmp_path / "o.mp4", 25.0).close()
    assert not list(tmp_path.iterdir())


def test_without_a_codec_those_that_are_there_are_named(tmp_path, monkeypatch):
    from photoglue.video import OverlayWriter, overlay

    with pytest.raises(ConfigError, match=r"must end in .mp4"):
        OverlayWriter(tmp_path / "o.gif", 25.0)
    with pytest.raises(OutputError, match="does not exist"):
        OverlayWriter(tmp_path / "none" / "o.mp4", 25.0)
    original = overlay._writer

    def only_avi(path, *rest):
        return original(path, *rest) if path.suffix == ".avi" else None

    monkeypatch.setattr(overlay, "_writer", only_avi)
    with pytest.raises(ConfigError, match=r"no codec for .mp4 here. It can write: .avi \(MJPG\)"):
        OverlayWriter(tmp_path / "o.mp4", 25.0)


def test_colours_of_following_numbers_differ():
    from photoglue.video.overlay import _colour

    assert np.abs(np.subtract(_colour(7), _colour(8))).max() > 100
