"""What early exit and pruning save, and what they cost.

The paper's table of easy, medium and hard pairs (Table 6), and a sweep over both confidences. Times are compared within
one run only: ``match_s`` of a setting with that of full depth, on the same pairs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from photoglue.errors import ConfigError, require
from photoglue.evaluation.benchmarks.metric import Metric
from photoglue.evaluation.benchmarks.table import benchmark_named
from photoglue.evaluation.report.plots import SERIES
from photoglue.evaluation.results import PairRecord, Result
from photoglue.metrics import auc

# matplotlib.figure.Figure: the package is optional, and so is its type.
Figure: TypeAlias = Any

LEVELS = ("easy", "medium", "hard")
"""Thirds of the pairs by difficulty, unless edges are given."""
DIFFICULTIES = ("difficulty", "rotation_angle_deg")
"""Values of a record that say how hard a pair is, more being harder; the first that it has counts."""
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Marks of the width confidences of a sweep."""
INK, MUTED = "#1b2027", "#5a6472"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A result and the confidences that it was made with."""

    depth_confidence: float | None
    """Confidence of the early exit, 0…1; None: off."""
    width_confidence: float | None
    """Confidence of the pruning, 0…1; None: off."""
    result: Result
    """On the same pairs, and with the same card, as those of the other settings."""

    @property
    def name(self) -> str:
        """Such as ``depth 0.95, width off``."""
        return f"depth {_said(self.depth_confidence)}, width {_said(self.width_confidence)}"


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What a setting saves on some pairs, and what it costs there."""

    name: str
    """Which pairs, or which setting."""
    setting: Setting | None = None
    """Which setting, in a sweep."""
    pairs: int
    """How many."""
    exit_layer: float
    """Mean layer after which the matcher stopped; nan if that is unknown."""
    pruned_share: float
    """Mean share of keypoints dropped, 0…1; nan if that is unknown."""
    match_s: float
    """Mean time to match a pair, seconds."""
    speed_up: float
    """Time of full depth on these pairs over that of the setting."""
    median_speed_up: float
    """The median of that ratio over the pairs: what a pair gains, however long it takes."""
    auc: float
    """At the threshold that was asked for, 0…1."""
    auc_full: float
    """AUC of full depth on these pairs, 0…1."""


def difficulty_of(record: PairRecord) -> float:
    """How hard a pair is, by what its benchmark recorded.

    Raises:
        ConfigError: If it recorded nothing of the kind.
    """
    for name in DIFFICULTIES:
        if name in record.values:
            return record.values[name]
    raise ConfigError(
        f"The pair {record.name0!r}, {record.name1!r} has none of the values {', '.join(DIFFICULTIES)} that would say "
        "how hard it is. Record one, or pass a function that knows."
    )


def adaptivity_table(
    adaptive: Result,
    full: Result,
    *,
    threshold: float = 5.0,
    edges: tuple[float, float] | None = None,
    difficulty: Callable[[PairRecord], float] = difficulty_of,
) -> tuple[Saving, ...]:
    """One row each for easy, medium and hard pairs, and one for all; a level without pairs is left out.

    Args:
        adaptive: With early exit, pruning or both.
        full: The same method without, from the same run.
        threshold: Of the AUC, in the unit of the benchmark's error.
        edges: A pair is medium above the first and hard above the second; None: thirds, equal values together.
        difficulty: How hard a pair is; more is harder.

    Raises:
        ConfigError: If the results cannot be compared, times are missing, or the difficulty of a pair is unknown.
    """
    pairs = _aligned(adaptive, full)
    hardness = np.array([difficulty(record) for record in full.records])
    if not np.isfinite(hardness).all():
        raise ConfigError("The difficulty of some pairs is no finite number; leave those pairs out of both results.")
    low, high = np.quantile(hardness, [1 / 3, 2 / 3]).tolist() if edges is None else edges
    levels = np.digitize(hardness, [low, high], right=True)
    rows = [
        _saving(name, [pairs[i] for i in np.flatnonzero(levels == level)], _error(full), threshold)
        for level, name in enumerate(LEVELS)
        if (levels == level).any()
    ]
    return (*rows, _saving("all", pairs, _error(full), threshold))


