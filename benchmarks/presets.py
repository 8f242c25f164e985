"""What the presets cost and keep: matches and relative-pose AUC on pairs with known poses, and time on one pair.

    python benchmarks/presets.py --data DIR [--sets strecha/Herz-Jesus-P8 imb_reichstag] [--precision float32]

DIR is as for `agreement.py`, whose protocol this is. "kept" is the share of the matches of `sfm` that a preset finds,
too, with the same points; `edge` has points of its own, and so no such share. Times are CPU milliseconds, the
least of some runs in turn: 512 and 2048 are matches alone, with so many points; a frame is a photo of 640 × 480 pixels,
extracted and matched with the one before, each preset with its own points and size.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from agreement import THRESHOLDS_DEG, pose_error
from pairs import photo_pair, point_features

from photoglue import Features, LightGlue, Matches, Pipeline, preset
from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.truths import Posed
from photoglue.image import load_image
from photoglue.machine import version_line
from photoglue.metrics import auc

PRESETS = ("sfm", "slam", "realtime", "edge")
SETS = ("strecha/Herz-Jesus-P8", "imb_reichstag")


def main() -> None:
    """Print a table and its conditions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(version_line())
    pipelines = {name: Pipeline.pretrained(**preset(name), precision=options.precision) for name in PRESETS}
    columns = [times_of_matches(points, options) for points in (512, 2048)] + [times_of_frames(pipelines, options)]
    kept, scores = quality(pipelines, options)
    print(f"{'preset':10} {'512 ms':>7} {'2048 ms':>8} {'frame ms':>9} {'frames/s':>9} {'kept':>7} {'AUC@5/10/20':>18}")
    for name in PRESETS:
        small, large, frame = (column[name] for column in columns)
        shown = "/".join(f"{100 * value:.1f}" for value in auc(scores[name], THRESHOLDS_DEG))
        print(f"{name:10} {small:7.0f} {large:8.0f} {frame:9.0f} {1000 / frame:9.1f} {kept[name]:>7} {shown:>18}")


def times_of_matches(points: int, options: argparse.Namespace) -> dict[str, float]:
    """CPU milliseconds of one match with so many points."""
    features0, features1 = point_features(photo_pair(None), points)
    networks = {
        name: LightGlue.pretrained("aliked", preset(name)["config"], precision=options.precision) for name in PRESETS
    }
    return fastest({name: partial(each.match, features0, features1) for name, each in networks.items()}, options.rounds)


def times_of_frames(pipelines: Mapping[str, Pipeline], options: argparse.Namespace) -> dict[str, float]:
    """CPU milliseconds of a frame: extracted, and matched with the one before."""
    before, now = (load_image(path)[:, :480, :640] for path in photo_pair(None))

    def frame(pipeline: Pipeline, last: Features) -> Matches:
        return pipeline.matcher.match(last, pipeline.extractor.extract(now))

    runs = {name: partial(frame, each, each.extractor.extract(before)) for name, each in pipelines.items()}
    return fastest(runs, options.rounds)


def fastest(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least CPU milliseconds of each, in turn, after once to warm up."""
    least = dict.fromkeys(runs, float("inf"))
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if turn:
                least[name] = min(least[name], 1000 * (time.process_time() - start))
    return least


def quality(pipelines: Mapping[str, Pipeline], options: argparse.Namespace) -> tuple[dict[str, str], dict[str, Any]]:
    """The share of the matches of `sfm` that each finds, and its errors of pose, over all sets."""
    errors: dict[str, list[float]] = {name: [] for name in PRESETS}
    same, total = dict.fromkeys(PRESETS, 0), 0
    for dataset in (load_dataset(options.data / name, all_pairs=True) for name in options.sets):
        images = sorted({image for pair in dataset.pairs for image in (pair.name0, pair.name1)})
        of = {}
        for name in ("sfm", "edge"):
            found: list[Features] = pipelines[name].extractor.extract_many([dataset.folder / each for each in images])
            of[name] = dict(zip(images, found, strict=True))
        for pair in dataset.pairs:
            assert isinstance(pair.truth, Posed)
            matches = {}
            for name, pipeline in pipelines.items():
                features = of["edge" if name == "edge" else "sfm"]
                matches[name] = pipeline.matcher.match(features[pair.name0], features[pair.name1])
                errors[name].append(pose_error(matches[name], pair.truth))
            best = {tuple(row) for row in matches["sfm"].indices.tolist()}
            total += len(best)
            for name in PRESETS:
                same[name] += len(best & {tuple(row) for row in matches[name].indices.tolist()})
    return {name: "" if name == "edge" else f"{same[name] / total:.2%}" for name in PRESETS}, errors


if __name__ == "__main__":
    with torch.no_grad():
        main()
