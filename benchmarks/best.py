"""What each part of the preset `best` buys: poses, matches within half a pixel, and CPU time.

    python benchmarks/best.py ../shared/data/eval/imb_reichstag ../shared/data/eval/wxbs_sample [--max-pairs 15]

Each row adds one part to the row before, but for "1600 px, none enlarged", which is the next row without photos made
larger than they are (than 1024 pixels, as by default). With both orders, the photos are also matched the other way
round; scores are averages, and a match that one order alone finds counts half. AUC@5 (poses; at 5 px homographies, mAA
at 10 px for hand-made correspondences) is of PoseLib at the protocol's threshold, a mean of five seeds. Shares and
medians are of the distances of all matches from the true epipolar geometry (Sampson), pixels of the photos as read.
CPU milliseconds of one thread, a pair: both extractions, matching, refinement; without reading.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from photoglue import LightGlueConfig, Matches, Pipeline, preset
from photoglue.datasets.base import DataSet
from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.truths import Posed
from photoglue.decode import Photo
from photoglue.evaluation.benchmarks.table import BENCHMARKS
from photoglue.evaluation.protocols import protocol_named
from photoglue.evaluation.solving import Task, solve
from photoglue.geometry.epipolar import fundamental_matrix, sampson_distance
from photoglue.image import load_photo
from photoglue.limits import Subpixel, joined_matches, refine_matches
from photoglue.limits.rotation import with_options
from photoglue.limits.views import Masked
from photoglue.limits.zoom import closer_matches
from photoglue.machine import version_line
from photoglue.pipeline import ALSO_RESIZE
from photoglue.structs import Features

SEEDS = 5
HEADLINES = {"relative_pose": ("AUC@5", "AUC@10"), "homography": ("AUC@5px",), "correspondences": ("mAA@10",)}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How pairs are matched."""

    config: LightGlueConfig | None = None
    points: int = 2048
    resize: int = 1024
    enlarged: bool = True
    both_orders: bool = False
    refined: bool = False
    also: str | None = None


ALL_LAYERS = Variant(config=LightGlueConfig.accurate())
MANY = replace(ALL_LAYERS, points=4096)
LARGE = replace(MANY, resize=1600)
VARIANTS = {
    "default": Variant(),
    "all layers and points": ALL_LAYERS,
    "4096 points": MANY,
    "1600 px, none enlarged": replace(LARGE, enlarged=False),
    "1600 px": LARGE,
    "both orders": replace(LARGE, both_orders=True),
    "1600 px, sub-pixel": replace(LARGE, refined=True),
    "and DISK": replace(LARGE, refined=True, also="disk"),
    "and SIFT": replace(LARGE, refined=True, also="disk,sift"),
    "best: DISK and crops": replace(LARGE, refined=True, also="disk,crop"),
}


class Bench:
    """The photos of a data set, the features that were made of them, and how long that took."""

    def __init__(self, dataset: DataSet) -> None:
        self.dataset = dataset
        self.photos: dict[str, Photo] = {name: load_photo(dataset.folder / name) for name in dataset.images}
        self.features: dict[tuple[str, str, int, int], tuple[Features, float]] = {}

    def side(self, name: str, variant: Variant) -> int:
        """Length of the longer side that the extractor sees."""
        own = max(1024, *self.dataset.sizes[name])
        return variant.resize if variant.enlarged else min(variant.resize, own)

    def extracted(self, name: str, variant: Variant, pipeline: Pipeline) -> tuple[Features, float]:
        """Features of a photo, and their CPU seconds."""
        key = name, pipeline.extractor.kind, self.side(name, variant), variant.points
        if key not in self.features:
            extractor = with_options(pipeline.extractor, resize=key[2], max_keypoints=key[3])
            start = time.process_time()
            features = extractor.extract_many([self.photos[name]])[0]
            self.features[key] = features, time.process_time() - start
        return self.features[key]

    def matched(self, names: tuple[str, str], variant: Variant, pipeline: Pipeline) -> tuple[Matches, float]:
        """Matches of a pair, and CPU seconds."""
        (features0, seconds0), (features1, seconds1) = (self.extracted(each, variant, pipeline) for each in names)
        start = time.process_time()
        matches = pipeline.matcher.match(features0, features1)
        if variant.both_orders:
            matches = averaged(matches, pipeline.matcher.match(features1, features0))
        if variant.refined:
            photo0, photo1 = (self.photos[each] for each in names)
            matches = refine_matches(photo0, photo1, matches, resize=self.side(names[0], variant))
        taken = seconds0 + seconds1 + time.process_time() - start
        if pipeline.also is not None:
            more, longer = self.matched(names, replace(variant, resize=ALSO_RESIZE), pipeline.also)
            matches, taken = joined_matches(matches, more), taken + longer
        if pipeline.closer:
            start = time.process_time()
            masked0, masked1 = (Masked.of(self.photos[each]) for each in names)
            extractor = with_options(pipeline.extractor, resize=variant.resize, max_keypoints=variant.points)
            options = Subpixel() if variant.refined else None
            crops = closer_matches((masked0, masked1), matches, (extractor, pipeline.matcher), options)
            matches = matches if crops is None else joined_matches(matches, crops.matches)
            taken += time.process_time() - start
        return matches, taken


