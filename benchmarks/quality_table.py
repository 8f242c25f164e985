"""The results of quality.py as tables."""

from collections.abc import Mapping
from typing import Any

from photoglue.evaluation.benchmarks.metric import Metric
from photoglue.evaluation.benchmarks.table import BENCHMARKS
from photoglue.evaluation.results import Result

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "relative_pose": {
        "AUC@5": "AUC@5°",
        "AUC@10": "AUC@10°",
        "AUC@20": "AUC@20°",
        "epipolar_precision@5e-4": "precision",
        "matches": "matches",
        "exit_layer": "exit layer",
    },
    "homography": {
        "AUC@1": "AUC@1 px",
        "AUC@3": "AUC@3 px",
        "AUC@5": "AUC@5 px",
        "precision@3px": "precision",
        "recall@3px": "recall",
        "matches": "matches",
    },
    "correspondences": {"mAA@10": "mAA@10 px", "mAA@20": "mAA@20 px", "matches": "matches"},
    "overlap": {
        "matches": "matches",
        "false_pairs@15": "≥ 15 inliers",
        "false_pairs@30": "≥ 30 inliers",
        "false_positive_rate": "verdict > 0.5",
    },
}
"""For each benchmark: name of the metric → head of the column."""
TITLES = {
    "relative_pose": "Relative pose, per cent; mean ± standard deviation over the seeds of the estimator",
    "homography": "Homography, per cent; mean ± standard deviation over the seeds",
    "correspondences": "Hand-made correspondences, per cent; mean ± standard deviation over the seeds",
    "overlap": "Photos of different places, per cent of the pairs; less is better",
}


def markdown(report: Mapping[str, Any]) -> str:
    """A table for each benchmark."""
    parts = []
    for benchmark, every in COLUMNS.items():
        rows = [row for row in report["rows"] if row["benchmark"] == benchmark]
        if not rows:
            continue
        columns = [name for name in every if any(name in row["values"] for row in rows)]
        heads = ["set (pairs)", "method", *(every[name] for name in columns)]
        lines = [f"**{TITLES[benchmark]}**", "", f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * len(columns)]
        for row in rows:
            cells = [_cell(row, BENCHMARKS[benchmark].metric(name)) for name in columns]
            lines.append(f"| {row['set']} ({row['pairs']}) | {row['method']} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    left_out = [f"Left out: `{name}`: {reason}" for name, reason in report["skipped"].items()]
    return "\n\n".join([*parts, *left_out]) + "\n"


def _cell(row: Mapping[str, Any], metric: Metric) -> str:
    value, spread = row["values"].get(metric.name), row["spread"].get(metric.name)
    if value is None:
        return "–"
    if metric.unit == "count":
        return f"{value:.0f}"
    text = metric.shown(value)
    return f"{text} ± {metric.shown(spread)}" if spread and metric.unit == "share" else text


def shown_in(result: Result) -> str:
    """The values of a result in a line."""
    row = {"values": result.values, "spread": result.spread}
    benchmark, columns = BENCHMARKS[result.benchmark], COLUMNS[result.benchmark]
    shown = {head: _cell(row, benchmark.metric(name)) for name, head in columns.items() if name in result.values}
    return ", ".join(f"{head} {cell}" for head, cell in shown.items())
