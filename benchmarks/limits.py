"""What one pass finds of turned, small and large photos, and what is found when they are looked at again.

    python benchmarks/limits.py ../shared/data/eval/strecha/fountain-P11 --foreign ../shared/data/train_images/*.jpg \
        --large A.jpg B.jpg

Photo 1 of a pair with poses or a homography is turned, or pasted into foreign photos at a fraction of its size; a match
is right if it is within 3 px of its true epipolar line or place (3 · s / 2 px of the full photo, if s times smaller).
Large photos have no truth: inliers of a fundamental matrix are counted, within 2 px of their full size. Times are CPU
seconds of one thread, for everything but reading.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from photoglue import Matches, Pipeline
from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.truths import Planar, Posed, Truth
from photoglue.geometry.epipolar import fundamental_matrix, line_distances
from photoglue.geometry.homography import warp_points
from photoglue.image import Resize, load_image
from photoglue.limits.views import Masked, Turned
from photoglue.machine import version_line
from photoglue.solvers.poselib import verify
from photoglue.structs import Features

OFF: dict[str, Any] = {"rotation": "off", "zoom": "off", "tiles": "off"}
HEAD = ("case", "one pass: right / all", "CPU s", "looked at again: right / all", "CPU s", "what was done")


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a scene with poses")
    parser.add_argument("--pair", nargs=2, default=("0000.jpg", "0002.jpg"), help="two of its photos")
    parser.add_argument("--foreign", type=Path, nargs="*", default=[], help="photos to paste into")
    parser.add_argument("--scales", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--step", type=int, default=15, help="degrees from one angle to the next")
    parser.add_argument("--large", type=Path, nargs=2, action="append", default=[], help="two large photos")
    parser.add_argument("--features", default="aliked")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(version_line())
    print(f"\n| {' | '.join(HEAD)} |\n|---|{'---:|' * 4}---|")
    pipeline = Pipeline.pretrained(args.features)
    dataset = load_dataset(args.data, all_pairs=True)
    pair = next(each for each in dataset.pairs if {Path(each.name0).name, Path(each.name1).name} == set(args.pair))
    off = partial(distances, truth=pair.truth)
    image0, image1 = (load_image(dataset.folder / name) for name in (pair.name0, pair.name1))
    for angle in range(0, 360, args.step):
        turned(pipeline, image0, image1, angle, off)
    for path in args.foreign:
        for scale in args.scales:
            pasted(pipeline, image0, image1, (load_image(path), path.stem, scale), off)
    for photos in args.large:
        large(pipeline, load_image(photos[0]), load_image(photos[1]), f"{photos[0].stem} and {photos[1].stem}")


def distances(points0: Float[Tensor, "k 2"], points1: Float[Tensor, "k 2"], truth: Truth) -> Float64[Tensor, " k"]:
    """How far points of photo 1 are from the epipolar lines, or the places, of their partners, pixels."""
    if isinstance(truth, Planar):
        there = warp_points(points0.double(), torch.from_numpy(truth.image1_from_image0))
        errors: Tensor = (there - points1.double()).norm(dim=1)
        return errors
    assert isinstance(truth, Posed)
    fundamental = fundamental_matrix(torch.from_numpy(truth.cam1_from_cam0), truth.camera0, truth.camera1)
    return line_distances(points0, points1, fundamental)[:, 1]


def turned(
    pipeline: Pipeline,
    image0: Float[Tensor, "c h w"],
    image1: Float[Tensor, "c h w"],
    angle: int,
    off: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Photo 1 turned counterclockwise."""
    rest = (angle + 45) % 90 - 45
    masked = Masked.of(image1)
    way = Turned.by(masked, (angle - rest) // 90 % 4, float(rest))

    def right(matches: Matches) -> int:
        points = Features.from_arrays(matches.points1, torch.zeros(len(matches), 1), way.masked.size)
        return int((off(matches.points0, way.undo(points).keypoints) < 3).sum())

    seen = way.masked.photo.image * (1 if way.masked.mask is None else way.masked.mask)
    row(pipeline, f"turned by {angle}°", (image0, seen), right)


def pasted(
    pipeline: Pipeline,
    image0: Float[Tensor, "c h w"],
    image1: Float[Tensor, "c h w"],
    into: tuple[Float[Tensor, "c2 h2 w2"], str, int],
    off: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Photo 1 made smaller, in the middle of a foreign photo."""
    foreign, name, scale = into
    height, width = image1.shape[1:]
    small = width // scale, height // scale
    left, top = (width - small[0]) // 2, (height - small[1]) // 2
    sizes = Resize(original_size=(foreign.shape[2], foreign.shape[1]), resized_size=(width, height))
    far = sizes.apply(foreign).clone()
    resize = Resize(original_size=(width, height), resized_size=small)
    far[:, top : top + small[1], left : left + small[0]] = resize.apply(image1)

    def right(matches: Matches) -> int:
        there = resize.undo(matches.points1 - torch.tensor([left, top]))
        inside = ((there > -10) & (there < torch.tensor([width + 10, height + 10]))).all(dim=1)
        near = off(matches.points0, there) < 3 * max(1, scale / 2)
        return int((near & inside).sum())

    row(pipeline, f"{scale} times smaller, in {name}", (image0, far), right)


def large(pipeline: Pipeline, image0: Float[Tensor, "c h w"], image1: Float[Tensor, "c h w"], name: str) -> None:
    """Two photos much larger than what the extractor sees."""

    def right(matches: Matches) -> int:
        return len(verify(matches.points0, matches.points1, "fundamental", threshold_px=2.0))

    row(pipeline, f"{name}, {image0.shape[2]} × {image0.shape[1]}", (image0, image1), right)


def row(pipeline: Pipeline, name: str, images: tuple[Tensor, Tensor], right: Callable[[Matches], int]) -> None:
    """One pass, and all that is done by itself."""
    cells = []
    done = "nothing"
    for options in (OFF, {}):
        start = time.process_time()
        matches = pipeline.match(*images, **options)
        cells += [f"{right(matches)} / {len(matches)}", f"{time.process_time() - start:.2f}"]
        if matches.remedies is not None:
            told = matches.remedies
            angle = f" by {told.turned_deg:g}°" if told.turned_deg else ""
            tiles = f" of {told.tiles} pairs" if told.tiles else ""
            steady = f" with {told.features}" if told.features else ""
            done = ", ".join(told.applied) + angle + steady + tiles or "tried in vain"
    print(f"| {name} | {' | '.join(cells)} | {done} |", flush=True)


if __name__ == "__main__":
    main()
