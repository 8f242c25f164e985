import numpy as np
import pytest

from photoglue.evaluation.benchmarks.retrieval import Retrieval


def test_values_of_a_query():
    """By hand: the right ones at 1, 3 and 12 of 20, and one more that is in no place at all."""
    right = np.zeros(20, dtype=bool)
    right[[0, 2, 11]] = True
    values = Retrieval().measure(right, 4)
    assert values["AP"] == pytest.approx((1 + 2 / 3 + 3 / 12) / 4)
    assert (values["found_5"], values["found_10"], values["found_20"]) == (0.5, 0.5, 0.75)
    assert (values["first"], values["rank"]) == (1.0, 1.0)
    late = Retrieval().measure(~right, 17)
    assert (late["first"], late["rank"]) == (0.0, 2.0)
    assert late["found_5"] == 3 / 5  # no more than five can be among the first five
    nothing = Retrieval().measure(np.zeros(3, dtype=bool), 2)
    assert (nothing["AP"], nothing["rank"]) == (0.0, float("inf"))


def test_summary_and_groups():
    rows = [Retrieval().measure(np.array([True]), 1), Retrieval().measure(np.array([False]), 1)]
    summary = Retrieval().summary(rows)
    assert summary["mAP"] == summary["R@5"] == summary["first_right"] == 0.5
    assert "group_right" not in summary  # no query has a group
    assert (Retrieval().group_of("floor3/hall"), Retrieval().group_of("hall")) == ("floor3", None)
