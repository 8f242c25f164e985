from dataclasses import replace

import numpy as np
import pytest

from photoglue.datasets.truths import Apart
from photoglue.evaluation.benchmarks.base import MatchedPair
from photoglue.evaluation.benchmarks.overlap import Overlap


def values_of(make, points0, points1, scores=None):
    matches = make.matches(points0, points1, scores)
    pair = MatchedPair(truth=Apart(), matches=matches, size0=(640, 480), size1=(640, 480))
    return Overlap().measure(pair) | Overlap().estimate(pair, "poselib", 1.0, 0)


def test_matches_that_agree_make_a_false_pair(make):
    points = np.random.default_rng(0).uniform(0, 400, (40, 2))
    agreeing = values_of(make, points, points + np.array([5, 0]), np.full(40, 0.5))
    assert agreeing["num_matches"] == 40
    assert agreeing["num_inliers"] >= 30
    assert agreeing["score_sum"] == pytest.approx(20)
    none = values_of(make, [], [])
    assert (none["num_matches"], none["num_inliers"], none["score_sum"]) == (0, 0, 0)
    summary = Overlap().summary([agreeing, none, none, none])
    assert summary["false_pairs@15"] == summary["false_pairs@30"] == 0.25
    assert summary["matches"] == 10


def test_limits_are_inclusive():
    summary = Overlap().summary([{"num_inliers": 15.0}, {"num_inliers": 14.0}, {"num_inliers": 30.0}])
    assert (summary["false_pairs@15"], summary["false_pairs@30"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_the_verdict_and_how_often_it_is_wrong(make):
    """The matcher's own verdict counts; a matcher without one has neither value."""
    pair = MatchedPair(truth=Apart(), matches=make.matches([], []), size0=(640, 480), size1=(640, 480))
    assert "overlap_probability" not in Overlap().measure(pair)
    rows = [
        Overlap().measure(replace(pair, overlap_probability=verdict)) | {"num_inliers": 0.0}
        for verdict in (0.952, 0.35)
    ]
    assert [row["overlap_probability"] for row in rows] == [0.952, 0.35]
    assert Overlap().summary([rows[0], rows[1], rows[1], rows[1]])["false_positive_rate"] == 0.25
    assert "false_positive_rate" not in Overlap().summary([{"num_inliers": 3.0}])
