"""The worst pairs of a method as small JPEGs: two photos side by side, with their matches where those are at hand."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import PIL.Image
import torch
from jaxtyping import Bool
from torch import Tensor

from photoglue.errors import ImageError
from photoglue.evaluation.benchmarks.metric import Metric
from photoglue.evaluation.report.groups import Group
from photoglue.evaluation.results import PairRecord, Result
from photoglue.image import Resize, load_image, to_rgb
from photoglue.structs import Matches
from photoglue.viz.canvas import Colours
from photoglue.viz.small import compressed, matched_picture

MAX_BYTES = 60_000
"""Largest size of a picture."""
WIDTH, HEIGHT, GAP = 960, 400, 6
"""Largest size of a picture, and what lies between its photos; pixels."""

MAX_LINES = 120
"""Matches that are drawn."""
RIGHT, WRONG = "#4cc2ff", "#ff8a1f"
"""Colours of matches; the colour-blind can tell them apart."""

MatchesOf: TypeAlias = Callable[[Result, PairRecord], Matches | None]
"""The matches of a pair in pixels of the images as read; None: not at hand."""
CorrectOf: TypeAlias = Callable[[Result, PairRecord, Matches], Bool[Tensor, " k"] | None]
"""Which of the matches agree with the true geometry, by the rows of ``matches.indices``; None: unknown."""


@dataclass(frozen=True, kw_only=True)
class PictureSource:
    """Where pictures of pairs come from."""

    matches_of: MatchesOf | None = None
    """Matches to draw; None: the photos alone."""
    correct_of: CorrectOf | None = None
    """Which of them are right."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A pair that a method is bad at."""

    record: PairRecord
    """Which pair."""
    error: str
    """Its error and the unit, or that it failed."""
    facts: tuple[str, ...]
    """What else was measured on it: "312 matches", "18 inliers"."""
    others: tuple[tuple[str, int, str], ...]
    """(name, series, error) of the other methods on this pair."""
    jpeg: bytes | None
    """The photos; None if they cannot be read."""
    lines: str = ""
    """What the lines on them are; empty if there are none."""
    problem: str = ""
    """Why they cannot."""


def worst_pictures(group: Group, error: Metric, count: int, source: PictureSource) -> tuple[Picture, ...]:
    """The pairs on which the best method of a data set has its largest errors, the worst first.

    Among pairs that failed altogether, those with fewer matches come first.
    """
    best = group.results[group.best]
    ranked = sorted(
        best.records, key=lambda record: (-record.error(error.name), record.values.get("num_matches", math.inf))
    )
    elsewhere = [{_key(record): record for record in result.records} for result in group.results]
    return tuple(_picture(group, error, record, elsewhere, source) for record in ranked[:count])


def _picture(
    group: Group,
    error: Metric,
    record: PairRecord,
    elsewhere: list[dict[tuple[str, str, str], PairRecord]],
    source: PictureSource,
) -> Picture:
    result, key = group.results[group.best], _key(record)
    others = tuple(
        (label, series, _error_text(error, found[key]))
        for i, (label, series, found) in enumerate(zip(group.labels, group.series, elsewhere, strict=True))
        if i != group.best and key in found
    )
    facts = tuple(
        f"{record.values[name]:,.0f} {words}"
        for name, words in (("num_matches", "matches"), ("num_inliers", "inliers"))
        if name != error.name and math.isfinite(record.values.get(name, math.nan))
    )
    try:
        (jpeg, lines), problem = pair_jpeg(result, record, source), ""
    except ImageError as unreadable:
        jpeg, lines, problem = None, "", str(unreadable)
    text = _error_text(error, record)
    return Picture(record=record, error=text, facts=facts, others=others, jpeg=jpeg, lines=lines, problem=problem)


def pair_jpeg(result: Result, record: PairRecord, source: PictureSource) -> tuple[bytes, str]:
    """Both photos of a pair at one height, at most ``MAX_BYTES``, and what the lines on them are, if there are any.

    Raises:
        ImageError: If a photo cannot be read.
    """
    paths = [Path(result.images) / name for name in (record.name0, record.name1)]
    matches = None if source.matches_of is None else source.matches_of(result, record)
    if matches is None:
        return compressed(_side_by_side(paths), MAX_BYTES), ""
    correct = None if source.correct_of is None else source.correct_of(result, record, matches)
    meaning = "brighter for higher scores"
    if correct is not None:
        meaning = "blue where they agree with the true geometry, orange where not"
    return compressed(
        _with_matches(paths, matches, correct), MAX_BYTES
    ), f"Lines are matches, at most {MAX_LINES}: {meaning}."


def _with_matches(paths: list[Path], matches: Matches, correct: Tensor | None) -> PIL.Image.Image:
    """The photos toned down, with up to ``MAX_LINES`` matches."""
    rows = torch.linspace(0, len(matches) - 1, min(len(matches), MAX_LINES)).round().long()
    starts, ends = matches.points0[rows], matches.points1[rows]
    if correct is None:
        scores = matches.scores.detach().float().cpu()[rows].numpy()
        return matched_picture(paths, (starts, ends, Colours("continuous", 0.0, 1.0).of(scores)), size=(WIDTH, HEIGHT))
    right = correct.cpu()[rows]
    groups = [(starts[chosen], ends[chosen], colour) for chosen, colour in ((~right, WRONG), (right, RIGHT))]
    return matched_picture(paths, *groups, size=(WIDTH, HEIGHT))


def _side_by_side(paths: list[Path]) -> PIL.Image.Image:
    photos = [to_rgb(load_image(path)) for path in paths]
    aspects = [photo.shape[2] / photo.shape[1] for photo in photos]
    # Small photos stay as they are: the page enlarges them as well as we could.
    height = min(float(HEIGHT), (WIDTH - GAP) / sum(aspects), max(float(photo.shape[1]) for photo in photos))
    size = [(max(1, round(aspect * height)), max(1, round(height))) for aspect in aspects]
    canvas = PIL.Image.new("RGB", (size[0][0] + GAP + size[1][0], size[0][1]), "#808890")
    for photo, new, left in zip(photos, size, (0, size[0][0] + GAP), strict=True):
        small = Resize(original_size=(photo.shape[2], photo.shape[1]), resized_size=new).apply(photo)
        pixels = (small.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        canvas.paste(PIL.Image.fromarray(pixels), (left, 0))
    return canvas


def _error_text(error: Metric, record: PairRecord) -> str:
    value = record.error(error.name)
    if math.isinf(value):
        return "no pose" if error.unit == "degrees" else "failed"
    if error.unit == "count":
        return f"{error.shown(value)} {error.words}"
    return error.shown(value) + ("°" if error.unit == "degrees" else " px")


def _key(record: PairRecord) -> tuple[str, str, str]:
    return record.scene, record.name0, record.name1
