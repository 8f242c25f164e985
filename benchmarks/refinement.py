"""What `refine="subpixel"` does to the matches of posed pairs.

    python benchmarks/refinement.py ../shared/data/eval/strecha/fountain-P11 --methods aliked+lightglue-adaptive sift+nn

Each pair is matched once; the same matches are then measured as they are, refined, refined with those dropped whose
patches correlate by 0.8 or less, and refined with those dropped too whose descriptors have a cosine of 0.8 or less.
AUC@5 is of poses by PoseLib at 1 px, means over the seeds. Shares and medians are of the distances of all matches of a
set from the true epipolar geometry (Sampson), in pixels of the images as read. Times are CPU milliseconds of this
process a pair, without the reading of photos.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.truths import Posed
from photoglue.evaluation.jobs import Job, Settings, jobs_of
from photoglue.evaluation.matching import PairMatcher, ReadPair
from photoglue.evaluation.run import features_of
from photoglue.evaluation.solving import Task, solve
from photoglue.geometry.epipolar import fundamental_matrix, sampson_distance
from photoglue.limits import Subpixel, refine_matches
from photoglue.machine import version_line
from photoglue.metrics import auc
from photoglue.store import FeatureStore, MatchStore
from photoglue.structs import Matches

VARIANTS = {
    "as found": None,
    "refined": Subpixel(),
    "correlation > 0.8": Subpixel(min_correlation=0.8),
    "and cosine > 0.8": Subpixel(min_correlation=0.8, min_cosine=0.8),
}
HEAD = ("set (pairs)", "method", "matches", "AUC@5°", "AUC@10°", "AUC@20°", "≤ 0.5 px", "median px", "moved", "CPU ms")


def main() -> None:
    """Print a row for each set, method and variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="data sets with poses")
    parser.add_argument("--methods", nargs="+", default=["aliked+lightglue", "aliked+nn", "sift+lightglue"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-pairs", type=int, help="the first ones of each set; None: all")
    parser.add_argument("--out", type=Path, default=Path("runs/refinement"), help="features and matches, kept")
    args = parser.parse_args()
    print(version_line())
    (args.out / "features").mkdir(parents=True, exist_ok=True)
    settings = Settings(seeds=args.seeds, device="cpu")
    print(f"\n| {' | '.join(HEAD)} |\n|---|---{'|---:' * (len(HEAD) - 2)}|")
    for folder in args.data:
        dataset = load_dataset(folder, "relative_pose", all_pairs=True)
        for job in jobs_of([replace(dataset, pairs=dataset.pairs[: args.max_pairs])], args.methods, settings):
            read, matches = matched(replace(job, method=replace(job.method, refine=Subpixel())), args.out, settings)
            for name, options in VARIANTS.items():
                print(row(job, name, options, read, matches), flush=True)


def matched(job: Job, out: Path, settings: Settings) -> tuple[list[ReadPair], list[Matches]]:
    """All pairs with their photos, and their matches, which are kept."""
    pipeline = job.build(settings)
    features = features_of(job, lambda: pipeline, out, settings, lambda what, done, total: None)  # noqa: ARG005
    matcher, pairs = PairMatcher(job, settings.torch_device), job.dataset.pairs
    path = out / f"{features.stem}.{job.method.resolved_name(settings.torch_device).replace('/', '_')}.h5"
    with FeatureStore.open(features) as store, MatchStore.open(path, "a") as kept:
        read, found = matcher.read(store, pairs), []
        for pair, each in zip(pairs, read, strict=True):
            names, points = (pair.name0, pair.name1), [side.keypoints for side in each.features]
            if names not in kept:
                kept.write(*names, pipeline.matcher.match(*each.features).cpu())
            found.append(kept.read(*names, *points))
    return read, found


def row(job: Job, variant: str, options: Subpixel | None, read: Sequence[ReadPair], found: Sequence[Matches]) -> str:
    """A line of the table."""
    start = time.process_time()
    refined = list(found)
    if options is not None:
        refined = [
            refine_matches(*pair.views, matches, options=options, features=pair.features)
            for pair, matches in zip(read, found, strict=True)
            if pair.views is not None
        ]
    ms = 1000 * (time.process_time() - start) / len(found)
    errors = np.array([pose_errors(job, i, matches) for i, matches in enumerate(refined)])
    areas = np.mean([auc(errors[:, seed], (5, 10, 20)) for seed in range(errors.shape[1])], axis=0)
    distances = torch.cat([distances_of(job, i, matches) for i, matches in enumerate(refined)])
    both = zip(refined, found, strict=True)
    moved = torch.cat([(now.keypoints1 != before.keypoints1).any(dim=1)[now.indices[:, 1]] for now, before in both])
    cells = (
        f"{job.dataset.name} ({len(found)})",
        f"{job.method.name}, {variant}",
        f"{len(distances) / len(found):.0f}",
        *(f"{100 * area:.1f}" for area in areas),
        f"{100 * float((distances <= 0.5).double().mean()):.1f} %",
        f"{float(distances.median()):.3f}",
        f"{100 * float(moved.double().mean()):.0f} %",
        "–" if options is None else f"{ms:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def pose_errors(job: Job, number: int, matches: Matches) -> list[float]:
    """The errors of a pair's pose for each seed, degrees."""
    pair, sizes = job.dataset.pairs[number], job.dataset.sizes
    task = Task(
        benchmark="relative_pose",
        truth=pair.truth,
        matches=matches.numpy(),
        size0=sizes[pair.name0],
        size1=sizes[pair.name1],
        card=job.card,
    )
    return [values["pose_error_deg"] for values in solve(task)]


def distances_of(job: Job, number: int, matches: Matches) -> torch.Tensor:
    """How far the matches of a pair are from its true epipolar geometry, pixels."""
    truth = job.dataset.pairs[number].truth
    assert isinstance(truth, Posed)
    fundamental = fundamental_matrix(torch.from_numpy(truth.cam1_from_cam0), truth.camera0, truth.camera1)
    return sampson_distance(matches.points0, matches.points1, fundamental)


if __name__ == "__main__":
    main()
