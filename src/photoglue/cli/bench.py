"""`photoglue bench`: how fast this machine is, and which options fit a given time."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import torch
import tyro
from rich.console import Console
from rich.table import Table

from photoglue.cli.demo import motorcycle
from photoglue.errors import ConfigError
from photoglue.files import check_output, to_json, write_whole
from photoglue.image import load_image
from photoglue.machine import auto_precision, choice_lines, machine, version_line
from photoglue.matchers.base import Matcher
from photoglue.pipeline import Pipeline, create_matcher
from photoglue.precision import Precision, choose_device
from photoglue.presets import PRESETS
from photoglue.structs import Features

POINTS = (512, 1024, 2048)
SIDES = (1024, 640, 320)
CAREFUL_FIRST = ("accurate", "default", "realtime", "edge")
"""Presets of the matcher that differ, the most careful one first; sfm is accurate, and slam default."""
BUDGETS_MS = (33.0, 100.0, 1000.0)
"""A frame of a video at 30 and at 10 a second, and a second."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What extracting one photo takes."""

    points: int
    """Most keypoints that were asked for."""
    resize: int
    """Length of the longer side that the extractor saw, pixels."""
    found: int
    """Keypoints of the photo that has fewer of them."""
    ms: float
    """Median milliseconds to extract one photo, already read."""


@dataclass(frozen=True, kw_only=True)
class Matching:
    """What matching one pair takes."""

    points: int
    """Most keypoints of each photo."""
    preset: str
    """Preset of the matcher, as ``photoglue match --preset`` takes it."""
    precision: str
    """Number format that the network computed in, such as "bfloat16"."""
    matches: int
    """Matches that were found."""
    exit_layer: int
    """Layer after which the network was done, from 1; 0 if it is not known."""
    ms: float
    """Median milliseconds to match one pair."""
    batch_ms: float | None
    """Median milliseconds for each pair of a batch; None: not measured."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Options of ``photoglue match``, and what a video frame takes with them: one photo extracted, one pair matched."""

    points: int
    resize: int
    preset: str
    ms: float

    def __str__(self) -> str:
        return f"--max-keypoints {self.points} --resize {self.resize} --preset {self.preset}"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure ALIKED and LightGlue on this machine, and say which options fit 33 ms, 100 ms and a second.

    Nothing else should be running. Without photos, the Middlebury motorcycle pair is used.
    """

    photos: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Two photos of the same place; without any, those of `photoglue demo` are used."""
    quick: bool = False
    """Measure each thing less often, and float32 and large batches hardly: under a minute in all."""
    batch_size: int = 8
    """Pairs that are matched together where batches are measured."""
    out: Path | None = None
    """Write all measurements to this .json file."""

    def run(self, console: Console) -> int:
        """Measure, print tables and advice, and write the measurements if asked to; returns 0."""
        if len(self.photos) not in (0, 2):
            raise ConfigError(f"There are {len(self.photos)} photos; give two, or none for the demo's.")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}; it must be at least 1.")
        if self.out is not None:
            check_output(self.out, (".json",))
        for line in (version_line(), *choice_lines()):
            console.print(line, soft_wrap=True)
        device = choose_device(None)
        photos = [load_image(photo) for photo in (self.photos or motorcycle()[:2])]
        watch = Stopwatch(device, seconds=0.2 if self.quick else 1.5)
        extractions, features = _extractions(photos, device, watch)
        console.print(_extraction_table(extractions))
        matchings = self._matchings(features, device, watch)
        console.print(_matching_table(matchings, self.batch_size))
        auto = auto_precision(device)
        choices = {budget: choose(extractions, matchings, auto, budget) for budget in BUDGETS_MS}
        fastest = fastest_choice(extractions, matchings, auto)
        console.print(f"For a video (each frame extracted once and matched with the one before; precision {auto}):")
        for budget, choice in choices.items():
            console.print(advice(budget, choice, fastest), soft_wrap=True)
        if self.out is not None:
            facts = _facts(self, extractions, matchings, choices)
            write_whole(self.out, (to_json(facts, indent=1) + "\n").encode())
            console.print(f"measurements → {self.out}", soft_wrap=True)
        return 0

    def _matchings(self, features: list[Features], device: torch.device, watch: "Stopwatch") -> list[Matching]:
        auto = auto_precision(device)
        precisions: tuple[Precision, ...] = (auto,) if auto == "float32" else (auto, "float32")
        measured: list[Matching] = []
        for precision, preset in product(precisions, CAREFUL_FIRST):
            if self.quick and precision != auto and preset != "default":
                continue
            matcher = create_matcher("aliked", PRESETS[preset], device=device, precision=precision)
            for points in POINTS:
                batched = preset == "default" and not (self.quick and (precision != auto or points > 1024))
                size = self.batch_size if batched else None
                pair = (features[0][:points], features[1][:points])
                measured.append(_matching(matcher, pair, watch, size, (points, preset, precision)))
        return measured


