"""The points that are followed."""

import numpy as np
import pytest
from moving_picture import SIZE, STEP, frames

pytest.importorskip("cv2", exc_type=ImportError)
START = np.array([[60, 50], [90, 70], [120, 40], [70, 90], [100, 100], [40, 30], [130, 80], [50, 70]], dtype=np.float32)


def live(points, first=0):
    from photoglue.video.points import Live

    ids = first + np.arange(len(points))
    return Live(ids=ids, points=points.astype(np.float32), born=np.zeros(len(points), dtype=np.int64))


def followed(count=1, **options):
    """FollowedPoints after so many frames, with those of START in the first."""
    from photoglue.video import TrackerConfig
    from photoglue.video.points import Coming, FollowedPoints

    points = FollowedPoints(TrackerConfig(**options))
    images = frames(count)
    points.advance(images[0], None)
    unknown = np.full((len(START), 2), np.nan, dtype=np.float32)
    points.bring_here(Coming(live=live(START), scores=np.ones(len(START), dtype=np.float32), disparities=unknown), [])
    for image in images[1:]:
        points.advance(image, None)
    return points


@pytest.mark.parametrize("flow_size", [None, 100])
def test_they_move_also_in_smaller_frames(flow_size):
    points = followed(4, flow_size=flow_size)
    assert points.gray.shape == ((120, 160) if flow_size is None else (75, 100))
    assert np.abs(points.live.points - (START[points.live.ids] - 3 * STEP)).max() < 0.5
    assert len(points) >= 6
    assert (points.sources == 0).all()


def test_a_cut_ends_all():
    points = followed(2, min_tracks=8)
    points.advance(frames(1, seed=9)[0], None)
    assert len(points) == 0


def test_points_of_an_earlier_frame_catch_up():
    from photoglue.video import TrackerConfig
    from photoglue.video.points import Behind, Coming, FollowedPoints

    points, behind = FollowedPoints(TrackerConfig()), []
    for image in frames(5):
        points.advance(image, None)
        behind.append(Behind(gray=points.gray, live=points.live))
    unknown = np.full((len(START), 2), np.nan, dtype=np.float32)
    points.bring_here(
        Coming(live=live(START, 7), scores=np.ones(8, dtype=np.float32), disparities=unknown), behind[::2]
    )
    assert np.abs(points.live.points - (START[points.live.ids - 7] - 4 * STEP)).max() < 0.3
    assert (points.sources == 1).all()
    again = Coming(live=live(START[:1] + 20, 7), scores=np.ones(1, dtype=np.float32), disparities=unknown[:1])
    before = len(points)
    points.bring_here(again, [])  # a track that is here already is moved, not doubled
    assert len(points) == before
    assert points.live.points[points.live.ids == 7].tolist() == (START[:1] + 20).tolist()


def test_in_the_right_picture():
    points = followed(1)
    points.disparities[0] = -4 * STEP
    right = points.in_right(frames(5)[4])
    known = np.isfinite(right).all(axis=1)
    assert known[0]
    assert np.abs(right[known] - points.live.points[known] + 4 * STEP).max() < 0.3
    assert np.allclose(points.disparities[known], -4 * STEP, atol=0.3)


def test_masked():
    points = followed(1)
    mask = np.ones(SIZE[::-1], dtype=bool)
    mask[:, 80:] = False
    points.advance(frames(2)[1], mask)
    assert len(points)
    assert (points.live.points[:, 0] < 80).all()
