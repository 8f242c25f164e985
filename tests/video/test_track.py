"""A whole video in one call, good and bad ones."""

import signal

import numpy as np
import pytest
from moving_picture import black, frames, models, write_folder, write_video

from photoglue.errors import ImageError

for package in ("cv2", "h5py", "poselib"):
    pytest.importorskip(package, exc_type=ImportError)


def track(source, tmp_path=None, *, progress=None, **options):
    from photoglue.video import TrackerConfig, TrackOptions, TrackOutputs, track_video

    outputs = TrackOutputs()
    if tmp_path is not None:
        outputs = TrackOutputs(tracks=tmp_path / "t.h5", overlay=tmp_path / "o.avi", keyframes=tmp_path / "k")
    extractor, matcher = models()
    options = TrackOptions(config=TrackerConfig(keyframe_every=6, spacing_px=20.0), **options)
    return track_video(source, outputs, options, extractor=extractor, matcher=matcher, progress=progress)


@pytest.mark.slow
def test_all_outputs_of_a_video(tmp_path):
    from photoglue.video import open_frames, read_keyframes, read_tracks

    told = []
    video = write_video(tmp_path / "a.avi", frames(16))
    summary = track(
        video, tmp_path, progress=lambda result, counts, fps: told.append((result.frame, counts.frames, fps))
    )
    assert (summary.frames, summary.late, summary.lost, summary.placed, summary.notes) == (16, 0, 0, None, ())
    assert [each[:2] for each in told] == [(number, number + 1) for number in range(16)]
    tracks = read_tracks(tmp_path / "t.h5")
    assert np.allclose(tracks.timestamps, np.arange(16) / 25)
    assert len(np.unique(tracks.ids)) == summary.tracks
    assert len(read_keyframes(tmp_path / "k").keyframes) == summary.keyframes >= 3
    with open_frames(tmp_path / "o.avi") as found:
        assert len(list(found)) == 16
    assert "16 frames in" in summary.lines()[0]
    assert summary.cpu_seconds["all"] > 0
    assert not list(tmp_path.glob("*partial*"))


def test_masks_of_some_frames(tmp_path):
    import cv2

    folder = write_folder(tmp_path / "f", frames(4))
    (tmp_path / "m").mkdir()
    mask = np.zeros((120, 160), dtype=np.uint8)
    mask[:, :70] = 255
    cv2.imwrite(str(tmp_path / "m" / "0000.png"), mask)
    seen = []
    track(folder, masks=tmp_path / "m", progress=lambda result, *_: seen.append(result.points[:, 0].max()))
    assert seen[0] < 72


@pytest.mark.slow
def test_black_frames_sizes_and_gaps_are_told(tmp_path):
    import cv2

    images = [*frames(8), *black(3), *frames(3, start=8), cv2.resize(frames(1, start=11)[0], (80, 60))]
    folder = write_folder(tmp_path / "f", images)
    (folder / "0005.png").unlink()
    summary = track(folder)
    assert (summary.frames, summary.lost) == (14, 2)
    assert summary.refound > 15
    assert "1 numbers are missing" in summary.notes[0]
    assert "2 sizes (80 × 60, 160 × 120)" in summary.notes[1]


@pytest.mark.slow
def test_a_truncated_video_gives_what_is_there(tmp_path):
    path = write_video(tmp_path / "a.avi", frames(20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0 < track(path, tmp_path).frames < 20


def test_only_black_frames(tmp_path):
    from photoglue.video import read_tracks

    summary = track(write_folder(tmp_path / "f", black(5)), tmp_path)
    assert (summary.frames, summary.keyframes, summary.tracks) == (5, 0, 0)
    assert len(read_tracks(tmp_path / "t.h5").numbers) == 5


def test_no_frame_at_all(tmp_path):
    folder = write_folder(tmp_path / "f", frames(1))
    (folder / "0000.png").write_bytes(b"")
    with pytest.raises(ImageError, match="has no frame that can be read"):
        track(folder, tmp_path)
    assert not (tmp_path / "t.h5").exists()


@pytest.mark.slow
def test_real_time_waits_for_frames_and_counts_late_ones(tmp_path, monkeypatch):
    from photoglue.video import track as module

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

        def thread_time(self):
            return 0.0

        process_time = thread_time

    def work(seconds):
        def told(result, counts, fps):
            clock.now += seconds

        return told

    folder = write_folder(tmp_path / "f", frames(6))
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    summary = track(folder, realtime=True, fps=20.0, progress=work(0.04))
    assert (summary.late, summary.seconds) == (0, pytest.approx(5 / 20 + 0.04))
    clock.now = 0.0
    assert track(folder, realtime=True, fps=20.0, progress=work(0.06)).late == 6
    clock.now = 0.0
    summary = track(folder, fps=20.0, max_frames=4, progress=work(0.06))
    assert (summary.frames, summary.late, summary.seconds) == (4, 0, pytest.approx(0.24))


@pytest.mark.slow
def test_ctrl_c_leaves_whole_files(tmp_path):
    from photoglue.video import open_frames, read_keyframes, read_tracks

    def interrupt(result, counts, fps):
        if result.frame == 9:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        track(write_video(tmp_path / "a.avi", frames(16)), tmp_path, progress=interrupt)
    assert read_tracks(tmp_path / "t.h5").numbers.tolist() == list(range(10))
    assert len(read_keyframes(tmp_path / "k").keyframes) == 2
    with open_frames(tmp_path / "o.avi") as found:
        assert len(list(found)) == 10
    assert not list(tmp_path.glob("*partial*"))


def test_a_camera_is_ended_by_ctrl_c_or_by_itself(tmp_path, monkeypatch):
    from photoglue.video import Frame, track
    from photoglue.video.frames import Frames

    class Camera(Frames):
        fps, count, live = 30.0, None, True

        def __init__(self, *_, **__):
            self.notes = []

        def __iter__(self):
            for number, image in enumerate(frames(4)):
                yield Frame(number=number, timestamp=number / 30, image=image, name=f"{number:06d}")
            self.notes.append("gave no more frames")

    monkeypatch.setattr(track, "open_frames", Camera)
    assert globals()["track"](0).notes == ("gave no more frames",)

    def interrupt(result, counts, fps):
        if result.frame == 2:
            signal.raise_signal(signal.SIGINT)

    assert globals()["track"](0, progress=interrupt).frames == 3


@pytest.mark.slow
def test_a_trajectory_of_a_flat_picture_has_a_place_for_most_frames(tmp_path):
    from photoglue.video import TrackOptions, TrackOutputs, track_video

    extractor, matcher = models()
    video = write_video(tmp_path / "a.avi", frames(20))
    outputs, options = TrackOutputs(trajectory=tmp_path / "t.txt"), TrackOptions(intrinsics="150")
    summary = track_video(video, outputs, options, extractor=extractor, matcher=matcher)
    assert summary.placed == len((tmp_path / "t.txt").read_text().splitlines()) - 1
