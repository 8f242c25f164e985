"""Savings are ratios of times on the same pairs, and losses those of the same pairs."""

import math
from dataclasses import replace

import pytest
from report_cases import OPENCV, record, result
from tradeoff import (
    Setting,
    adaptivity_table,
    difficulty_of,
    markdown_table,
    pareto_front,
    plot_sweep,
    sweep_table,
)

from photoglue.errors import ConfigError


def pairs(rows):
    """Results from (difficulty, error, seconds, layers, pruned share) of each pair."""
    return tuple(
        record(error, name0=f"{i}", difficulty=hard, match_s=seconds, stop=layers, pruned_share=pruned)
        for i, (hard, error, seconds, layers, pruned) in enumerate(rows)
    )


FULL = result("full", records=pairs([(h, 1.0, 0.9, 9, 0.0) for h in range(6)]))
FAST = result(
    "fast",
    records=pairs(
        [
            (0, 1.0, 0.3, 3, 0.1), (1, 1.0, 0.3, 5, 0.3),
            (2, 1.0, 0.6, 6, 0.2), (3, math.inf, 0.3, 6, 0.2),
            (4, 1.0, 0.9, 9, 0.0), (5, 1.0, 0.9, 9, 0.0),
        ]
    ),
)  # fmt: skip


def setting(depth, width, found):
    return Setting(depth_confidence=depth, width_confidence=width, result=found)


def test_easy_medium_and_hard():
    rows = adaptivity_table(FAST, FULL)
    assert [(row.name, row.pairs) for row in rows] == [("easy", 2), ("medium", 2), ("hard", 2), ("all", 6)]
    # Times are summed, not ratios averaged: medium has 1.8 s over 0.9 s, all 5.4 s over 3.3 s.
    assert [row.speed_up for row in rows] == pytest.approx([3.0, 2.0, 1.0, 5.4 / 3.3])
    # Ratios of single pairs: 3, 3; 1.5, 3; 1, 1.
    assert [row.median_speed_up for row in rows] == pytest.approx([3.0, 2.25, 1.0, 2.25])
    assert [row.exit_layer for row in rows] == pytest.approx([4.0, 6.0, 9.0, 38 / 6])
    assert [row.pruned_share for row in rows] == pytest.approx([0.2, 0.2, 0.0, 0.8 / 6])
    # Two pairs with error 1: a line to (1, ½), then 1 up to 5. One of two: ½ from there on. And so for 5 of 6.
    assert [row.auc for row in rows] == pytest.approx([4.25 / 5, 2.25 / 5, 4.25 / 5, (1 / 12 + 4 * 5 / 6) / 5])
    assert [row.auc_full for row in rows] == pytest.approx([4.25 / 5, 4.25 / 5, 4.25 / 5, (1 / 12 + 4) / 5])


def test_the_order_of_the_records_does_not_matter():
    shuffled = replace(FAST, records=FAST.records[::-1])
    assert adaptivity_table(shuffled, FULL) == adaptivity_table(FAST, FULL)


def test_given_edges_and_an_empty_level():
    rows = adaptivity_table(FAST, FULL, edges=(0.0, 9.0))
    assert [(row.name, row.pairs) for row in rows] == [("easy", 1), ("medium", 5), ("all", 6)]


def test_difficulty_is_what_the_benchmark_recorded():
    assert difficulty_of(record(1, rotation_angle_deg=30)) == 30
    assert difficulty_of(record(1, rotation_angle_deg=30, difficulty=2)) == 2
    with pytest.raises(ConfigError, match=r"none of the values difficulty, rotation_angle_deg"):
        difficulty_of(record(1))


def test_difficulty_may_be_known_elsewhere():
    rows = adaptivity_table(FAST, FULL, difficulty=lambda pair: -pair.values["difficulty"])
    assert [row.speed_up for row in rows[:3]] == pytest.approx([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "another"}, "dataset another and set"),
        ({"card": OPENCV}, "estimator opencv and poselib"),
        ({"records": FAST.records[:5]}, "has 5 pairs and 'full' 6; only one has '5', 'b.png'"),
        ({"records": tuple(replace(r, values={**r.values, "match_s": math.nan}) for r in FAST.records)}, "no time"),
    ],
)
def test_what_cannot_be_compared(changes, message):
    with pytest.raises(ConfigError, match=message):
        adaptivity_table(replace(FAST, **changes), FULL)


def test_an_unknown_difficulty_is_refused():
    with pytest.raises(ConfigError, match="no finite number"):
        adaptivity_table(FAST, FULL, difficulty=lambda pair: math.nan)


def test_matchers_without_layers_have_no_exit_layer():
    records = tuple(record(1, name0=found.name0, match_s=1, difficulty=1) for found in FULL.records)
    bare = replace(FULL, records=records)
    row = adaptivity_table(bare, FULL)[-1]
    assert math.isnan(row.exit_layer)
    assert "| – | – |" in markdown_table([row])


def test_a_sweep_is_measured_against_full_depth():
    rows = sweep_table([setting(None, None, FULL), setting(0.95, 0.99, FAST)])
    assert [row.name for row in rows] == ["depth 0.95, width 0.99", "depth off, width off"]
    assert rows[0].speed_up == pytest.approx(5.4 / 3.3)
    assert rows[1].speed_up == 1
    assert rows[0].match_s == pytest.approx(0.55)


def test_a_sweep_without_full_depth_or_with_doubles():
    with pytest.raises(ConfigError, match=r"depth 0\.9, width off, but not full depth"):
        sweep_table([setting(0.9, None, FAST)])
    with pytest.raises(ConfigError, match=r"more than one result of depth 0\.9, width off"):
        sweep_table([setting(0.9, None, FAST), setting(0.9, None, FAST), setting(None, None, FULL)])
    with pytest.raises(ConfigError, match="none"):
        sweep_table([])


def test_the_front_leaves_out_what_is_slower_and_no_better():
    row = adaptivity_table(FAST, FULL)[0]
    rows = [replace(row, name=name, match_s=s, auc=a) for name, s, a in (
        ("slow", 3.0, 0.5), ("best", 2.0, 0.9), ("tied", 2.5, 0.9), ("fast", 1.0, 0.6), ("worse", 1.0, 0.5),
    )]  # fmt: skip
    assert [found.name for found in pareto_front(rows)] == ["fast", "best"]


def test_the_table_in_markdown():
    table = markdown_table(adaptivity_table(FAST, FULL)).splitlines()
    assert len({line.count("|") for line in table}) == 1
    assert table[2] == "| easy | 2 | 4.0 | 20.0 | 300.0 | 3.00× | 3.00× | 85.0 | 85.0 |"


def test_the_plot_shows_every_setting_where_it_is():
    figure = plot_sweep([setting(None, None, FULL), setting(0.95, None, FAST), setting(0.9, 0.99, FAST)], title="t")
    axes = figure.axes[0]
    places = [tuple(dots.get_offsets()[0]) for dots in axes.collections if len(dots.get_offsets())]
    # Milliseconds and per cent.
    fast, full = (550.0, 100 * (1 / 12 + 4 * 5 / 6) / 5), (900.0, 100 * (1 / 12 + 4) / 5)
    assert sorted(places) == [pytest.approx(place) for place in (fast, fast, full)]
    assert axes.get_ylabel() == "AUC@5° [%]"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        "depth confidence off", "depth confidence 0.95", "depth confidence 0.9", "width confidence off",
        "width confidence 0.99",
    ]  # fmt: skip
