"""What the estimator's threshold and the image size do to a set of posed pairs, and how good its truth looks.

    python benchmarks/thresholds.py ../shared/data/eval/scannet15 --resize 640 1024 1296 --threshold-px 1 2 4

ALIKED + LightGlue at full depth, PoseLib, 5 seeds. The first table has the AUC of all pairs; the others look at single
pairs: how their matches agree with the true epipolar geometry, and what the errors of rotation and translation are.
Distances are to epipolar lines, in pixels of the images as read: a wrong match can lie near its line, a right one can
not lie far from it unless the truth is off. "fit E" and "fit F" are the shares of the matches within 1 px of the best
essential and fundamental matrix that PoseLib finds for them: if many fit E, the intrinsics are good, and what is off is
the true pose; if many more fit F, the intrinsics or the lens are to blame.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from photoglue.datasets.base import DataSet
from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.truths import Posed
from photoglue.evaluation.jobs import Job, Settings, jobs_of
from photoglue.evaluation.matching import PairMatcher
from photoglue.evaluation.run import features_of
from photoglue.evaluation.solving import Task, solve
from photoglue.geometry.epipolar import fundamental_matrix, symmetric_epipolar_distance
from photoglue.machine import version_line
from photoglue.metrics import auc
from photoglue.solvers.poselib import verify
from photoglue.store import FeatureStore
from photoglue.structs import Matches

AUC_DEG = (5, 10, 20)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set with poses")
    parser.add_argument("--method", default="aliked+lightglue")
    parser.add_argument("--resize", nargs="+", type=int, default=[640, 1024, 1296], help="long side, pixels")
    parser.add_argument("--threshold-px", nargs="+", type=float, default=[1.0, 2.0, 4.0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/thresholds"), help="features, kept between runs")
    args = parser.parse_args()
    print(version_line())
    (args.out / "features").mkdir(parents=True, exist_ok=True)
    dataset = load_dataset(args.data, "relative_pose", all_pairs=True)
    settings = Settings(seeds=args.seeds, device="cpu")
    print(f"\n| long side | {' | '.join(f'{t:g} px' for t in args.threshold_px)} |")
    print("|---:|" + "---|" * len(args.threshold_px))
    rows: dict[int, list[str]] = {}
    for side in args.resize:
        (job,) = jobs_of([dataset], [args.method], settings)
        job = replace(job, protocol=replace(job.protocol, resize=side), card=replace(job.card, resize=side))
        matches = matched(job, args.out, settings)
        errors = {t: pose_errors(job, matches, t) for t in args.threshold_px}
        print(f"| {side} | {' | '.join(shown(table) for table in errors.values())} |", flush=True)
        rows[side] = pair_rows(dataset, matches, errors)
    for side, lines in rows.items():
        heads = " | ".join(f"R, t error at {t:g} px, °" for t in args.threshold_px)
        print(f"\nlong side {side}\n\n| pair | rotation, ° | matches | ≤ 2 px | ≤ 5 px | fit E | fit F | {heads} |")
        print("|---|---:|---:|---:|---:|---:|---:|" + "---:|" * len(args.threshold_px))
        print("\n".join(lines))


def matched(job: Job, out: Path, settings: Settings) -> list[Matches]:
    """Matches of all pairs, in pixels of the images as read."""
    pipeline = job.build(settings)
    features = features_of(job, lambda: pipeline, out, settings, lambda what, done, total: None)  # noqa: ARG005
    matcher = PairMatcher(job, settings.torch_device)
    with FeatureStore.open(features) as store:
        return matcher.match(pipeline, matcher.read(store, job.dataset.pairs))


def pose_errors(job: Job, matches: Sequence[Matches], threshold_px: float) -> np.ndarray:
    """(pairs, seeds, 3): errors of pose, rotation and translation, degrees."""
    names = ("pose_error_deg", "rotation_error_deg", "translation_error_deg")
    card = replace(job.card, threshold_px=threshold_px)
    sizes = job.dataset.sizes
    tasks = [
        Task(benchmark="relative_pose", truth=pair.truth, matches=found.numpy(), size0=sizes[pair.name0],
             size1=sizes[pair.name1], card=card)
        for pair, found in zip(job.dataset.pairs, matches, strict=True)
    ]  # fmt: skip
    return np.array([[[values[name] for name in names] for values in solve(task)] for task in tasks])


def shown(errors: np.ndarray) -> str:
    """AUC@5/10/20, means over the seeds, with the deviation of the last."""
    areas = np.array([auc(errors[:, seed, 0], AUC_DEG) for seed in range(errors.shape[1])]) * 100
    text = " / ".join(f"{value:.1f}" for value in areas.mean(axis=0))
    return text if len(areas) == 1 else f"{text} (± {areas.std(axis=0, ddof=1)[-1]:.1f})"


def pair_rows(dataset: DataSet, matches: Sequence[Matches], errors: dict[float, np.ndarray]) -> list[str]:
    """A line of the second table for each pair; errors are medians over the seeds."""
    lines = []
    for i, (pair, found) in enumerate(zip(dataset.pairs, matches, strict=True)):
        assert isinstance(pair.truth, Posed)
        pose = torch.from_numpy(pair.truth.cam1_from_cam0)
        fundamental = fundamental_matrix(pose, pair.truth.camera0, pair.truth.camera1)
        distances = symmetric_epipolar_distance(found.points0, found.points1, fundamental).numpy()
        near = [f"{(distances < limit).mean():.0%}" if len(distances) else "–" for limit in (2, 5)]
        near += [f"{share:.0%}" for share in fits(pair.truth, found)]
        angle = np.degrees(np.arccos(np.clip((np.trace(pair.truth.cam1_from_cam0[:3, :3]) - 1) / 2, -1, 1)))
        middle = [np.median(table[i], axis=0) for table in errors.values()]
        cells = [f"{rotation:.0f}, {translation:.0f}" for _, rotation, translation in middle]
        name = Path(pair.name0).stem.split("_frame")[0]
        lines.append(f"| {name} | {angle:.0f} | {len(found)} | {' | '.join([*near, *cells])} |")
    return lines


def fits(truth: Posed, found: Matches) -> list[float]:
    """Shares of the matches that agree with one essential, and one fundamental matrix."""
    points = (found.points0, found.points1)
    essential = verify(*points, "essential", camera0=truth.camera0, camera1=truth.camera1, threshold_px=1.0)
    fundamental = verify(*points, "fundamental", threshold_px=1.0)
    return [len(each) / max(len(found), 1) for each in (essential, fundamental)]


if __name__ == "__main__":
    with torch.no_grad():
        main()
