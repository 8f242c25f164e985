"""Tables show the values of the results, and mark the best."""

import math
from dataclasses import replace

import pytest
from report_cases import CARD, OPENCV, record, result

from photoglue.evaluation.benchmarks.table import BENCHMARKS
from photoglue.evaluation.report.groups import groups_of
from photoglue.evaluation.report.tables import (
    cards_grid,
    overview_grid,
    scene_values_grid,
    scenes_grid,
    shares_grid,
    values_grid,
)

(POSE_ERROR,) = BENCHMARKS["relative_pose"].errors


def group_of(*results, allow_mixed=False):
    return groups_of(results, allow_mixed=allow_mixed)[0]


def texts(grid):
    return {row.head: [cell.text for cell in row.cells] for row in grid.rows}


def marks(grid):
    return {row.head: [cell.marked for cell in row.cells] for row in grid.rows}


def test_values_and_the_best_of_each_column():
    a = result("a", values={"AUC@5": 0.751, "matches": 10.0, "match_s": 0.2}, spread={"AUC@5": 0.0123, "matches": 0.0})
    b = result("b", values={"AUC@5": 0.5, "matches": 99.0, "match_s": 0.1, "exit_layer": 5.0})
    grid = values_grid(group_of(a, b))
    assert [(column.title, column.unit) for column in grid.columns] == [
        ("AUC@5", "%"), ("matches", ""), ("match time", "s"), ("exit layer", ""),
    ]  # fmt: skip
    assert texts(grid) == {"a": ["75.1", "10", "0.2", "–"], "b": ["50.0", "99", "0.1", "5.0"]}
    assert marks(grid) == {"a": [True, False, False, False], "b": [False, False, True, False]}
    assert [cell.spread for cell in grid.rows[0].cells] == ["1.2", "", "", ""]


def test_the_brief_table_has_the_values_that_matter_most():
    one = result(values={"AUC@5": 0.5, "epipolar_precision@1e-4": 0.1, "pruned": 0.3})
    grid = values_grid(group_of(one), brief=True)
    assert [column.title for column in grid.columns] == ["AUC@5"]


def test_what_looks_equal_is_equally_good():
    grid = values_grid(group_of(*(result(f"{v}", values={"AUC@5": v}) for v in (0.5001, 0.5002, 0.4))))
    assert marks(grid) == {"0.5001": [True], "0.5002": [True], "0.4": [False]}


@pytest.mark.parametrize("values", [(0.5,), (0.0, 0.0), (math.nan, math.nan)])
def test_nothing_is_best_if_nothing_differs(values):
    grid = values_grid(group_of(*(result(f"m{i}", values={"AUC@5": v}) for i, v in enumerate(values))))
    assert not any(cell.marked for row in grid.rows for cell in row.cells)


def test_a_failed_median_is_never_the_best():
    grid = values_grid(group_of(*(result(f"{v}", values={"match_s": v}) for v in (math.inf, 3.0))))
    assert marks(grid) == {"inf": [False], "3.0": [True]}


def test_shares_of_pairs_count_failures():
    # 4 pairs: one on the limit, one beyond, one failed, one that was not measured.
    records = (*(record(e, name0=f"{e}") for e in (5.0, 7.0, math.inf)), replace(record(1), values={}))
    grid = shares_grid(group_of(result(records=records)), POSE_ERROR)
    assert [column.title for column in grid.columns] == ["≤ 5°", "≤ 10°", "≤ 20°", "median", "failed"]
    assert texts(grid) == {"m": ["25.0", "50.0", "50.0", "failed", "2 of 4"]}


def test_scenes():
    a, b = result("a", errors=range(5)), result("b", errors=range(5))
    grid = scenes_grid(group_of(a, replace(b, scenes={"s0": {"AUC@5": 0.9}})))
    assert [column.title for column in grid.columns] == ["pairs", "a", "b"]
    assert texts(grid) == {"s0": ["3", "50.0", "90.0"], "s1": ["2", "25.0", "–"]}
    assert marks(grid)["s0"] == [False, False, True]
    assert [row.head for row in scene_values_grid(group_of(a, b)).rows] == [
        "s0 · a", "s0 · b", "s1 · a", "s1 · b",
    ]  # fmt: skip


def test_one_scene_needs_no_breakdown():
    one = result(records=(record(1),), scenes={"s": {"AUC@5": 0.5}})
    assert scenes_grid(group_of(one)) is None
    assert scene_values_grid(group_of(one)) is None


def test_overview_leaves_holes_open():
    results = [result("a", "x", auc5=0.9), result("b", "x", auc5=0.1), result("b", "y", auc5=0.3)]
    grid = overview_grid(groups_of(results, allow_mixed=False), allow_mixed=False)
    assert [column.title for column in grid.columns] == ["x · AUC@5", "y · AUC@5"]
    assert texts(grid) == {"a": ["90.0", "–"], "b": ["10.0", "30.0"]}
    assert overview_grid(groups_of(results[:2], allow_mixed=False), allow_mixed=False) is None


def test_overview_does_not_mix_cards_unless_allowed():
    groups = groups_of([result("a", "x"), result("a", "y", card=OPENCV)], allow_mixed=False)
    assert overview_grid(groups, allow_mixed=False) is None
    assert len(overview_grid(groups, allow_mixed=True).rows) == 1


def test_cards_side_by_side():
    grid = cards_grid([CARD, replace(OPENCV, versions={**CARD.versions, "opencv": "4.11"}, max_keypoints=None)])
    assert [column.title for column in grid.columns] == ["A", "B"]
    shown, marked = texts(grid), marks(grid)
    assert shown["estimator"] == ["poselib", "opencv"]
    assert shown["max keypoints"] == ["2048", "–"]
    assert shown["opencv version"] == ["–", "4.11"]
    assert marked["estimator"] == [True, True]
    assert marked["resize"] == [False, False]
