"""The tables of a report: values, scenes, shares of pairs below an error, all data sets at a glance, protocol cards.

They hold text only, so that the HTML and the Markdown page show the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from photoglue.errors import ConfigError
from photoglue.evaluation.benchmarks.metric import Metric
from photoglue.evaluation.report.groups import Group, letter
from photoglue.evaluation.results import ProtocolCard, Result, check_comparable


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value as it is shown."""

    text: str
    """The value."""
    spread: str = ""
    """Its standard deviation over seeds; empty if that is unknown, or zero because nothing about it is random."""
    marked: bool = False
    """Whether none that it is compared with is better; in the table of cards: whether the cards differ in it."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """The head of a column."""

    title: str
    """What is shown."""
    unit: str = ""
    """Unit of all its numbers; empty if they have none."""
    meaning: str = ""
    """What its values mean; empty if that is unknown."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row and what stands at its head."""

    head: str
    """Name of the row."""
    badge: str = ""
    """The letter of its protocol card, in tables that mix them."""
    series: int | None = None
    """Which colour it has in the plots; None: it is not plotted."""
    cells: tuple[Cell, ...]
    """The cells, one for each column."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table."""

    corner: str
    """Above the heads of the rows."""
    columns: tuple[Column, ...]
    """All columns but that of the heads of the rows."""
    rows: tuple[Row, ...]
    """The rows, from top to bottom."""


def values_grid(group: Group, *, brief: bool = False) -> Grid:
    """A row a method, a column a value, the best of each column marked.

    Args:
        group: Results of one data set.
        brief: Only the values that are shown where there is little room.
    """
    metrics = [metric for metric in group.metrics if metric.brief or not brief]
    return _grid(group, [_column(metric) for metric in metrics], [_cells(metric, group.results) for metric in metrics])