def sweep_table(settings: Sequence[Setting], *, threshold: float = 5.0) -> tuple[Saving, ...]:
    """One row a setting, the fastest first.

    Args:
        settings: One of them without either confidence: full depth, which the others are compared with.
        threshold: Of the AUC, in the unit of the benchmark's error.

    Raises:
        ConfigError: If there is not exactly one with full depth, two are equal, or results cannot be compared.
    """
    names = [setting.name for setting in settings]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"The sweep has more than one result of {repeated[0]}; give each setting once.")
    full = [setting for setting in settings if setting.depth_confidence is None and setting.width_confidence is None]
    if not full:
        raise ConfigError(
            f"The sweep has the settings {'; '.join(names) or 'none'}, but not full depth (both confidences None), "
            "which savings are measured against. Add it, from the same run."
        )
    reference = full[0].result
    rows = [
        _saving(setting.name, _aligned(setting.result, reference), _error(reference), threshold, setting)
        for setting in settings
    ]
    return tuple(sorted(rows, key=lambda row: row.match_s))


def markdown_table(rows: Sequence[Saving]) -> str:
    """The rows as a table in Markdown; shares and AUCs in per cent."""
    lines = [
        "| | pairs | exit layer | pruned, % | time of a pair, ms | speed-up | median | AUC, % | AUC at full depth, % |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        numbers = (
            f"{row.pairs}",
            _shown(row.exit_layer, 1.0),
            _shown(row.pruned_share, 100.0),
            _shown(row.match_s, 1000.0),
            f"{row.speed_up:.2f}×",
            f"{row.median_speed_up:.2f}×",
            _shown(row.auc, 100.0),
            _shown(row.auc_full, 100.0),
        )
        lines.append(f"| {row.name} | {' | '.join(numbers)} |")
    return "\n".join(lines) + "\n"