@dataclass(frozen=True)
class Stopwatch:
    """Times a function: once to warm up, then until ``seconds`` are spent or 20 runs done."""

    device: torch.device
    seconds: float

    def time(self, function: Callable[[], Result]) -> tuple[float, Result]:
        """Median milliseconds over at least one run, and what the function returned at first."""
        result = function()
        times: list[float] = []
        while not times or (sum(times) < self.seconds and len(times) < 20):
            self._wait()
            start = time.perf_counter()
            function()
            self._wait()
            times.append(time.perf_counter() - start)
        return 1000 * statistics.median(times), result

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def choose(extractions: list[Extraction], matchings: list[Matching], precision: str, budget_ms: float) -> Choice | None:
    """What fits the time: as many points as possible, then as large a photo, then as careful a preset; None: nothing.

    Sizes at which the photos have far fewer points than asked for do not count, except for the fewest points.
    """
    fitting = [choice for choice in _choices(extractions, matchings, precision) if choice.ms <= budget_ms]
    return max(fitting, key=lambda c: (c.points, c.resize, -CAREFUL_FIRST.index(c.preset)), default=None)


def fastest_choice(extractions: list[Extraction], matchings: list[Matching], precision: str) -> Choice:
    """The choice that takes the least time, whatever it finds."""
    return min(_choices(extractions, matchings, precision), key=lambda choice: choice.ms)


def advice(budget_ms: float, choice: Choice | None, fastest: Choice) -> str:
    """A sentence that says what fits a budget of milliseconds, or what comes nearest."""
    if choice is None:
        return (
            f"  {budget_ms:>4g} ms a frame is out of reach here; the fastest, {fastest}, takes {_readable(fastest.ms)}"
        )
    return f"  for {budget_ms:>4g} ms a frame: {choice}  ({_readable(choice.ms)})"


def _choices(extractions: list[Extraction], matchings: list[Matching], precision: str) -> list[Choice]:
    fewest = min(extraction.points for extraction in extractions)
    return [
        Choice(points=e.points, resize=e.resize, preset=m.preset, ms=e.ms + m.ms)
        for e, m in product(extractions, matchings)
        if e.points == m.points and m.precision == precision and (e.found >= 0.9 * e.points or e.points == fewest)
    ]


def _extractions(
    photos: list[torch.Tensor], device: torch.device, watch: Stopwatch
) -> tuple[list[Extraction], list[Features]]:
    """The timings, and the features of both photos at the largest size, best points first."""
    measured: list[Extraction] = []
    largest: list[Features] = []
    extractor = Pipeline.pretrained(device=device).extractor
    for side, points in product(SIDES, POINTS):
        extractor.config = replace(extractor.config, max_keypoints=points, resize=side)
        # Both photos, for the points of both; they may differ in size.
        times, features = zip(*(watch.time(lambda: extractor.extract(photo)) for photo in photos), strict=True)  # noqa: B023
        if side == SIDES[0] and points == POINTS[-1]:
            largest = list(features)
        found = min(len(each) for each in features)
        measured.append(Extraction(points=points, resize=side, found=found, ms=statistics.mean(times)))
    return measured, largest


def _matching(
    matcher: Matcher,
    pair: tuple[Features, Features],
    watch: Stopwatch,
    batch_size: int | None,
    what: tuple[int, str, str],
) -> Matching:
    points, preset, precision = what
    ms, found = watch.time(lambda: matcher.match(*pair))
    batch_ms = None
    if batch_size is not None:
        batch_ms = watch.time(lambda: matcher.match_many([pair] * batch_size))[0] / batch_size
    return Matching(
        points=points,
        preset=preset,
        precision=precision,
        matches=len(found),
        exit_layer=found.stop or 0,
        ms=ms,
        batch_ms=batch_ms,
    )


def _extraction_table(extractions: list[Extraction]) -> Table:
    table = _table("extract one photo", "--resize", *(f"{points} points" for points in POINTS))
    for side in SIDES:
        row = [extraction for extraction in extractions if extraction.resize == side]
        table.add_row("", str(side), *(_readable(extraction.ms) for extraction in row))
    return table


def _matching_table(matchings: list[Matching], batch_size: int) -> Table:
    table = _table("match one pair", "--preset", *(f"{points} points" for points in POINTS))
    for precision in dict.fromkeys(matching.precision for matching in matchings):
        for preset in CAREFUL_FIRST:
            row = [m for m in matchings if (m.precision, m.preset) == (precision, preset)]
            if row:
                table.add_row(precision, preset, *(_readable(m.ms) for m in row))
            if any(m.batch_ms is not None for m in row):
                table.add_row("", f"  in a batch of {batch_size}", *(_readable(m.batch_ms) for m in row))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < 2 else "right", min_width=(18, 18, 12)[min(i, 2)], no_wrap=True)
    return table


def _readable(ms: float | None) -> str:
    if ms is None:
        return ""
    if ms >= 1000:
        return f"{ms / 1000:.2f} s"
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def _facts(
    options: Bench, extractions: list[Extraction], matchings: list[Matching], choices: dict[float, Choice | None]
) -> dict[str, Any]:
    return {
        "format": "photoglue-bench",
        "format_version": 1,
        "machine": machine(),
        "photos": [str(photo) for photo in options.photos] or "motorcycle",
        "quick": options.quick,
        "batch_size": options.batch_size,
        "extract": [asdict(extraction) for extraction in extractions],
        "match": [asdict(matching) for matching in matchings],
        "choices": [
            {"budget_ms": budget, "choice": None if choice is None else asdict(choice)}
            for budget, choice in choices.items()
        ],
    }
