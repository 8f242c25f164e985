"""What a report says, before it is a page: the same content becomes HTML and Markdown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from photoglue.evaluation.report.groups import Group, groups_of, letters_of
from photoglue.evaluation.report.pictures import Picture, PictureSource, worst_pictures
from photoglue.evaluation.report.plots import Chart, chart_of
from photoglue.evaluation.report.tables import (
    Grid,
    cards_grid,
    overview_grid,
    scene_values_grid,
    scenes_grid,
    shares_grid,
    values_grid,
)
from photoglue.evaluation.results import ProtocolCard, Result


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One kind of error on a data set."""

    chart: Chart
    """The curves."""
    shares: Grid
    """Numbers read off them."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One benchmark on one data set."""

    slug: str
    """Name for links and files: lower-case letters, digits and hyphens, different in each section."""
    title: str
    """Name of the data set."""
    kicker: str
    """Kind of benchmark, number of pairs, protocol card."""
    finding: str
    """Who is best, in a sentence; empty if there is nothing to compare."""
    warnings: tuple[str, ...]
    """What speaks against the numbers."""
    notes: tuple[str, ...]
    """What differs between the protocol cards of the table."""
    values: Grid
    """The table of all methods and values."""
    plots_title: str
    """Heading of ``plots``."""
    plots: tuple[Plot, ...]
    """The most telling error first; none if pairs have no error."""
    scenes_title: str
    """Heading of ``scenes``."""
    scenes: Grid | None
    """The headline by scene; None if there is one scene."""
    scene_values: Grid | None
    """The table of all values by scene; None if there is one scene."""
    worst_title: str
    """Heading of ``worst``: whose worst pairs these are."""
    worst_note: str
    """What is drawn on them; empty if nothing is."""
    worst: tuple[Picture, ...]
    """The worst first."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole content of a report."""

    title: str
    """What was compared: "3 methods on 4 data sets"."""
    lead: str
    """How, in one line: kinds of benchmark, pairs, protocol."""
    overviews: tuple[tuple[str, Grid], ...]
    """(kind of benchmark, its data sets side by side)."""
    sections: tuple[Section, ...]
    """The sections, in the order of the results."""
    cards: Grid
    """How each number was measured, and with which versions."""
    glossary: tuple[tuple[str, str], ...]
    """(name, meaning) of the values; those that differ in a threshold only are one."""


def report_of(results: Sequence[Result], *, allow_mixed: bool, worst_pairs: int, source: PictureSource) -> Report:
    """The content of a report.

    Raises:
        ConfigError: If there is no result, two cannot be told apart, or cards differ and that was not allowed.
    """
    groups = groups_of(results, allow_mixed=allow_mixed)
    cards, letters = letters_of(results)
    kinds = tuple(dict.fromkeys(group.benchmark.name for group in groups))
    overviews = []
    for kind in kinds:
        grid = overview_grid([group for group in groups if group.benchmark.name == kind], allow_mixed=allow_mixed)
        if grid is not None:
            overviews.append((_spoken(kind), grid))
    names = [letters[next(i for i, result in enumerate(results) if result is group.results[0])] for group in groups]
    slugs = _slugs([group.dataset for group in groups])
    sections = [
        _section(group, slug, name, worst_pairs, source) for group, slug, name in zip(groups, slugs, names, strict=True)
    ]
    glossary = dict.fromkeys(metric.family for group in groups for metric in group.metrics if metric.meaning)
    return Report(
        title=_title(groups),
        lead=_lead(groups, cards, kinds),
        overviews=tuple(overviews),
        sections=tuple(sections),
        cards=cards_grid(cards),
        glossary=tuple(glossary),
    )


def protocol_line(card: ProtocolCard) -> str:
    """A card in one line: "photoglue: long side 1024 px, at most 2048 keypoints, poselib at 1 px, seed 0"."""
    size = "full size" if card.resize is None else f"{card.resize_side} side {card.resize} px"
    points = "all keypoints" if card.max_keypoints is None else f"at most {card.max_keypoints} keypoints"
    seeds = f"seed {card.seed}" if card.seeds == 1 else f"seeds {card.seed} to {card.seed + card.seeds - 1}"
    return f"{card.protocol}: {size}, {points}, {card.geometry}, {seeds}"