def plot_sweep(settings: Sequence[Setting], *, threshold: float = 5.0, title: str = "") -> Figure:
    """AUC against time, a mark a setting; a line joins those that no other is both faster and better than.

    Args:
        settings: As for ``sweep_table``.
        threshold: Of the AUC, in the unit of the benchmark's error.
        title: Above the plot.

    Raises:
        ConfigError: As ``sweep_table`` does.
        MissingExtra: If matplotlib is not installed.
    """
    rows = sweep_table(settings, threshold=threshold)
    figure = require("matplotlib.figure", extra="viz").Figure(figsize=(8, 5), dpi=100, layout="constrained")
    require("matplotlib.backends.backend_agg", extra="viz").FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    front = pareto_front(rows)
    axes.plot([1000 * row.match_s for row in front], [100 * row.auc for row in front], color=MUTED, lw=1.2, zorder=1)
    colours = _styles([setting.depth_confidence for setting in settings], [light for light, _, _ in SERIES])
    marks = _styles([setting.width_confidence for setting in settings], MARKS)
    for row in rows:
        assert row.setting is not None
        depth, width = row.setting.depth_confidence, row.setting.width_confidence
        place = 1000 * row.match_s, 100 * row.auc
        axes.scatter(*place, s=70, color=colours[depth], marker=marks[width], edgecolors="white", zorder=2)
    for value, colour in colours.items():
        axes.scatter([], [], s=60, color=colour, marker="o", label=f"depth confidence {_said(value)}")
    for value, mark in marks.items():
        axes.scatter([], [], s=60, color=MUTED, marker=mark, label=f"width confidence {_said(value)}")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9, labelcolor=INK)
    unit = _error(settings[0].result).symbol
    axes.set_xlabel("time to match a pair [ms]", color=INK)
    axes.set_ylabel(f"AUC@{threshold:g}{unit if unit == '°' else f' {unit}'} [%]", color=INK)
    axes.set_title(title, loc="left", size=11, color=INK)
    axes.grid(color="#e3e6ea", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def pareto_front(rows: Sequence[Saving]) -> list[Saving]:
    """The rows that no other is both faster and better than, the fastest first."""
    front: list[Saving] = []
    for row in sorted(rows, key=lambda row: (row.match_s, -row.auc)):
        if not front or row.auc > front[-1].auc:
            front.append(row)
    return front


Pair: TypeAlias = tuple[PairRecord, PairRecord]
"""The record of a setting, and that of full depth."""


def _aligned(result: Result, full: Result) -> list[Pair]:
    """The records of the same pairs, in the order of ``full``."""
    differences = [
        f"{name} {getattr(result, name)} and {getattr(full, name)}"
        for name in ("benchmark", "dataset")
        if getattr(result, name) != getattr(full, name)
    ]
    differences += result.card.differences(full.card)
    if differences:
        raise ConfigError(
            f"{result.method!r} and {full.method!r} cannot be compared: {'; '.join(differences)}. Evaluate both in one "
            "run, on the same pairs and with the same protocol."
        )
    mine, theirs = ({(r.scene, r.name0, r.name1): r for r in each.records} for each in (result, full))
    if mine.keys() != theirs.keys() or not theirs:
        only = sorted(mine.keys() ^ theirs.keys())
        example = f"; only one has {only[0][1]!r}, {only[0][2]!r}" if only else ""
        raise ConfigError(
            f"{result.method!r} has {len(mine)} pairs and {full.method!r} {len(theirs)}{example}. Both must have the "
            "same pairs, and at least one."
        )
    return [(mine[key], theirs[key]) for key in theirs]


def _error(result: Result) -> Metric:
    """The error that the AUC is of."""
    errors = benchmark_named(result.benchmark).errors
    if not errors:
        raise ConfigError(f"Pairs of {result.benchmark} have no error, so that there is no AUC to compare.")
    return errors[0]


def _saving(
    name: str, pairs: Sequence[Pair], error: Metric, threshold: float, setting: Setting | None = None
) -> Saving:
    seconds = [_time(record) for record, _ in pairs]
    whole = [_time(record) for _, record in pairs]
    return Saving(
        name=name,
        setting=setting,
        pairs=len(pairs),
        exit_layer=_mean([record.values.get("stop", math.nan) for record, _ in pairs]),
        pruned_share=_mean([record.values.get("pruned_share", math.nan) for record, _ in pairs]),
        match_s=_mean(seconds),
        speed_up=sum(whole) / sum(seconds),
        median_speed_up=float(np.median(np.array(whole) / np.array(seconds))),
        auc=auc([record.error(error.name) for record, _ in pairs], [threshold])[0],
        auc_full=auc([record.error(error.name) for _, record in pairs], [threshold])[0],
    )


def _time(record: PairRecord) -> float:
    seconds = record.values.get("match_s", math.nan)
    if not 0 < seconds < math.inf:
        raise ConfigError(
            f"The pair {record.name0!r}, {record.name1!r} has no time (match_s is {seconds:g}). Evaluate again with "
            "times measured."
        )
    return seconds


def _mean(values: Sequence[float]) -> float:
    """Over the values that are known; nan if none is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _shown(value: float, factor: float) -> str:
    return "–" if math.isnan(value) else f"{factor * value:.1f}"


def _said(confidence: float | None) -> str:
    return "off" if confidence is None else f"{confidence:g}"


def _styles(confidences: Sequence[float | None], styles: Sequence[str]) -> dict[float | None, str]:
    """A colour or mark for each confidence, from "off" downwards."""
    ordered = sorted(set(confidences), key=lambda value: -math.inf if value is None else -value)
    return {value: styles[i % len(styles)] for i, value in enumerate(ordered)}
