"""The results of quality.py as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from photoglue.evaluation.results import Result

COLUMNS: Mapping[str, Sequence[tuple[str, str, float]]] = {
    "relative_pose": (
        ("AUC@5", "AUC@5°", 100),
        ("AUC@10", "AUC@10°", 100),
        ("AUC@20", "AUC@20°", 100),
        ("epipolar_precision@5e-4", "precision", 100),
        ("matches", "matches", 1),
        ("exit_layer", "exit layer", 1),
    ),
    "homography": (
        ("AUC@1", "AUC@1 px", 100),
        ("AUC@3", "AUC@3 px", 100),
        ("AUC@5", "AUC@5 px", 100),
        ("precision@3px", "precision", 100),
        ("recall@3px", "recall", 100),
        ("matches", "matches", 1),
    ),
    "correspondences": (("mAA@10", "mAA@10 px", 100), ("mAA@20", "mAA@20 px", 100), ("matches", "matches", 1)),
    "overlap": (
        ("matches", "matches", 1),
        ("false_pairs@15", "≥ 15 inliers", 100),
        ("false_pairs@30", "≥ 30 inliers", 100),
        ("false_positive_rate", "verdict > 0.5", 100),
    ),
}
"""For each benchmark: name of the value, head of the column, factor."""
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
        columns = [column for column in every if any(column[0] in row["values"] for row in rows)]
        heads = ["set (pairs)", "method", *(head for _, head, _ in columns)]
        lines = [f"**{TITLES[benchmark]}**", "", f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * len(columns)]
        for row in rows:
            cells = [_cell(row, name, factor) for name, _, factor in columns]
            lines.append(f"| {row['set']} ({row['pairs']}) | {row['method']} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    left_out = [f"Left out: `{name}`: {reason}" for name, reason in report["skipped"].items()]
    return "\n\n".join([*parts, *left_out]) + "\n"


def _cell(row: Mapping[str, Any], name: str, factor: float) -> str:
    value, spread = row["values"].get(name), row["spread"].get(name)
    if value is None:
        return "–"
    digits = 1 if factor == 100 or name == "exit_layer" else 0
    text = f"{factor * value:.{digits}f}"
    return f"{text} ± {factor * spread:.1f}" if spread and factor == 100 else text


def shown_in(result: Result) -> str:
    """The values of a result in a line."""
    row = {"values": result.values, "spread": result.spread}
    columns = COLUMNS[result.benchmark]
    return ", ".join(f"{head} {_cell(row, name, factor)}" for name, head, factor in columns if name in result.values)
