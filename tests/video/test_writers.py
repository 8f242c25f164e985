"""The file of tracks: what is written is read."""

import numpy as np
import pytest
from moving_picture import SIZE, frames, models

from photoglue.errors import OutputError

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)


def tracked(path, images, *, stereo=False):
    from photoglue.video import Tracker, TrackerConfig, TrackWriter

    writer = TrackWriter(path, {"source": "here"})
    results = []
    with Tracker(*models(), TrackerConfig(lag=2, keyframe_every=5, spacing_px=20.0)) as tracker:
        for image in images:
            results.append(tracker.push_stereo(image, image) if stereo else tracker.push(image))
            writer.add(results[-1], SIZE)
            if results[-1].finished is not None:
                writer.add_keyframe(results[-1].finished)
    assert not path.exists()
    writer.close()
    writer.close()
    return results


def test_written_and_read(tmp_path):
    from photoglue.video import read_tracks

    results = tracked(tmp_path / "t.h5", frames(14))
    tracks = read_tracks(tmp_path / "t.h5")
    assert tracks.about == {"source": "here"}
    assert tracks.numbers.tolist() == list(range(14))
    assert np.flatnonzero(tracks.keyframes).tolist() == [result.frame for result in results if result.keyframe]
    assert tracks.reasons[0] == "first"
    assert tracks.right_points is None
    rows = tracks.frames == 3
    assert tracks.ids[rows].tolist() == sorted(results[3].ids.tolist())
    track = int(results[3].ids[5])
    assert (tracks.of(track)[:4, 0] == [0, 1, 2, 3]).all()
    assert (tracks.of(track)[3, 1:] == results[3].points[5]).all()
    pairs = list(zip(tracks.ids.tolist(), tracks.frames.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))  # one position of a track in a frame
    late = next(result.finished for result in results[1:] if result.finished is not None)
    found = np.setdiff1d(late.ids[late.ids >= 0], results[late.frame].ids)
    assert len(found)
    assert np.isin(found, tracks.ids[(tracks.frames == late.frame) & (tracks.sources == 1)]).all()
    points0, points1 = tracks.shared(2, 6)
    assert len(points0) == len(points1) > 20


def test_stereo_has_two_columns_more(tmp_path):
    from photoglue.video import read_tracks

    tracked(tmp_path / "t.h5", frames(8), stereo=True)
    tracks = read_tracks(tmp_path / "t.h5")
    known = np.isfinite(tracks.right_points).all(axis=1)
    assert known.mean() > 0.5
    assert np.abs(tracks.right_points - tracks.points)[known].max() < 1


def test_nothing_tracked(tmp_path):
    from photoglue.video import TrackWriter, read_tracks

    TrackWriter(tmp_path / "t.h5").close()
    assert len(read_tracks(tmp_path / "t.h5").ids) == 0


def test_what_is_no_file_of_tracks(tmp_path):
    import h5py

    from photoglue.video import TrackWriter, read_tracks

    (tmp_path / "text.h5").write_text("hello")
    h5py.File(tmp_path / "other.h5", "w").close()
    for name in ("none.h5", "text.h5", "other.h5"):
        with pytest.raises(OutputError, match="no tracks that can be read"):
            read_tracks(tmp_path / name)
    with pytest.raises(OutputError, match="cannot be written"):
        TrackWriter(tmp_path / "none" / "t.h5")
