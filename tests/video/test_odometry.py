"""Odometry on points whose places are known."""

import numpy as np
import pytest

pytest.importorskip("poselib", exc_type=ImportError)
SIZE = 640, 480


def camera():
    from photoglue.geometry.camera import PinholeCamera

    return PinholeCamera.parse("500", SIZE)


def true_pose(number):
    angle = 0.01 * number
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    pose[:3, 3] = [-0.06 * number, 0.01 * number, 0.02 * number]
    return pose


def results(count, *, noise=0.0, seed=0):
    """What a tracker would say of random points before a camera that moves."""
    from photoglue.video import FrameResult

    random = np.random.default_rng(seed)
    places = random.uniform([-6, -3, 4], [8, 3, 12], size=(600, 3))
    found = []
    for number in range(count):
        pose = true_pose(number)
        seen = places @ pose[:3, :3].T + pose[:3, 3]
        pixels = seen[:, :2] / seen[:, 2:] * 500 + (np.array(SIZE) - 1) / 2
        pixels += random.normal(scale=noise, size=pixels.shape)
        rows = np.flatnonzero(((pixels >= 0) & (pixels < SIZE)).all(axis=1))
        ones = np.ones(len(rows), dtype=np.float32)
        found.append(
            FrameResult(
                frame=number, timestamp=number / 30, ids=rows, points=pixels[rows].astype(np.float32),
                ages=rows * 0 + number, scores=ones, sources=ones.astype(np.uint8), state="tracking", keyframe=False,
                reason=None, finished=None,
            )
        )  # fmt: skip
    return found


def test_the_way_is_found_up_to_its_scale():
    from photoglue.video import Odometry

    odometry = Odometry(camera())
    poses = [pose for result in results(40, noise=0.2) for pose in odometry.add(result)]
    assert [pose.frame for pose in poses] == list(range(40))
    centres = np.array([np.linalg.inv(pose.cam_from_world)[:3, 3] for pose in poses])
    true = np.array([np.linalg.inv(true_pose(number))[:3, 3] for number in range(40)])
    scale = np.linalg.norm(true[-1]) / np.linalg.norm(centres[-1])
    assert np.abs(centres * scale - true).max() < 0.05 * np.linalg.norm(true[-1])
    turn = poses[-1].cam_from_world[:3, :3].T @ true_pose(39)[:3, :3]
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) < 0.5


def test_a_camera_that_only_turns_or_stands_begins_no_map():
    from dataclasses import replace

    from photoglue.video import Odometry

    odometry = Odometry(camera())
    first = results(1)[0]
    assert not any(odometry.add(replace(first, frame=number)) for number in range(5))


def test_frames_without_known_tracks_have_no_pose():
    from dataclasses import replace

    from photoglue.video import Odometry

    odometry = Odometry(camera())
    all_results = results(30)
    poses = [pose for result in all_results[:29] for pose in odometry.add(result)]
    assert len(poses) == 29
    assert odometry.add(replace(all_results[29], ids=all_results[29].ids + 5000)) == []


def test_trajectory_as_tum(tmp_path):
    from photoglue.video import CameraPose, write_trajectory

    pose = np.eye(4)
    pose[:3, :3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    pose[:3, 3] = [1, 2, 3]
    write_trajectory([CameraPose(frame=3, timestamp=0.1, cam_from_world=pose)], tmp_path / "t.txt")
    comment, line = (tmp_path / "t.txt").read_text().splitlines()
    assert comment.startswith("# timestamp tx ty tz qx qy qz qw")
    expected = [0.1, 2, -1, -3, 0, 0, np.sqrt(0.5), np.sqrt(0.5)]
    assert [float(word) for word in line.split()] == pytest.approx(expected)
