"""The tracker on a picture whose motion is known."""

import numpy as np
import pytest
from moving_picture import SIZE, STEP, black, frames, models

from photoglue.errors import ShapeError

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)


def track(images, *, camera=None, pushed=(), **options):
    """All results, and the tracker."""
    from photoglue.video import Tracker, TrackerConfig

    options = {"lag": 2, "keyframe_every": 8, "spacing_px": 20.0, **options}
    with Tracker(*models(), TrackerConfig(**options), camera=camera) as tracker:
        return [tracker.push(image, **dict(pushed)) for image in images], tracker


def drift(results, first=0):
    """How far each track of the last frame is from where it must be, pixels, by its first position."""
    seen = {}
    errors = []
    for result in results:
        for track, point in zip(result.ids.tolist(), result.points, strict=True):
            start = seen.setdefault(track, (result.frame, point))
            errors.append(np.linalg.norm(point - start[1] + STEP * (result.frame - start[0])))
    return np.array(errors)


def test_tracks_move_with_the_picture_and_keep_their_numbers():
    results, tracker = track(frames(20))
    assert [result.frame for result in results] == list(range(20))
    assert [result.keyframe for result in results[:3]] == [True, False, False]
    assert results[0].reason == "first"
    assert len(results[0]) > 30
    assert all(len(np.unique(result.ids)) == len(result) for result in results)
    assert np.median(drift(results)) < 0.5
    assert np.quantile(drift(results), 0.95) < 1.5
    last = results[-1]
    assert ((last.points >= 0) & (last.points <= np.array(SIZE) - 1)).all()
    old = last.ids < len(results[0].ids)
    assert (last.ages[old] == 19).all()
    assert ((last.scores >= 0) & (last.scores <= 1)).all()
    assert tracker.counts.frames == 20


def test_keyframes_come_at_intervals_and_are_taken_over_later():
    results, tracker = track(frames(20), keyframe_share=0.0)
    assert [result.frame for result in results if result.keyframe] == [0, 8, 16]
    finished = {result.frame: result.finished for result in results if result.finished is not None}
    assert list(finished) == [0, 10, 18]
    keyframe = finished[10]
    assert (keyframe.frame, keyframe.reason, keyframe.links[0].frame) == (8, "interval", 0)
    assert int(keyframe.links[0].inliers.sum()) > 20
    assert keyframe.new > 0
    new = np.setdiff1d(results[10].ids, results[9].ids)
    rows = np.isin(results[10].ids, new)
    assert (results[10].sources[rows] == 1).all()
    assert (results[11].sources == 0).all()
    positions = dict(zip(keyframe.ids.tolist(), keyframe.features.keypoints.numpy(), strict=True))
    moved = [positions[track] - point for track, point in zip(new.tolist(), results[10].points[rows], strict=True)]
    assert np.abs(np.median(moved, axis=0) - 2 * STEP).max() < 0.2  # brought from frame 8 to frame 10
    assert tracker.counts.keyframes == 3


@pytest.mark.slow
def test_the_same_video_gives_the_same_tracks():
    first, second = (track(frames(14))[0] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one.ids == other.ids).all()
        assert (one.points == other.points).all()


def test_in_real_time_nothing_is_waited_for():
    from photoglue.video import Tracker, TrackerConfig

    with Tracker(*models(), TrackerConfig(lag=None, keyframe_every=5)) as tracker:
        results = [tracker.push(image) for image in frames(3)]
        assert tracker.counts.seconds["wait"] < 0.05
        last = tracker.finish() or next(result.finished for result in results if result.finished)
        assert last.frame == 0
        assert len(tracker.push(frames(4)[3])) > 30
        assert tracker.finish() is None


def test_a_still_camera_needs_no_more_keyframes():
    _, tracker = track(frames(1) * 20)
    assert tracker.counts.keyframes == 1


def test_black_frames_and_back():
    images = frames(30)
    results, tracker = track([*images[:10], *black(5), *images[15:20]])
    assert [result.state for result in results[10:15]] == ["lost"] * 5
    assert all(len(result) == 0 for result in results[10:15])
    back = results[15]
    assert (back.state, back.reason) == ("tracking", "lost")
    shared = np.intersect1d(results[9].ids, back.ids)
    assert len(shared) > 15
    assert back.finished.refound >= len(shared)
    assert np.quantile(drift(results), 0.95) < 1.5
    assert tracker.counts.lost == 1


