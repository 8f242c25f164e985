import math

import numpy as np
import pytest

from photoglue.datasets.truths import Marked
from photoglue.evaluation.benchmarks.base import MatchedPair
from photoglue.evaluation.benchmarks.correspondences import Correspondences


def rectified(make, shift=0.0, count=60):
    """Cameras side by side: a point keeps its row. The marks are off by ``shift`` rows."""
    random = np.random.default_rng(0)
    depth = random.uniform(2, 9, count)
    points0 = np.c_[random.uniform(100, 500, count), random.uniform(50, 350, count)]
    points1 = points0 - np.c_[200 / depth, np.zeros(count)]
    marks0 = points0[:10]
    truth = Marked(points0=marks0, points1=points1[:10] + np.array([0, shift]))
    return points0, points1, truth


def pair_of(make, points0, points1, truth):
    return MatchedPair(truth=truth, matches=make.matches(points0, points1), size0=(640, 480), size1=(640, 480))


@pytest.mark.parametrize("estimator", ["poselib", "opencv"])
def test_good_matches(make, estimator):
    pair = pair_of(make, *rectified(make))
    values = Correspondences().measure(pair) | Correspondences().estimate(pair, estimator, 1.0, 0)
    assert values["mAA_10px"] == values["mAA_20px"] == 1
    assert values["num_matches"] == 60


def test_marks_that_are_off_by_a_known_distance(make):
    """4.5 px: within 5, 6, … 10, which are 6 of 10 thresholds, and 16 of 20."""
    found = Correspondences().estimate(pair_of(make, *rectified(make, 4.5)), "poselib", 1.0, 0)
    assert found["epipolar_error_px"] == pytest.approx(4.5, abs=0.1)
    assert found["mAA_10px"] == pytest.approx(0.6)
    assert found["mAA_20px"] == pytest.approx(0.8)


def test_no_matches_count_as_failure(make):
    _, _, truth = rectified(make)
    pair = pair_of(make, [], [], truth)
    values = Correspondences().measure(pair) | Correspondences().estimate(pair, "poselib", 1.0, 0)
    assert values["mAA_20px"] == 0
    assert values["epipolar_error_px"] == math.inf
    assert Correspondences().summary([values, {"mAA_10px": 1.0, "mAA_20px": 1.0}])["mAA@10"] == 0.5
