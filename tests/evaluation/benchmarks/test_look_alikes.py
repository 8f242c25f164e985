import numpy as np
import pytest

from photoglue.datasets.truths import Shared
from photoglue.evaluation.benchmarks.base import MatchedPair
from photoglue.evaluation.benchmarks.look_alikes import LookAlikes


def values_of(make, count, share, probability=None):
    points = np.random.default_rng(0).uniform(0, 400, (count, 2))
    matches = make.matches(points, points + np.array([5, 0]), np.full(count, 0.5))
    pair = MatchedPair(
        truth=Shared(share=share),
        matches=matches,
        size0=(640, 480),
        size1=(640, 480),
        overlap_probability=probability,
    )
    return LookAlikes().measure(pair) | LookAlikes().estimate(pair, "poselib", 3.0, 0)


def test_what_is_taken_for_the_same_thing(make):
    apart, overlapping = [values_of(make, 40, 0.0, 0.9), values_of(make, 0, 0.0, 0.1)], values_of(make, 20, 0.4, 0.7)
    summary = LookAlikes().summary([*apart, overlapping])
    assert (summary["false_alarms"], summary["kept"]) == (0.5, 1.0)
    assert (summary["false_pairs@15"], summary["false_pairs@30"]) == (0.5, 0.5)
    assert (summary["kept_pairs@15"], summary["kept_pairs@30"]) == (1.0, 0.0)
    assert [row["misjudged"] for row in (*apart, overlapping)] == [0.9, 0.1, pytest.approx(0.3)]
    assert LookAlikes().ranked_by.better == "lower"


def test_matchers_without_a_verdict_are_judged_by_inliers(make):
    rows = [values_of(make, 40, 0.0), values_of(make, 0, 0.4)]
    assert [row["misjudged"] for row in rows] == [1.0, 1.0]
    summary = LookAlikes().summary(rows)
    assert "false_alarms" not in summary and "kept" not in summary
    assert (summary["false_pairs@15"], summary["kept_pairs@15"]) == (1.0, 0.0)


def test_a_scene_has_one_kind_only(make):
    """Scenes are those that share as much: their tables have no value of the other kind."""
    summary = LookAlikes().summary([values_of(make, 40, 0.0, 0.4)])
    assert summary["false_alarms"] == 0 and "kept" not in summary and "kept_pairs@15" not in summary
