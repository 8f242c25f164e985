"""Pairs that two verified pairs suggest."""

from photoglue.sfm.transitive import transitive_pairs
from photoglue.sfm.unplaced import LOOK_ALIKE, PairRow


def row(name0, name1, inliers, kind="calibrated"):
    return PairRow(name0=name0, name1=name1, matches=2 * inliers, inliers=inliers, kind=kind)


def test_a_common_partner_suggests_a_pair_that_was_not_tried():
    rows = [row("a", "b", 50), row("b", "c", 40), row("c", "d", 30), row("d", "e", 20, "degenerate")]
    tried = [(each.name0, each.name1) for each in rows]
    assert transitive_pairs(rows, tried, 5) == [("a", "c"), ("b", "d")]
    assert transitive_pairs(rows, [*tried, ("c", "a")], 5) == [("b", "d")]


def test_look_alikes_suggest_nothing():
    rows = [row("a", "b", 50), row("b", "c", 40, LOOK_ALIKE)]
    assert transitive_pairs(rows, [("a", "b"), ("b", "c")], 5) == []


def test_the_most_promising_come_first_and_each_photo_has_few():
    rows = [row("hub", name, inliers) for name, inliers in (("a", 90), ("b", 80), ("c", 70), ("d", 60))]
    tried = [(each.name0, each.name1) for each in rows]
    assert transitive_pairs(rows, tried, 1) == [("a", "b"), ("a", "c"), ("a", "d")]
    assert transitive_pairs(rows, tried, 0) == []
    assert len(transitive_pairs(rows, tried, 9)) == 6


def test_what_several_partners_suggest_comes_before_what_one_does():
    rows = [row("a", hub, 30) for hub in ("x", "y")] + [row("b", hub, 30) for hub in ("x", "y")]
    rows += [row("a", "z", 45), row("c", "z", 45)]
    tried = [(each.name0, each.name1) for each in rows]
    assert ("a", "b") in transitive_pairs(rows, tried, 1)
