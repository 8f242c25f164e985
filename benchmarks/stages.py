"""From two photos to matches with each implementation's own parts: where the time goes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from contestants import PRECISIONS
from peers import StandInClock, official
from timing import Spread, speedups

from photoglue import ALIKED, ALIKEDConfig, LightGlue
from photoglue.image import load_image

STAGES = ("read", "extract", "match", "total", "extract, bound", "total, bound")
"""The official extractor runs with kornia's deformable convolution instead of torchvision's, which is faster. A bound
is its time without what it spends there, as if torchvision's took no time at all; ours are not changed."""

Times = tuple[float, float, float, float]
"""Seconds to read, extract and match, and those of extract that the stand-in took."""


def stage_rows(
    paths: tuple[Path, Path], rounds: int, keypoints: Sequence[int], contestants: Sequence[str]
) -> list[dict[str, Any]]:
    """Milliseconds of each stage from 1024 pixels on, with early exit and pruning, for some numbers of points.

    The official code takes one photo at a time; ours takes both at once, as ``match_images`` does.
    """
    return [row for points in keypoints for row in _rows(paths, rounds, points, contestants)]


def _rows(paths: tuple[Path, Path], rounds: int, points: int, contestants: Sequence[str]) -> list[dict[str, Any]]:
    runs = {"official": _official(points)}
    runs.update({name: _ours(name, points) for name in PRECISIONS if name in contestants})
    for run in runs.values():
        run(*paths)
    seconds: dict[str, dict[str, list[float]]] = {stage: {name: [] for name in runs} for stage in STAGES}
    for turn in range(rounds):
        names = list(runs)
        for name in names if turn % 2 == 0 else reversed(names):
            read, extract, match, stand_in = runs[name](*paths)
            total = read + extract + match
            spent = (read, extract, match, total, extract - stand_in, total - stand_in)
            for stage, value in zip(STAGES, spent, strict=True):
                seconds[stage][name].append(value)
    return [
        {
            "stage": stage,
            "points": points,
            "ms": {name: asdict(Spread.of([1000 * s for s in times])) for name, times in seconds[stage].items()},
            "speedup": {name: asdict(spread) for name, spread in speedups(seconds[stage], "official").items()},
        }
        for stage in STAGES
    ]


def _official(points: int) -> Callable[[Path, Path], Times]:
    package = official()
    extractor = package.ALIKED(max_num_keypoints=points).eval()
    matcher = package.LightGlue("aliked").eval()

    @torch.inference_mode()
    def run(path0: Path, path1: Path) -> Times:
        before, start = StandInClock.seconds, time.perf_counter()
        images = [package.utils.load_image(path) for path in (path0, path1)]
        read = time.perf_counter()
        features0, features1 = (extractor.extract(image) for image in images)
        extracted = time.perf_counter()
        matcher({"image0": features0, "image1": features1})
        matched = time.perf_counter()
        return read - start, extracted - read, matched - extracted, StandInClock.seconds - before

    return run


def _ours(name: str, points: int) -> Callable[[Path, Path], Times]:
    """With int16, extraction is what "auto" makes it: in float32 by the native library."""
    precision = PRECISIONS[name]
    config = ALIKEDConfig(max_keypoints=points, precision="auto" if precision == "int16" else precision)
    extractor = ALIKED.pretrained(config)
    matcher = LightGlue.pretrained("aliked", precision=precision)

    def run(path0: Path, path1: Path) -> Times:
        start = time.perf_counter()
        images = [load_image(path0), load_image(path1)]
        read = time.perf_counter()
        features0, features1 = extractor.extract_many(images)
        extracted = time.perf_counter()
        matcher.match(features0, features1)
        return read - start, extracted - read, time.perf_counter() - extracted, 0.0

    return run
