"""The curves that are drawn are those whose area is the AUC."""

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from report_cases import EVIL, result

from photoglue.evaluation.benchmarks.table import BENCHMARKS
from photoglue.evaluation.report.groups import groups_of
from photoglue.evaluation.report.plots import (
    HEIGHT,
    LEFT,
    SERIES,
    TOP,
    WIDTH,
    Curve,
    chart_of,
    chart_svg,
    palette,
)

(POSE_ERROR,) = BENCHMARKS["relative_pose"].errors
SVG = "{http://www.w3.org/2000/svg}"


def group_of(*results):
    return groups_of(results, allow_mixed=False)[0]


def drawn(svg):
    """(errors, shares) of each curve, read back from the drawing."""
    curves = []
    for line in ET.fromstring(svg).iter(f"{SVG}polyline"):
        points = np.array([point.split(",") for point in line.get("points").split()], dtype=float)
        curves.append(((points[:, 0] - LEFT) / WIDTH, 1 - (points[:, 1] - TOP) / HEIGHT))
    return curves


@pytest.mark.parametrize(("limit", "area"), [(5, 0.125 + 0.75 + 2 * 0.5), (10, 0.125 + 0.75 + 3 * 0.625 + 4 * 0.75)])
def test_the_area_under_the_drawn_curve_is_the_auc(limit, area):
    # Errors 1, 3, 6 and a failure: a triangle to (1, ¼), trapezoids to (3, ½) and (6, ¾), then flat to the limit.
    group = group_of(result(errors=(6.0, 1.0, math.inf, 3.0)))
    chart = replace(chart_of(group, POSE_ERROR), limit=float(limit))
    x, y = drawn(chart_svg(chart, standalone=False))[0]
    assert chart.limit == limit
    assert np.trapezoid(y, x) == pytest.approx(area / limit, abs=1e-4)


def test_all_failed_and_nothing_at_all():
    for errors in ([math.inf, math.inf], []):
        x, y = Curve(label="m", series=0, errors=np.array(errors, dtype=np.float64)).points(5.0)
        assert (x.tolist(), y.tolist()) == ([0, 5], [0, 0])


def test_the_axis_ends_at_the_largest_threshold_of_the_benchmark():
    group = group_of(result(benchmark="homography", values={"AUC@3": 0.5}))
    assert [chart_of(group, error).limit for error in group.benchmark.errors] == [5, 5]


def test_every_method_has_its_own_line_and_the_first_lies_on_top():
    results = [result(f"m{i}", errors=(i + 1.0,)) for i in range(10)]
    svg = ET.fromstring(chart_svg(chart_of(group_of(*results), POSE_ERROR), standalone=False))
    lines = list(svg.iter(f"{SVG}polyline"))
    assert [line.find(f"{SVG}title").text for line in lines] == [f"m{i}" for i in reversed(range(10))]
    styles = {(line.get("stroke"), line.get("stroke-dasharray")) for line in lines}
    assert len(styles) == len(SERIES)


def test_a_file_of_its_own_has_colours_for_both_themes_and_a_legend():
    svg = chart_svg(chart_of(group_of(result("one"), result("x" * 80)), POSE_ERROR), standalone=True)
    labels = [text.text for text in ET.fromstring(svg).iter(f"{SVG}text")]
    assert "one" in labels
    assert "x" * 55 + "…" in labels
    assert "prefers-color-scheme:dark" in svg
    assert SERIES[0][0] in svg
    assert SERIES[0][1] in svg


def test_a_page_is_not_given_a_style_of_its_own():
    svg = chart_svg(chart_of(group_of(result()), POSE_ERROR), standalone=False)
    assert "<style" not in svg


def test_names_are_text():
    for standalone in (False, True):
        chart = chart_of(group_of(result(EVIL, dataset=EVIL)), POSE_ERROR)
        svg = ET.fromstring(chart_svg(chart, standalone=standalone))
        tags = {element.tag.removeprefix(SVG) for element in svg.iter()}
        assert tags <= {"svg", "title", "style", "rect", "path", "text", "polyline"}
        assert EVIL in [element.text for element in svg.iter(f"{SVG}title")]


@pytest.mark.parametrize(("limit", "ticks"), [(20, [0, 5, 10, 15, 20]), (5, [0, 1, 2, 3, 4, 5]), (3, [0, 1, 2, 3])])
def test_ticks_are_round(limit, ticks):
    chart = replace(chart_of(group_of(result()), POSE_ERROR), limit=float(limit))
    texts = ET.fromstring(chart_svg(chart, standalone=False)).iter(f"{SVG}text")
    shown = [float(text.text) for text in texts if text.get("text-anchor") == "middle" and text.text[0].isdigit()]
    assert shown == ticks


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_lines_stand_out_from_the_paper():
    """At least 3:1, as WCAG 2.1 asks of graphics (1.4.11)."""
    light, dark = (_luminance(found) for found in ("#ffffff", "#14171c"))
    assert "#14171c" in palette("svg")
    for on_light, on_dark, _ in SERIES:
        assert (light + 0.05) / (_luminance(on_light) + 0.05) >= 3
        assert (_luminance(on_dark) + 0.05) / (dark + 0.05) >= 3
