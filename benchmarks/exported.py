"""Exported matchers beside PyTorch: exit layers and matches of many pairs, and the time of one.

    photoglue export matcher --features aliked --out aliked.onnx
    photoglue export matcher --features aliked --staged --out aliked-staged
    python benchmarks/exported.py aliked.onnx aliked-staged ../shared/data/eval/strecha/fountain-P11/images

Of each folder of photos, every photo is paired with the next four, until there are enough pairs. Both run in single
precision on one thread. Times are CPU milliseconds of this process for the first pair, the contestants in turn, so that
they are comparable on a machine that does other things, too. OpenVINO takes part if it is installed.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from photoglue import LightGlue, LightGlueConfig, create_extractor
from photoglue.datasets.photos import photos_of
from photoglue.errors import MissingExtra, require
from photoglue.export import OnnxMatcher, StagedLightGlue
from photoglue.machine import version_line
from photoglue.matchers.onnx import graph_inputs
from photoglue.structs import Features

Pair = tuple[str, Features, Features]


def main() -> None:
    """Print how far the two agree, and the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a file of photoglue export matcher")
    parser.add_argument("staged", type=Path, help="a folder of photoglue export matcher --staged")
    parser.add_argument("photos", type=Path, nargs="+", help="folders of photos of one scene each")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--resize", type=int, default=768, help="longer side, pixels")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(version_line())
    extractor = create_extractor(
        "aliked", max_keypoints=options.points, resize=options.resize, detection_threshold=0.0, precision="float32"
    )
    found = (pair for folder in options.photos for pair in pairs_of(folder, extractor))
    pairs = list(islice(found, options.pairs))
    reference = LightGlue.pretrained("aliked", precision=None)
    staged = StagedLightGlue(options.staged)
    print(agreement(reference, staged, pairs))
    whole = LightGlue.pretrained("aliked", LightGlueConfig.accurate(), precision="float32")
    _, *first = pairs[0]
    adaptive = LightGlue.pretrained("aliked", precision="float32")
    contestants: dict[str, Callable[[], object]] = {
        "PhotoGlue, all layers": lambda: whole.match(*first),
        "onnxruntime, all layers": lambda: exported.match(*first),
        "PhotoGlue, exits and pruning": lambda: adaptive.match(*first),
        "onnxruntime, staged": lambda: staged.match(*first),
    }
    exported = OnnxMatcher.from_file(options.file)
    if (openvino := openvino_run(options.file, graph_inputs(first[0], 0) | graph_inputs(first[1], 1))) is not None:
        contestants["OpenVINO, all layers"] = openvino
    for name, milliseconds in cpu_times(contestants, options.rounds).items():
        low, median, high = statistics.quantiles(milliseconds, n=4, method="inclusive")
        print(f"{name:30} {median:7.0f} ms  ({low:.0f}–{high:.0f})")


def pairs_of(folder: Path, extractor: Any) -> Iterator[Pair]:
    """Names and features: each photo of a folder with the next four."""
    photos = photos_of([folder])
    features = extractor.extract_many([photos.path(i) for i in range(len(photos.names))])
    for i, first in enumerate(features):
        for j in range(i + 1, min(i + 5, len(features))):
            yield f"{photos.names[i]} {photos.names[j]}", first, features[j]


def agreement(reference: LightGlue, staged: StagedLightGlue, pairs: list[Pair]) -> str:
    """A sentence: of how many pairs exit layer, matches and pruning are the same, and how far scores differ."""
    exits = matches = pruned = 0
    largest, layers = 0.0, set()
    for _, features0, features1 in pairs:
        ours, theirs = reference.match(features0, features1), staged.match(features0, features1)
        exits += ours.stop == theirs.stop
        matches += bool((ours.matches0 == theirs.matches0).all())
        pruned += all(
            a is not None and b is not None and bool((a == b).all())
            for a, b in ((ours.prune0, theirs.prune0), (ours.prune1, theirs.prune1))
        )
        gap = (ours.matching_scores0 - theirs.matching_scores0).abs()
        largest = max(largest, float(gap.max()) if len(gap) else 0.0)
        layers.add(ours.stop or 0)
    return (
        f"of {len(pairs)} pairs the staged matcher exits after the same layer in {exits} (layers "
        f"{', '.join(map(str, sorted(layers)))}), gives the same matches in {matches}, drops the same points in "
        f"{pruned}; scores differ by {largest:.1e} at most"
    )


def openvino_run(path: Path, inputs: Mapping[str, np.ndarray]) -> Callable[[], object] | None:
    """OpenVINO with the same inputs, in single precision on one thread; None if it is not installed."""
    try:
        openvino = require("openvino", extra="dev")
    except MissingExtra:
        return None
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(str(path), "CPU", options)
    names = {name for port in compiled.inputs for name in port.names}
    given = {name: array for name, array in inputs.items() if name in names}
    return lambda: compiled(given)


def cpu_times(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of each run, all in turn after one to warm up."""
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds):
        names = list(functions)
        for name in names if turn % 2 == 0 else reversed(names):
            start = time.process_time()
            functions[name]()
            times[name].append(1000 * (time.process_time() - start))
    return times


if __name__ == "__main__":
    main()