def _section(group: Group, slug: str, card: str, worst_pairs: int, source: PictureSource) -> Section:
    pairs = max(len(result.records) for result in group.results)
    shown = f"card {card}" if not any(group.badges) else "cards " + ", ".join(dict.fromkeys(group.badges))
    sets = dict.fromkeys(result.card.image_set for result in group.results)
    used = _counted(pairs, "pair") if list(sets) == ["all"] else " / ".join(sets)
    # Values are means over the seeds; records are of the first.
    first_seed = ", by the first seed" if any(result.card.seeds > 1 for result in group.results) else ""
    headline = group.headline
    worst = worst_pictures(group, group.benchmark.ranked_by, worst_pairs, source)
    return Section(
        slug=slug,
        title=group.dataset,
        kicker=f"{_spoken(group.benchmark.name)} · {used} · protocol {shown}",
        finding=_finding(group),
        warnings=tuple(f"{result.method}: {result.warning}" for result in group.results if result.warning),
        notes=group.notes,
        values=values_grid(group),
        plots_title=f"Pairs below each error{first_seed}",
        plots=tuple(
            Plot(chart=chart_of(group, error), shares=shares_grid(group, error)) for error in group.benchmark.errors
        ),
        scenes_title=""
        if headline is None
        else f"{headline.words} by scene" + (f", {headline.symbol}" if headline.symbol else ""),
        scenes=scenes_grid(group),
        scene_values=scene_values_grid(group),
        worst_title=f"The {_counted(len(worst), 'worst pair')} of {group.labels[group.best]}".replace("The 1 ", "The "),
        worst_note=" ".join(dict.fromkeys(picture.lines for picture in worst if picture.lines)),
        worst=worst,
    )


def _finding(group: Group) -> str:
    """Who is best by the headline, and how far the next one is from it; nothing where protocols are mixed."""
    metric = group.headline
    if metric is None or len(group.ranking) < 2 or any(group.badges):
        return ""
    first, second = group.ranking[:2]
    best, next_best = (group.results[i].values[metric.name] for i in (first, second))
    shown = f"{metric.shown(best)} {metric.symbol}".rstrip()
    if metric.shown(best) == metric.shown(next_best):
        return f"{group.labels[first]} and {group.labels[second]} are level at {metric.words} {shown}."
    gap = abs(best - next_best)
    spreads = [group.results[i].spread.get(metric.name, 0.0) for i in (first, second)]
    within = ", which is within their spread over seeds" if gap < sum(spreads) else ""
    other = f"{metric.shown(gap)} {'points ' if metric.unit == 'share' else ''}better than {group.labels[second]}"
    return f"{group.labels[first]} has the best {metric.words}, {shown}, {other}{within}."


def _title(groups: Sequence[Group]) -> str:
    methods = tuple(dict.fromkeys(result.method for group in groups for result in group.results))
    datasets = tuple(dict.fromkeys(group.dataset for group in groups))
    return f"{_few(methods, 'method')} on {_few(datasets, 'data set')}"


def _lead(groups: Sequence[Group], cards: Sequence[ProtocolCard], kinds: Sequence[str]) -> str:
    pairs = sum(max(len(result.records) for result in group.results) for group in groups)
    lines = tuple(dict.fromkeys(protocol_line(card) for card in cards))
    protocol = f"protocol {lines[0]}" if len(lines) == 1 else f"{len(lines)} protocols: " + "; ".join(lines)
    return f"{', '.join(map(_spoken, kinds))} · {_counted(pairs, 'pair')} · {protocol}"


def _few(names: Sequence[str], noun: str) -> str:
    """One name as it is, two joined, more counted."""
    return " and ".join(names) if len(names) <= 2 else _counted(len(names), noun)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _spoken(benchmark: str) -> str:
    return benchmark.replace("_", " ")


def _slugs(names: Sequence[str]) -> list[str]:
    slugs: list[str] = []
    for name in names:
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "data"
        number = sum(other == slug or re.fullmatch(rf"{slug}-\d+", other) is not None for other in slugs)
        slugs.append(slug if number == 0 else f"{slug}-{number + 1}")
    return slugs
