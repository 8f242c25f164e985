import math

import numpy as np
import pytest
import torch

from photoglue import Matches
from photoglue.datasets.truths import Planar
from photoglue.evaluation.benchmarks.base import MatchedPair
from photoglue.evaluation.benchmarks.planar import Homography

MATRIX = np.array([[1.1, 0.1, 3], [-0.05, 0.9, 2], [1e-4, -2e-4, 1]])


def warped(points, matrix=MATRIX):
    there = np.c_[points, np.ones(len(points))] @ matrix.T
    return there[:, :2] / there[:, 2:]


def grid():
    return np.stack(np.meshgrid(np.arange(10, 200, 30.0), np.arange(10, 150, 30.0)), axis=-1).reshape(-1, 2)


def pair_of(matches, matrix=MATRIX):
    truth = Planar(image1_from_image0=matrix)
    return MatchedPair(truth=truth, matches=matches, size0=(200, 150), size1=(200, 150))


@pytest.mark.parametrize("estimator", ["poselib", "opencv"])
def test_perfect_matches(make, estimator):
    pair = pair_of(make.matches(grid(), warped(grid())))
    values = Homography().measure(pair) | Homography().estimate(pair, estimator, 3.0, 0)
    assert values["dlt_error_px"] < 1e-3
    assert values["homography_error_px"] < 1e-2
    assert values["precision_1px"] == values["recall_1px"] == 1.0


def test_corner_error_of_a_known_shift(make):
    """The truth moves everything 2 px further to the right than the matches do."""
    pair = pair_of(make.matches(grid(), grid()), np.array([[1.0, 0, 2], [0, 1, 0], [0, 0, 1]]))
    values = Homography().measure(pair) | Homography().estimate(pair, "poselib", 1.0, 0)
    assert values["dlt_error_px"] == pytest.approx(2, abs=1e-4)
    assert values["homography_error_px"] == pytest.approx(2, abs=1e-3)
    assert values["precision_1px"] == 0
    assert values["precision_3px"] == 1


def test_scores_weigh_the_dlt(make):
    """Half of the matches are wrong and have no score."""
    points1 = warped(grid())
    points1[::2] += 40
    scores = np.ones(len(points1))
    scores[::2] = 0
    assert Homography().measure(pair_of(make.matches(grid(), points1, scores)))["dlt_error_px"] < 1e-3
    assert Homography().measure(pair_of(make.matches(grid(), points1)))["dlt_error_px"] > 10


def test_precision_uses_both_images(make):
    """Under a tenfold magnification 4 px in image 1 are 0.4 px in image 0: 2.2 on average."""
    matrix = np.diag([10.0, 10.0, 1.0])
    pair = pair_of(make.matches(grid(), warped(grid(), matrix) + np.array([4, 0])), matrix)
    values = Homography().measure(pair)
    assert (values["precision_1px"], values["precision_3px"]) == (0, 1)


def test_recall_by_hand():
    """Image 0 has four points, three have a partner, of these one is found, one is matched wrongly, one not at all."""
    keypoints0 = torch.tensor([[10.0, 10], [50, 50], [90, 90], [130, 20]])
    keypoints1 = torch.tensor([[10.0, 10.5], [50, 52.0], [90, 90], [10, 140]])
    matches0, matches1 = torch.tensor([0, 3, -1, -1]), torch.tensor([0, -1, -1, 1])
    matches = Matches(
        matches0=matches0,
        matches1=matches1,
        matching_scores0=(matches0 >= 0).float(),
        matching_scores1=(matches1 >= 0).float(),
        keypoints0=keypoints0,
        keypoints1=keypoints1,
    )
    values = Homography().measure(pair_of(matches, np.eye(3)))
    assert values["recall_1px"] == 1 / 2
    assert values["recall_3px"] == values["recall_5px"] == pytest.approx(1 / 3)
    assert values["precision_1px"] == 1 / 2


def test_points_behind_the_camera_are_wrong(make):
    """Plain division would bring them into the image."""
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]])  # the horizon is at x = 100
    points0 = np.array([[150.0, 50]])
    values = Homography().measure(pair_of(make.matches(points0, warped(points0, matrix)), matrix))
    assert values["precision_5px"] == 0


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_matches_are_failures(make, count):
    pair = pair_of(make.matches(grid()[:count], warped(grid()[:count])))
    values = Homography().measure(pair) | Homography().estimate(pair, "poselib", 1.0, 0)
    assert values["homography_error_px"] == values["dlt_error_px"] == math.inf
    assert values["precision_3px"] == (1.0 if count else 0.0)
    summary = Homography().summary([values])
    assert summary["AUC@5"] == summary["AUC_DLT@5"] == 0
    assert ("recall@3px" in summary) == bool(count)  # without keypoints there was nothing to be found


def test_groups_of_hpatches():
    groups = [Homography().group_of(scene) for scene in ("i_dc", "v_wall", "graf")]
    assert groups == ["illumination (i_*)", "viewpoint (v_*)", None]
