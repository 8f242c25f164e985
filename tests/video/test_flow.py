"""Points followed by optical flow."""

import numpy as np
import pytest
from moving_picture import STEP, frames

pytest.importorskip("cv2", exc_type=ImportError)
POINTS = np.array([[50, 40], [80, 60], [100.5, 30.25], [40, 90]], dtype=np.float32)


def gray(images):
    return [image.mean(axis=2).astype(np.uint8) for image in images]


def test_points_move_with_the_picture():
    from photoglue.video.flow import follow

    first, second = gray(frames(2))
    found = follow(first, second, POINTS)
    assert found.found.all()
    assert np.abs(found.points - (POINTS - STEP)).max() < 0.1
    assert found.errors.max() < 0.1


def test_guesses_reach_farther():
    from photoglue.video.flow import follow

    first, _, *_, last = gray(frames(26))
    far = np.array([[100.5, 60.25]], dtype=np.float32)
    found = follow(first, last, far, (far - 25 * STEP + 1).astype(np.float32), levels=1)
    assert found.found.all()
    assert np.abs(found.points - (far - 25 * STEP)).max() < 0.1
    assert not follow(first, last, far, levels=1).found.any()


def test_what_leaves_the_frame_or_shows_something_else_is_not_found():
    from photoglue.video.flow import follow

    first, second = gray(frames(2))
    edge = np.array([[1.0, 0.2]], dtype=np.float32)
    assert not follow(first, second, edge).found.any()
    other = gray(frames(1, seed=5))[0]
    assert not follow(first, other, POINTS).found.all()
    assert len(follow(first, second, POINTS[:0]).points) == 0


def test_guesses_follow_the_neighbours():
    from photoglue.video.flow import interpolated

    known = np.array([[0, 0], [10, 0], [0, 10], [10, 10], [100, 100]], dtype=np.float32)
    moved = known + np.array([[3, 1], [3, 1], [3, 1], [50, 1], [9, 9]])
    assert interpolated(POINTS[:1] * 0, known, moved.astype(np.float32)).tolist() == [[3, 1]]
    assert (interpolated(POINTS, known[:3], known[:3] + 5) == POINTS).all()  # too few
