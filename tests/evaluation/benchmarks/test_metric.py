"""Values have the right unit, direction and explanation, and failures stay failures."""

import math

import pytest

from photoglue.evaluation.benchmarks.base import PairBenchmark
from photoglue.evaluation.benchmarks.metric import COMMON, Metric, thresholded
from photoglue.evaluation.benchmarks.table import BENCHMARKS


def metric_of(name, benchmark="relative_pose"):
    return BENCHMARKS[benchmark].metric(name)


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=lambda benchmark: benchmark.name)
def test_every_metric_of_a_benchmark_is_explained(benchmark):
    assert benchmark.metrics[-len(COMMON) :] == COMMON or not isinstance(benchmark, PairBenchmark)
    assert len({metric.name for metric in benchmark.metrics}) == len(benchmark.metrics)
    for metric in benchmark.metrics:
        assert metric.meaning.endswith((".", ")"))
        assert "{" not in metric.explained + metric.family[1]
        assert metric.unit != "number"
        assert (metric.threshold is not None) == ("@" in metric.name)
    headline = benchmark.metric(benchmark.headline)
    assert headline.better is not None
    assert headline.brief


def test_a_threshold_is_told_in_the_unit_of_the_benchmark():
    assert "from 0 to 5°" in metric_of("AUC@5").explained
    assert "corner error from 0 to 3 px" in metric_of("AUC@3", "homography").explained
    assert "within 0.0005 of" in metric_of("epipolar_precision@5e-4").explained
    assert "within 3 px" in metric_of("precision@3px", "homography").explained


def test_values_that_differ_in_the_threshold_are_one_family():
    families = {metric.family for metric in thresholded("AUC_DLT", (1, 3), "Up to {t} px.")}
    assert families == {("AUC DLT@t", "Up to t px.")}
    assert metric_of("matches").family == ("matches", metric_of("matches").meaning)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("AUC@5", 0.75149, "75.1"),
        ("matches", 1234.5, "1,234"),
        ("exit_layer", 5.66, "5.7"),
        ("AUC@5", math.nan, "–"),
        ("match_s", 0.012345, "0.0123"),
        ("something", math.inf, "∞"),
    ],
)
def test_numbers_as_text(name, value, text):
    assert metric_of(name).shown(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.1234, "0.12"), (179.6, "180"), (math.inf, "failed")])
def test_errors_as_text(value, text):
    (error,) = BENCHMARKS["relative_pose"].errors
    assert (error.shown(value), error.words, error.symbol) == (text, "pose error", "°")


def test_names_for_people():
    assert metric_of("match_s").words == "match time"
    assert metric_of("exit_layer").words == "exit layer"


def test_a_value_of_another_version_is_shown_as_it_is():
    unknown = metric_of("something_else")
    assert unknown == Metric(name="something_else", unit="number")
    assert (unknown.words, unknown.symbol, unknown.better) == ("something else", "", None)
