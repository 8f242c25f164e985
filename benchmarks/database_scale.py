"""How long COLMAP's database of very many photos takes to write, and how much memory.

    python benchmarks/database_scale.py --photos 1000 --neighbors 15

Stores of made-up photos are written first (kept in --out): each has --keypoints random points with 128 numbers, and
matches with so many photos that follow it, 700 a pair, of which 500 agree with a geometry. What is measured is
`photoglue.sfm.write_database` alone, in a process that has done nothing else if the stores were there already.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch

from photoglue.machine import version_line
from photoglue.sfm import write_database
from photoglue.sfm.cameras import Cameras, ColmapCamera
from photoglue.sfm.verified import PairKind, VerifiedPair, VerifiedStore
from photoglue.store import FeatureStore, MatchStore
from photoglue.structs import Features, Matches

SIZE = (1024, 768)
MATCHES, INLIERS = 700, 500


def main() -> None:
    """Print seconds and memory of writing a database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--neighbors", type=int, default=15)
    parser.add_argument("--keypoints", type=int, default=4096)
    parser.add_argument("--out", type=Path, default=Path("runs/database_scale"), help="the stores, kept")
    args = parser.parse_args()
    names = [f"{number:06d}.jpg" for number in range(args.photos)]
    pairs = [(name, after) for i, name in enumerate(names) for after in names[i + 1 : i + 1 + args.neighbors]]
    folder = args.out / f"{args.photos}_{args.neighbors}_{args.keypoints}"
    stores = {name: folder / f"{name}.h5" for name in ("features", "matches", "verified")}
    if not folder.exists():
        made = folder.with_name(f"{folder.name}.partial")
        make_stores(made, names, pairs, args.keypoints)
        made.rename(folder)
    camera = ColmapCamera(model="SIMPLE_RADIAL", image_size=SIZE, params=(900.0, 512.0, 384.0, 0.0), prior=False)
    cameras = Cameras(cameras=(camera,), number_of=dict.fromkeys(names, 0))
    wall, cpu = time.perf_counter(), time.process_time()
    write_database(folder / "database.db", **stores, cameras=cameras, pairs=pairs)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = (folder / "database.db").stat().st_size / 1e6
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(version_line())
    print(f"{len(names)} photos, {len(pairs)} pairs: {size:.0f} MB in {wall:.1f} s ({cpu:.1f} s of CPU)")
    print(f"largest memory of this process, torch included: {memory:.2f} GiB")


def make_stores(folder: Path, names: list[str], pairs: list[tuple[str, str]], count: int) -> None:
    """Write features, matches and verified pairs of photos that show nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    points = [torch.rand(count, 2) * torch.tensor(SIZE) for _ in names]
    with FeatureStore.open(folder / "features.h5", "w") as features:
        for name, keypoints in zip(names, points, strict=True):
            descriptors = torch.nn.functional.normalize(torch.randn(count, 128), dim=1)
            scores = torch.rand(count)
            features.write(name, Features(keypoints=keypoints, descriptors=descriptors, scores=scores, image_size=SIZE))
    with (
        MatchStore.open(folder / "matches.h5", "w") as matches,
        VerifiedStore.open(folder / "verified.h5", "w") as verified,
    ):
        for name0, name1 in pairs:
            both = [torch.randperm(count)[: min(MATCHES, count)] for _ in range(2)]
            matches.write(
                name0, name1, matched(both[0], both[1], points[names.index(name0)], points[names.index(name1)])
            )
            inliers = torch.stack(both, dim=1)[:INLIERS].numpy().astype(np.uint32)
            geometry = VerifiedPair(
                kind=PairKind.UNCALIBRATED, inliers=inliers, n_matches=len(both[0]), fundamental=np.eye(3)
            )
            verified.write(name0, name1, geometry)


def matched(
    indices0: torch.Tensor, indices1: torch.Tensor, keypoints0: torch.Tensor, keypoints1: torch.Tensor
) -> Matches:
    """Matches of the points of these numbers."""
    partners = [torch.full((len(points),), -1) for points in (keypoints0, keypoints1)]
    scores = [torch.zeros(len(points)) for points in (keypoints0, keypoints1)]
    for i, (own, other) in enumerate(((indices0, indices1), (indices1, indices0))):
        partners[i][own], scores[i][own] = other, 0.9
    return Matches(
        matches0=partners[0],
        matches1=partners[1],
        matching_scores0=scores[0],
        matching_scores1=scores[1],
        keypoints0=keypoints0,
        keypoints1=keypoints1,
    )


if __name__ == "__main__":
    main()