def shares_grid(group: Group, error: Metric) -> Grid:
    """How many of the pairs of each method are below each error, the median, and how many failed altogether."""
    unit = error.symbol
    columns, texts = [], []
    every = [np.sort([record.error(error.name) for record in result.records]) for result in group.results]
    for limit in group.benchmark.limits:
        title = f"≤ {limit:g}{'' if unit == '°' else ' '}{unit}"
        columns.append(Column(title=title, unit="%", meaning=f"Share of the pairs with an error {title}."))
        texts.append([f"{100 * float(np.mean(errors <= limit)):.1f}" if len(errors) else "–" for errors in every])
    columns.append(Column(title="median", unit=unit, meaning="Half of the pairs are better."))
    # The middle two of an even number may be a number and infinity, whose mean is no help: take the worse one.
    texts.append([error.shown(float(errors[len(errors) // 2])) if len(errors) else "–" for errors in every])
    columns.append(Column(title="failed", meaning="Pairs without an estimate, of all pairs."))
    texts.append([f"{int(np.isinf(errors).sum()):,} of {len(errors):,}" for errors in every])
    return _grid(group, columns, [[Cell(text=text) for text in column] for column in texts])


def scenes_grid(group: Group) -> Grid | None:
    """The headline by scene: a row a scene, a column a method. None if there is one scene or no headline."""
    metric = group.headline
    scenes = dict.fromkeys(record.scene for result in group.results for record in result.records)
    if metric is None or len(scenes) < 2:
        return None
    rows = []
    for scene in scenes:
        pairs = max(sum(record.scene == scene for record in result.records) for result in group.results)
        values = [result.scenes.get(scene, {}).get(metric.name, math.nan) for result in group.results]
        best = _best(metric, values)
        cells = [Cell(text=metric.shown(value), marked=i in best) for i, value in enumerate(values)]
        rows.append(Row(head=scene, cells=(Cell(text=f"{pairs:,}"), *cells)))
    columns = (Column(title="pairs", meaning="Pairs of images of the scene."), *map(_named, group.labels))
    return Grid(corner="scene", columns=columns, rows=tuple(rows))


def scene_values_grid(group: Group) -> Grid | None:
    """Every value by scene: a row a scene and method. None if there is one scene."""
    scenes = dict.fromkeys(scene for result in group.results for scene in result.scenes)
    if len(scenes) < 2:
        return None
    rows = []
    for scene in scenes:
        members = [result.scenes.get(scene, {}) for result in group.results]
        columns = [_cells(metric, members) for metric in group.metrics]
        for i, (label, series) in enumerate(zip(group.labels, group.series, strict=True)):
            cells = tuple(column[i] for column in columns)
            rows.append(Row(head=f"{scene} · {label}", series=series, cells=cells))
    return Grid(corner="scene · method", columns=tuple(map(_column, group.metrics)), rows=tuple(rows))


def overview_grid(groups: Sequence[Group], *, allow_mixed: bool) -> Grid | None:
    """The headline of each data set of one benchmark: a row a method.

    None if there is one data set only, or if the cards of the data sets differ and that was not allowed.
    """
    headed = [(group, group.headline) for group in groups if group.headline is not None]
    if len(headed) < 2:
        return None
    if not allow_mixed:
        try:
            check_comparable([result for group, _ in headed for result in group.results])
        except ConfigError:
            return None
    heads: dict[int, dict[str, Result]] = {}
    badges: dict[int, str] = {}
    for group, _ in headed:
        for result, badge, series in zip(group.results, group.badges, group.series, strict=True):
            heads.setdefault(series, {})[group.dataset] = result
            badges[series] = badges.get(series) or badge
    columns = [_cells(metric, [found.get(group.dataset) for found in heads.values()]) for group, metric in headed]
    rows = [
        Row(head=next(iter(found.values())).method, badge=badges[series], series=series, cells=tuple(cells))
        for (series, found), *cells in zip(heads.items(), *columns, strict=True)
    ]
    titles = [
        Column(title=f"{group.dataset} · {metric.words}", unit=metric.symbol, meaning=metric.explained)
        for group, metric in headed
    ]
    return Grid(corner="method", columns=tuple(titles), rows=tuple(rows))


def cards_grid(cards: Sequence[ProtocolCard]) -> Grid:
    """A row a field (and a package), a column a card; fields in which the cards differ are marked."""
    lines: list[tuple[str, list[str]]] = []
    for field in fields(ProtocolCard):
        values = [getattr(card, field.name) for card in cards]
        if field.name == "versions":
            for package in sorted(set().union(*values)):
                lines.append((f"{package} version", [str(value.get(package, "–")) for value in values]))
        elif any(value != "" for value in values):
            lines.append((field.name.replace("_", " "), ["–" if value is None else str(value) for value in values]))
    rows = [
        Row(head=head, cells=tuple(Cell(text=text, marked=len(set(texts)) > 1) for text in texts))
        for head, texts in lines
    ]
    return Grid(corner="card", columns=tuple(_named(letter(i)) for i in range(len(cards))), rows=tuple(rows))


def _cells(metric: Metric, results: Sequence[Result | Mapping[str, float] | None]) -> tuple[Cell, ...]:
    """A column: a value of each result, or of each mapping; the best are marked."""
    maps = [result.values if isinstance(result, Result) else result or {} for result in results]
    spreads = [result.spread if isinstance(result, Result) else {} for result in results]
    values = [found.get(metric.name, math.nan) for found in maps]
    best = _best(metric, values)
    return tuple(
        Cell(
            text=metric.shown(value),
            spread=metric.shown(spread[metric.name]) if spread.get(metric.name) else "",
            marked=i in best,
        )
        for i, (value, spread) in enumerate(zip(values, spreads, strict=True))
    )


def _best(metric: Metric, values: Sequence[float]) -> set[int]:
    """The best of several values, and those that look the same once they are rounded; none if all look the same."""
    finite = [value for value in values if math.isfinite(value)]
    if metric.better is None or not finite or len({metric.shown(value) for value in values}) < 2:
        return set()
    best = max(finite) if metric.better == "higher" else min(finite)
    return {i for i, value in enumerate(values) if metric.shown(value) == metric.shown(best)}


def _grid(group: Group, columns: Sequence[Column], cells: Sequence[Sequence[Cell]]) -> Grid:
    """A table with a row a method, from its columns."""
    rows = [
        Row(head=result.method, badge=badge, series=series, cells=tuple(column[i] for column in cells))
        for i, (result, badge, series) in enumerate(zip(group.results, group.badges, group.series, strict=True))
    ]
    return Grid(corner="method", columns=tuple(columns), rows=tuple(rows))


def _column(metric: Metric) -> Column:
    return Column(title=metric.words, unit=metric.symbol, meaning=metric.explained)


def _named(title: str) -> Column:
    return Column(title=title)
