"""From a map of scores to the best points, for export, without whole-number arithmetic: few runtimes have it."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

Points = tuple[Float[Tensor, "1 k 2"], Float[Tensor, "1 k"], Float[Tensor, "1 k d"]]
"""Keypoints (x, y) in pixels of the image, scores, and descriptors."""


def maxima(scores: Float[Tensor, "1 1 h w"], radius: int, rounds: int) -> Bool[Tensor, "1 1 h w"]:
    """As ``extractors.keypoints.iterated_maxima``, by max pooling."""

    def highest(values: Tensor) -> Tensor:
        return functional.max_pool2d(values, 2 * radius + 1, stride=1, padding=radius)

    found = scores == highest(scores)
    for _ in range(rounds):
        covered = highest(found.to(scores.dtype)) > 0
        remaining = torch.where(covered, 0.0, scores)
        found = found | ((remaining == highest(remaining)) & ~covered)
    return found


def last_place(length: int) -> Float[Tensor, "1"]:
    """One less than a length that may change. It has an axis, as OpenCV takes numbers without one for others."""
    return torch.arange(length, dtype=torch.float32).amax(dim=0, keepdim=True)


def held(places: Int64[Tensor, "*n"], length: int) -> Int64[Tensor, "*n"]:
    """Places in a list, with those beyond its ends moved to them: OpenCV has no Clip of whole numbers."""
    every = torch.arange(length)
    return torch.maximum(torch.minimum(places, every.amax(dim=0, keepdim=True)), every.amin(dim=0, keepdim=True))


def inside(scores: Float[Tensor, "1 1 h w"], border: int) -> Bool[Tensor, "h w"]:
    """True but for what lies within ``border`` pixels of the edge."""
    y, x = (torch.arange(scores.shape[axis], dtype=torch.float32) for axis in (2, 3))
    rows, columns = ((line >= border) & (line < line.amax(dim=0, keepdim=True) + 1 - border) for line in (y, x))
    return rows[:, None] & columns


def shown(image: Float[Tensor, "1 c h w"]) -> Bool[Tensor, ""]:
    """Whether an image is of more than a single colour."""
    spread = image.flatten(2).amax(dim=2) - image.flatten(2).amin(dim=2)
    return (spread > 1e-5).any()


def best_points(
    scores: Float[Tensor, "1 1 h w"], wanted: Bool[Tensor, "1 1 h w"], count: int, lowest: float
) -> tuple[Float[Tensor, "k 2"], Int64[Tensor, " k"], Float[Tensor, " k"]]:
    """The pixels with the highest scores of those that are wanted: (x, y), place in the flat map, score.

    Args:
        scores: Score of each pixel.
        wanted: Pixels that may be chosen.
        count: How many to choose.
        lowest: What the score of those becomes that are not wanted.
    """
    height, width = scores.shape[2:]
    # As many more, so that small images have enough of them.
    chosen = functional.pad(torch.where(wanted, scores, lowest).flatten(), (0, count), value=lowest)
    peaks, places = chosen.topk(count)
    places = held(places, height * width)
    x = torch.arange(width, dtype=torch.float32).expand(height, width).reshape(-1)[places]
    y = torch.arange(height, dtype=torch.float32)[:, None].expand(height, width).reshape(-1)[places]
    return torch.stack([x, y], dim=1), places, peaks


def sampled(
    maps: Float[Tensor, "1 c h w"], points: Float[Tensor, "n 2"], padding: str = "zeros"
) -> Float[Tensor, "n c"]:
    """The map's values at points in its own pixels, interpolated."""
    height, width = maps.shape[2:]
    extent = torch.cat([last_place(width), last_place(height)])
    grid = (2 * points / extent.clamp(min=1) - 1)[None, None]
    return functional.grid_sample(maps, grid, mode="bilinear", padding_mode=padding, align_corners=True)[0, :, 0].T
