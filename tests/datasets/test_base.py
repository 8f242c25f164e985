import math
from dataclasses import replace

import pytest
import torch

from photoglue.evaluation.benchmarks.base import adaptivity, column, means
from photoglue.evaluation.benchmarks.table import BENCHMARKS


def test_means_leave_out_what_could_not_be_measured_and_nothing_else():
    values = [{"a": 1.0, "b": math.nan}, {"a": math.inf, "b": 3.0}, {"a": 2.0}]
    assert means(values, {"a": "A", "b": "B", "c": "C"}) == {"A": math.inf, "B": 3.0}
    assert means([{"b": math.nan}], {"b": "B"}) == {}


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


def test_table_of_benchmarks():
    assert list(BENCHMARKS) == ["relative_pose", "homography", "correspondences", "overlap"]
    assert all(name == benchmark.name for name, benchmark in BENCHMARKS.items())
