"""Values get the right unit, direction and explanation, and failures stay failures."""

import math

import pytest
from report_cases import record

from photoglue.evaluation.benchmarks.table import BENCHMARKS
from photoglue.evaluation.benchmarks.terms import error_names, error_of, term_of


@pytest.mark.parametrize(
    ("name", "kind", "better"),
    [
        ("AUC@5", "share", "higher"),
        ("AUC_DLT@1", "share", "higher"),
        ("mAA@10", "share", "higher"),
        ("precision@3px", "share", "higher"),
        ("recall@1px", "share", "higher"),
        ("epipolar_precision@5e-4", "share", "higher"),
        ("false_pairs@15", "share", "lower"),
        ("pruned", "share", None),
        ("matches", "count", None),
        ("inliers", "count", None),
        ("exit_layer", "layers", None),
        ("match_s", "seconds", "lower"),
        ("pose_error_deg", "degrees", "lower"),
        ("dlt_error_px", "pixels", "lower"),
        ("something_else", "number", None),
    ],
)
def test_known_values(name, kind, better):
    term = term_of(name, "relative_pose")
    assert (term.kind, term.better) == (kind, better)
    assert bool(term.meaning) == (kind != "number")


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=lambda benchmark: benchmark.name)
def test_the_headline_of_every_benchmark_is_known(benchmark):
    term = term_of(benchmark.headline, benchmark.name)
    assert term.better is not None
    assert term.meaning


def test_the_unit_of_a_threshold_is_that_of_the_benchmark():
    assert "from 0 to 5°" in term_of("AUC@5", "relative_pose").meaning
    assert "corner error from 0 to 3 px" in term_of("AUC@3", "homography").meaning
    assert "within 5e-4 of" in term_of("epipolar_precision@5e-4", "relative_pose").meaning
    assert "within 3 px" in term_of("precision@3px", "homography").meaning


def test_values_that_differ_in_the_threshold_are_one_family():
    terms = [term_of(f"AUC@{limit}", "relative_pose") for limit in (5, 10)]
    assert {(term.family, term.family_meaning) for term in terms} == {("AUC@t", terms[0].family_meaning)}
    assert term_of("AUC_DLT@5", "homography").family != term_of("AUC@5", "homography").family


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("AUC@5", 0.75149, "75.1"),
        ("matches", 1234.5, "1,234"),
        ("exit_layer", 5.66, "5.7"),
        ("pose_error_deg", 0.1234, "0.12"),
        ("pose_error_deg", 179.6, "180"),
        ("pose_error_deg", math.inf, "failed"),
        ("AUC@5", math.nan, "–"),
        ("match_s", 0.012345, "0.0123"),
        ("something", math.inf, "∞"),
    ],
)
def test_numbers_as_text(name, value, text):
    assert term_of(name, "relative_pose").shown(value) == text


def test_names_for_people():
    assert term_of("pose_error_deg", "relative_pose").words == "pose error"
    assert term_of("match_s", "relative_pose").words == "match time"
    assert term_of("matches", "relative_pose").words == "matches"


def test_the_first_error_is_the_most_telling():
    assert error_names((record(1, rotation_error_deg=1),)) == ("pose_error_deg",)
    other = (record(1),)[0].__class__(scene="", name0="", name1="", values={"odd_error_px": 1.0, "num_matches": 2.0})
    assert error_names((other,)) == ("odd_error_px",)
    assert error_names(()) == ()


def test_a_pair_without_a_number_failed():
    assert error_of(record(math.nan), "pose_error_deg") == math.inf
    assert error_of(record(1.0), "absent") == math.inf
    assert error_of(record(1.5), "pose_error_deg") == 1.5
