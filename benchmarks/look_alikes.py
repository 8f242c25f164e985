"""How often halves of façades, which look alike and share nothing, are taken for the same thing.

    python benchmarks/look_alikes.py ../shared/data/train_images/urban100_*.jpg

Each photo is cut into a left and a right part, which share nothing, or 20 % or 40 % of what they show; the right part
is seen through a small random homography. "Taken" is an overlap that is likelier than not; of these, "and partnered"
have half of the points among their inliers, of a homography to 3 px, as inliers.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from photoglue import PairResult, Pipeline
from photoglue.geometry.homography import estimate_homography_dlt, warp_points
from photoglue.image import load_image
from photoglue.limits.look_alikes import LEAST_SHARE
from photoglue.machine import version_line

SHARED = (0.0, 0.2, 0.4)
"""How much of what a part shows the other one shows, too."""


def main() -> None:
    """Print a row for each overlap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=20, help="so many of them, evenly taken")
    parser.add_argument("--resize", type=int, default=512)
    parser.add_argument("--max-keypoints", type=int, default=768)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(version_line())
    print("\n| shared | pairs | taken | and partnered | with 15 inliers or more |\n|---|---:|---:|---:|---:|")
    pipeline = Pipeline.pretrained("aliked", resize=args.resize, max_keypoints=args.max_keypoints)
    photos = [args.photos[i * len(args.photos) // args.count] for i in range(args.count)]
    for shared in SHARED:
        found = [
            pipeline.run(*parts(load_image(photo), shared, seed), verify="homography", threshold_px=3.0)
            for seed, photo in enumerate(photos)
        ]
        print(row(shared, found), flush=True)


def parts(
    image: Float[Tensor, "c h w"], shared: float, seed: int
) -> tuple[Float[Tensor, "c h w0"], Float[Tensor, "c h w0"]]:
    """The left part of a photo, and the right one, whose corners are moved by up to a twentieth of its sides."""
    height, width = image.shape[1:]
    half = int(width / (2 - shared))
    right = image[:, :, width - half :]
    size = torch.tensor([float(half), float(height)])
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) * size
    moves = torch.from_numpy(np.random.default_rng(seed).uniform(-0.05, 0.05, (4, 2)).astype(np.float32)) * size
    homography = estimate_homography_dlt(corners, corners + moves)
    assert homography is not None
    y, x = torch.meshgrid(torch.arange(height), torch.arange(half), indexing="ij")
    places = warp_points(torch.stack([x, y], dim=-1).view(-1, 2).float(), homography)
    grid = (2 * places / (size - 1) - 1).view(1, height, half, 2)
    sampled = torch.nn.functional.grid_sample(right[None], grid, padding_mode="reflection", align_corners=True)
    return image[:, :, :half], sampled[0].clamp(0, 1)


def row(shared: float, found: Sequence[PairResult]) -> str:
    """How many pairs were taken for the same thing."""
    taken = [each for each in found if (each.overlap_probability or 0) > 0.5]
    partnered = [each for each in taken if each.partnered_share is not None and each.partnered_share >= LEAST_SHARE]
    inliers = [each for each in found if each.verification is not None and len(each.verification) >= 15]
    return f"| {shared:.0%} | {len(found)} | {len(taken)} | {len(partnered)} | {len(inliers)} |"


if __name__ == "__main__":
    main()
