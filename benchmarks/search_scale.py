"""How long a search among very many photos takes, and how large the index is.

    python benchmarks/search_scale.py ../shared/data/retrieval/ie_tower/images --photos 10000

The photos of a folder are indexed (kept in --out); then vectors are added until there are as many as asked for. Each of
them takes the part of every VLAD centre from another photo of the folder, so that it looks like one of these and shows
nothing. "load": reading the file of the index. "query": one search of the index in memory. "photo to answer": all that
`photoglue search PHOTO --in index.h5` does after its imports: index, networks, the photo, its vector, the search; and
"the next photo": the same with index given and the networks loaded before. Seconds of wall clock and of CPU, medians.
"undisturbed": of the first ten results of photos of the folder, the share that the added vectors did not drive out.
"""

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from photoglue.machine import version_line
from photoglue.retrieval import PhotoIndex
from photoglue.sfm import index_photos, search_photos

CENTRES = 128
"""Of VLAD: each has 128 numbers of a vector."""
TOP = 10
HEAD = ("what", "wall s", "CPU s")


def main() -> None:
    """Print the size of the index and a row for each step of a search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="photos")
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--features", default="aliked")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="None: as torch chooses")
    parser.add_argument("--out", type=Path, default=Path("runs/search_scale"), help="the indexes, kept")
    args = parser.parse_args()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"{version_line()}, {torch.get_num_threads()} threads")
    real = index_photos(args.folder, args.out / "real.h5", features=args.features)
    large = with_others(real, args.photos)
    path = args.out / "large.h5"
    large.save(path)
    print(f"\n{len(real)} photos and {len(large) - len(real)} others: {path.stat().st_size / 1e6:.1f} MB")
    print(f"\n| {' | '.join(HEAD)} |\n|---|---:|---:|")
    photos = [Path(real.root) / name for name in real.names[:: max(1, len(real) // args.rounds)][: args.rounds]]
    queries = real.vectors(0, args.rounds)
    row("load", [lambda: PhotoIndex.load(path)] * args.rounds)
    row("query", [lambda q=query: large.search(q[None], large.made_by, TOP) for query in queries])  # type: ignore[misc]
    row("photo to answer", [lambda p=photo: search_photos(p, path, top=TOP) for photo in photos])  # type: ignore[misc]
    row("the next photo", [lambda p=photo: search_photos(p, large, top=TOP) for photo in photos])  # type: ignore[misc]
    print(f"\nundisturbed: {undisturbed(real, large):.1%}")
    print(f"memory at the most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def with_others(real: PhotoIndex, count: int) -> PhotoIndex:
    """The index with vectors that show nothing, made of pieces of its own."""
    random = np.random.default_rng(0)
    blocks = real.vectors(0, len(real)).reshape(len(real), CENTRES, -1)
    more = max(0, count - len(real))
    names = [f"none-{i}.jpg" for i in range(more)]
    parts = [torch.zeros(0, real.codes.shape[1])]
    for first in range(0, more, 1024):
        donors = torch.from_numpy(random.integers(len(real), size=(min(1024, more - first), CENTRES)))
        parts.append(blocks[donors, torch.arange(CENTRES)].flatten(1))
    others = PhotoIndex.of_vectors(names, torch.cat(parts), real.made_by)
    return replace(
        real,
        names=(*real.names, *others.names),
        codes=torch.cat([real.codes, others.codes]),
        scales=torch.cat([real.scales, others.scales]),
        digests=(),
    )


def undisturbed(real: PhotoIndex, large: PhotoIndex) -> float:
    """The share of the first ten of all real photos that are still among the first ten."""
    queries = real.vectors(0, len(real))
    before = real.search(queries, real.made_by, TOP).rows
    after = large.search(queries, real.made_by, TOP).rows  # the real ones are the first rows
    return float((before[:, :, None] == after[:, None]).any(dim=2).double().mean())


def row(what: str, calls: list[Callable[[], object]]) -> None:
    """A line of the table."""
    wall, cpu = [], []
    for call in calls:
        start, used = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    print(f"| {what} | {median(wall):.2f} | {median(cpu):.2f} |", flush=True)


if __name__ == "__main__":
    main()
