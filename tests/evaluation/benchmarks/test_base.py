import math
from dataclasses import replace

import pytest
import torch

from photoglue.evaluation.benchmarks.base import adaptivity, column, means
from photoglue.evaluation.benchmarks.metric import Metric
from photoglue.evaluation.benchmarks.table import BENCHMARKS


def test_means_leave_out_what_could_not_be_measured_and_nothing_else():
    metrics = [Metric(name=name.upper(), unit="number", mean_of=name) for name in "abc"]
    metrics.append(Metric(name="computed otherwise", unit="number"))
    values = [{"a": 1.0, "b": math.nan}, {"a": math.inf, "b": 3.0}, {"a": 2.0}]
    assert means(values, metrics) == {"A": math.inf, "B": 3.0}
    assert means([{"b": math.nan}], metrics) == {}


def test_column_has_every_pair():
    assert column([{"e": 1.0}, {"e": math.inf}], "e").tolist() == [1.0, math.inf]
    with pytest.raises(KeyError):
        column([{"e": 1.0}, {}], "e")


def test_pruned_points_are_those_that_went_early(make):
    matches = make.matches([[0, 0], [1, 1], [2, 2], [3, 3]], [[0, 0], [1, 1], [2, 2], [3, 3]])
    assert adaptivity(matches) == {"num_matches": 4.0}
    pruned = replace(matches, stop=4, prune0=torch.tensor([4, 4, 2, 4]), prune1=torch.tensor([1, 4, 3, 4]))
    assert adaptivity(pruned) == {"num_matches": 4.0, "stop": 4.0, "pruned_share": 3 / 8}


def test_pruned_share_without_points(make):
    none = replace(
        make.matches([], []), stop=1, prune0=torch.zeros(0, dtype=torch.int64), prune1=torch.zeros(0, dtype=torch.int64)
    )
    assert adaptivity(none) == {"num_matches": 0.0, "stop": 1.0, "pruned_share": 0.0}


def test_the_first_error_ranks_pairs_or_what_looks_like_a_real_one():
    ranked = [benchmark.ranked_by.name for benchmark in BENCHMARKS.values()]
    assert ranked == ["pose_error_deg", "homography_error_px", "epipolar_error_px", "num_inliers", "misjudged", "rank"]