@pytest.mark.slow
def test_a_cut_to_an_earlier_view_takes_up_its_tracks():
    results, _ = track([*frames(12), *frames(3, seed=7), *frames(3, start=2)])
    there, back = results[12], results[15]
    assert len(np.intersect1d(results[11].ids, there.ids)) == 0
    assert len(np.intersect1d(results[2].ids, back.ids)) > 15
    assert len(np.intersect1d(there.ids, back.ids)) == 0


def test_every_keyframe_is_told_also_one_that_ends_in_darkness():
    images = frames(30)
    results, tracker = track(
        [*images[:10], *frames(4, seed=3)], keyframe_share=0.0
    )  # a cut when that of frame 8 is due
    told = [result.finished.frame for result in results if result.finished is not None]
    assert told == [0, 8, 11]
    assert tracker.counts.keyframes == 3
    linked = [link.frame for result in results if result.finished for link in result.finished.links]
    assert set(linked) <= set(told)


def test_frames_of_another_size():
    import cv2

    small = [cv2.resize(image, (120, 90)) for image in frames(3, start=6)]
    results, _ = track([*frames(6), *small])
    assert results[6].reason == "size"
    assert (results[8].points <= [119, 89]).all()


def test_nothing_is_followed_where_a_mask_is_black():
    from photoglue.video import Tracker, TrackerConfig

    mask = np.ones((SIZE[1], SIZE[0]), dtype=bool)
    mask[:, :80] = False
    with Tracker(*models(), TrackerConfig(lag=0)) as tracker:
        results = [tracker.push(image, mask=mask) for image in frames(6)]
        assert all(len(result) > 8 and (result.points[:, 0] > 78).all() for result in results)
        with pytest.raises(ShapeError, match="mask has the shape"):
            tracker.push(frames(1)[0], mask=mask[:50])


def test_stereo_points_are_in_the_right_picture():
    from photoglue.video import Tracker, TrackerConfig

    left, right = frames(6), frames(6, start=3)  # as if the right camera were 3 steps ahead
    with Tracker(*models(), TrackerConfig(lag=0, spacing_px=20.0)) as tracker:
        for one, other in zip(left, right, strict=True):
            result = tracker.push_stereo(one, other)
            found = np.isfinite(result.right_points).all(axis=1)
            assert found.mean() > 0.6
            shift = result.points[found] - result.right_points[found] - 3 * STEP
            assert np.quantile(np.abs(shift), 0.9) < 0.5
        with pytest.raises(ShapeError, match="stereo pair have 160 × 120 and 160 × 60 pixels"):
            tracker.push_stereo(left[0], right[0][:60])


def test_asked_for_numbered_and_timed():
    from photoglue.video import Tracker, TrackerConfig

    images = frames(3)
    with Tracker(*models(), TrackerConfig(lag=1)) as tracker:
        assert tracker.push(images[0], 5.0, number=100).timestamp == 5.0
        result = tracker.push(images[1], keyframe=True)
        assert (result.frame, result.keyframe, result.reason) == (101, True, "asked")
        assert result.timestamp == pytest.approx(5 + 1 / 30)
        assert tracker.push(images[2]).finished.frame == 101


def test_relative_pose_with_a_camera():
    from photoglue.geometry.camera import PinholeCamera

    camera = PinholeCamera.parse("150", SIZE)
    results, _ = track(frames(12), camera=camera, keyframe_share=0.0)
    link = next(result.finished for result in results if result.finished and result.finished.links).links[0]
    assert link.rotation.shape == (3, 3)
    assert float(link.translation.norm()) == pytest.approx(1)


@pytest.mark.slow
def test_memory_does_not_grow():
    from photoglue.video import Tracker, TrackerConfig

    config = TrackerConfig(lag=1, keyframe_every=4, keyframes_kept=6, keyframe_share=0.0)
    images = frames(20)
    walk = [*images, *images[::-1]] * 4
    with Tracker(*models(), config) as tracker:
        for image in walk:
            tracker.push(image)
            assert len(tracker._known) <= 6
        assert tracker.counts.keyframes > 12
