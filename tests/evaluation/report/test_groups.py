"""Which results share a table, and under which names and colours."""

from dataclasses import replace

import pytest
from report_cases import CARD, OPENCV, result

from photoglue.errors import ConfigError
from photoglue.evaluation.report.groups import groups_of, letter, letters_of


def test_by_benchmark_and_data_set():
    results = [result("a", "x"), result("b", "y"), result("b", "x"), result("a", "x", benchmark="homography")]
    groups = groups_of(results, allow_mixed=False)
    assert [(group.benchmark.name, group.dataset, group.labels) for group in groups] == [
        ("relative_pose", "x", ("a", "b")),
        ("relative_pose", "y", ("b",)),
        ("homography", "x", ("a",)),
    ]
    assert [group.series for group in groups] == [(0, 1), (1,), (0,)]  # a method keeps its colour


def test_different_cards_are_refused_and_say_why():
    with pytest.raises(ConfigError, match=r"estimator poselib and opencv.*allow"):
        groups_of([result("a"), result("b", card=OPENCV)], allow_mixed=False)


def test_allowed_mixtures_tell_the_cards_apart():
    group = groups_of([result("a"), result("a", card=OPENCV), result("b")], allow_mixed=True)[0]
    assert group.labels == ("a [A]", "a [B]", "b [A]")
    assert len(set(group.series)) == 3
    assert group.notes == ("card B against card A: estimator poselib and opencv; threshold_px 1.0 and 0.5",)


def test_two_results_that_nothing_tells_apart_are_refused():
    with pytest.raises(ConfigError, match=r"2 results are of 'a' on 'set'"):
        groups_of([result("a"), result("a")], allow_mixed=True)


def test_an_unknown_benchmark_is_refused():
    with pytest.raises(ConfigError, match="no benchmark 'other'"):
        groups_of([result("a", benchmark="other")], allow_mixed=False)


def test_nothing_to_report():
    with pytest.raises(ConfigError, match="no result"):
        groups_of([], allow_mixed=False)


def test_sets_of_pairs_that_belong_to_the_data_set_do_not_make_cards():
    results = [result("a", name, card=replace(CARD, image_set=f"pairs of {name}")) for name in ("x", "y")]
    cards, letters = letters_of(results)
    assert (len(cards), letters) == (1, ("A", "A"))
    mixed = [*results, result("b", "x", card=replace(CARD, image_set="10 of them"))]
    assert letters_of(mixed)[1] == ("A", "B", "C")


def test_the_best_goes_by_the_headline_of_the_benchmark():
    values = {"AUC@1": 0.9, "AUC@3": 0.2}, {"AUC@1": 0.1, "AUC@3": 0.8}
    results = [result(f"m{i}", benchmark="homography", values=found) for i, found in enumerate(values)]
    group = groups_of(results, allow_mixed=False)[0]
    assert (group.headline.name, group.best) == ("AUC@3", 1)


def test_fewer_false_pairs_are_better_and_a_missing_value_is_no_best():
    values = {"false_pairs@15": 0.2}, {"matches": 3.0}, {"false_pairs@15": 0.1}
    results = [result(f"m{i}", benchmark="overlap", values=found) for i, found in enumerate(values)]
    assert groups_of(results, allow_mixed=False)[0].ranking == (2, 0)


def test_letters_do_not_run_out():
    assert [letter(i) for i in (0, 25, 26, 53)] == ["A", "Z", "A1", "B2"]