def averaged(matches: Matches, other: Matches) -> Matches:
    """The matches of both orders that are one-to-one, with the averages of their scores; 0 where one has none."""
    threshold = 0.1
    pairs: dict[tuple[int, int], float] = {}
    for indices, scores in ((matches.indices, matches.scores), (other.indices.flip(1), other.scores)):
        for (i, j), score in zip(indices.tolist(), scores.tolist(), strict=True):
            pairs[i, j] = pairs.get((i, j), 0.0) + score / 2
    found = replace(
        matches,
        matches0=torch.full_like(matches.matches0, -1),
        matches1=torch.full_like(matches.matches1, -1),
        matching_scores0=torch.zeros_like(matches.matching_scores0),
        matching_scores1=torch.zeros_like(matches.matching_scores1),
    )
    for (i, j), score in sorted(pairs.items(), key=lambda each: -each[1]):
        if score > threshold and found.matches0[i] < 0 and found.matches1[j] < 0:
            found.matches0[i], found.matches1[j] = j, i
            found.matching_scores0[i] = found.matching_scores1[j] = score
    return found


def main() -> None:
    """Print a row for each set and variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--max-pairs", type=int, help="evenly taken; None: all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    options = preset("best")
    assert (options["max_keypoints"], options["resize"]) == (LARGE.points, LARGE.resize)
    print(version_line())
    print("\n| set (pairs) | | AUC@5, mAA@10 | AUC@10 | ≤ 0.5 px | median px | matches | CPU ms |")
    print(f"|---|---|{'---:|' * 6}")
    for folder in args.data:
        posed = (folder / "cameras.json").is_file()
        dataset = load_dataset(folder, all_pairs=posed, max_pairs=args.max_pairs)
        bench = Bench(dataset)
        for name in args.variants:
            print(row(bench, name, VARIANTS[name]), flush=True)


def row(bench: Bench, name: str, variant: Variant) -> str:
    """A line of the table."""
    dataset = bench.dataset
    pipeline = Pipeline.pretrained("aliked", config=variant.config, also=variant.also)
    card = protocol_named("photoglue", dataset.benchmark).card(dataset.image_set, seeds=SEEDS)
    values, distances, seconds, counts = [], [torch.zeros(0)], [], []
    for pair in dataset.pairs:
        matches, taken = bench.matched((pair.name0, pair.name1), variant, pipeline)
        sizes = [dataset.sizes[each] for each in (pair.name0, pair.name1)]
        task = Task(
            benchmark=dataset.benchmark,
            truth=pair.truth,
            matches=matches.numpy(),
            size0=sizes[0],
            size1=sizes[1],
            card=card,
        )
        values.append(solve(task))
        seconds.append(taken)
        counts.append(len(matches))
        if isinstance(truth := pair.truth, Posed):
            matrix = fundamental_matrix(torch.from_numpy(truth.cam1_from_cam0), truth.camera0, truth.camera1)
            distances.append(sampson_distance(matches.points0, matches.points1, matrix))
    summaries = [BENCHMARKS[dataset.benchmark].summary([each[seed] for each in values]) for seed in range(SEEDS)]
    shown = []
    for key in HEADLINES[dataset.benchmark]:
        column = [100 * each[key] for each in summaries]
        shown.append(f"{np.mean(column):.1f} ± {np.std(column, ddof=1):.1f}")
    near = torch.cat(distances)
    shown += ["–"] * (2 - len(shown))
    close = f"{100 * float((near <= 0.5).double().mean()):.1f}", f"{float(near.median()):.3f}"
    shown += [*(close if len(near) else ("–", "–")), f"{np.mean(counts):.0f}", f"{1000 * np.mean(seconds):.0f}"]
    cells = f"{dataset.name} ({len(values)})", name, *shown
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
