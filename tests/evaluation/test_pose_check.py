"""Poses that matches contradict are told of, right ones and doubtful matches are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from photoglue.datasets.base import DataSet, EvaluationPair
from photoglue.datasets.truths import Apart, Posed
from photoglue.evaluation.pose_check import pose_warning
from photoglue.geometry.camera import PinholeCamera

CAMERA = PinholeCamera(fx=500.0, fy=500.0, cx=320.0, cy=240.0, image_size=(640, 480))
WRONG = {"num_matches": 100.0, "num_inliers": 95.0, "epipolar_precision_1e-3": 0.007, "pose_error_deg": 40.0}


@pytest.fixture
def dataset(make):
    """Two photos whose given pose is the inverse of the right one."""
    truth = Posed(camera0=CAMERA, camera1=CAMERA, cam1_from_cam0=np.linalg.inv(make.pose(degrees=20.0)))
    pair = EvaluationPair(scene="s", name0="0", name1="1", truth=truth)
    return DataSet(name="d", benchmark="relative_pose", folder=Path(), pairs=(pair,) * 20, sizes={}, image_set="20")


@pytest.fixture
def matches(make):
    generator = np.random.default_rng(1)
    points = np.concatenate([generator.uniform(-2, 2, (60, 2)), generator.uniform(4, 9, (60, 1))], axis=1)
    pose = make.pose(degrees=20.0)
    seen = [points, points @ pose[:3, :3].T + pose[:3, 3]]
    return make.matches(*(each[:, :2] / each[:, 2:] * 500 + [320, 240] for each in seen))


def test_inverted_poses_are_told_of_and_named(dataset, matches):
    asked = []

    def matches_of(pairs):
        asked.append(len(pairs))
        return [matches] * len(pairs)

    told = pose_warning(dataset, dict.fromkeys(range(20), WRONG), matches_of)
    assert told == (
        "The matches contradict the given poses: 1900 of 2000 matches are inliers of an estimated model, but only "
        "0.7 % agree with the poses. They fit when read as inverted (camera-to-world); world-to-camera with x right, "
        "y down and z forward is wanted."
    )
    assert asked == [7]


def test_if_no_convention_fits_it_asks(dataset, make):
    generator = np.random.default_rng(1)
    noise = make.matches(generator.uniform(0, 400, (60, 2)), generator.uniform(0, 400, (60, 2)))
    told = pose_warning(dataset, {0: WRONG}, lambda pairs: [noise for _ in pairs])
    assert told.endswith(
        "Are they inverted (camera-to-world), or with OpenGL axes, or is K that of an image of another size?"
    )


@pytest.mark.parametrize(
    "right",
    [
        {"epipolar_precision_1e-3": 0.6},
        {"num_inliers": 40.0},
        {"num_matches": 15.0, "num_inliers": 15.0},
    ],
)
def test_nothing_is_said_against_poses_without_a_clear_contradiction(dataset, right):
    assert pose_warning(dataset, {0: WRONG | right}, lambda pairs: pytest.fail(str(pairs))) is None


def test_right_but_inaccurate_poses_are_not_told_of(dataset, matches, make):
    right = replace(dataset.pairs[0].truth, cam1_from_cam0=make.pose(degrees=20.5))
    right = replace(dataset, pairs=(replace(dataset.pairs[0], truth=right),))
    measured = WRONG | {"epipolar_precision_1e-3": 0.2, "pose_error_deg": 2.0}
    assert pose_warning(right, {0: measured}, lambda pairs: [matches for _ in pairs]) is None
    small = pose_warning(dataset, {0: measured}, lambda pairs: [matches for _ in pairs])
    assert "They fit when read as inverted" in small


def test_only_poses_are_checked(dataset):
    pair = replace(dataset.pairs[0], truth=Apart())
    assert pose_warning(replace(dataset, pairs=(pair,)), {0: WRONG}, lambda pairs: pytest.fail(str(pairs))) is None
