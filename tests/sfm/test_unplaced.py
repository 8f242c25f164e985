"""Each photo without a place has the reason that fits."""

from pathlib import Path

import pytest

from photoglue.sfm.unplaced import PairRow, what_helps, why_unplaced, with_parallax
from photoglue.solvers.colmap_facts import ColmapModel


def row(name0, name1, inliers, kind="uncalibrated", matches=200):
    return PairRow(name0=name0, name1=name1, matches=matches, inliers=inliers, kind=kind)


def model(*names, number=0):
    counts = dict.fromkeys(names, 5)
    folder = Path("sparse") / str(number)
    return ColmapModel(path=folder, placed=names, points=9, mean_track=3.0, error_px=0.5, observations=counts)


ROWS = (
    row("a", "b", 90),
    row("a", "c", 0, "degenerate", matches=23),
    row("b", "c", 0, "degenerate", matches=7),
    row("b", "d", 40),
    row("e", "f", 55),
    row("g", "h", 70, "panoramic"),
    row("k", "l", 60, "planar or panoramic"),
)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "unreadable: cut off"),
        ("c", "no verified pair: of 2 pairs, the one with most matches has 23 (a)"),
        ("d", "too few of its points are in the model to place it (2D–3D): 1 verified pair, the best of 40 inliers"),
        ("e", "in a group of 2 photos, none of which is in the model, that gives no model of its own"),
        ("g", "no parallax: the camera only turned between the photos, or stood still (1 verified pair, the best of"),
        ("k", "no parallax, or a flat scene: 1 verified pair"),
        ("m", "in another model: sparse/1, of 2 photos"),
        ("alone", "no pair: it was matched with no other photo"),
    ],
)  # fmt: skip
def test_reasons(name, reason):
    names = [*"abcdefghklmn", "alone", "broken"]
    models = (model("a", "b"), model("m", "n", number=1))
    reasons = why_unplaced(names, models, ROWS, {"broken": "cut off"})
    assert reasons.keys() == set(names) - {"a", "b"}
    assert reasons[name].startswith(reason)


def test_without_a_model_all_have_reasons():
    reasons = why_unplaced("ab", (), ROWS[:1], {})
    assert reasons["a"].startswith("in a group of 2 photos, that gives no model of its own (1 verified pair")


def test_groups_in_which_the_camera_only_turned_are_left_out():
    joined = [row("h", "i", 40), row("i", "j", 30, "panoramic")]
    assert with_parallax(ROWS) == [("a", "b"), ("b", "d"), ("e", "f"), ("k", "l")]
    assert with_parallax([*ROWS[5:6], *joined]) == [("g", "h"), ("h", "i"), ("i", "j")]


def test_advice_for_each_sort_of_reason_once():
    lines = what_helps({"a": "no pair: it", "b": "unreadable: cut", "c": "unreadable: empty"})
    assert [line.split(":")[0] for line in lines] == ["'unreadable'", "'no pair'"]
    assert what_helps({}) == []
