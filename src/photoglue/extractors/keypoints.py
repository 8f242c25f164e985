"""What detectors share: local maxima, choosing the best, sampling a map at points."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from photoglue.native import extract as native


def local_maxima(scores: Float[Tensor, "b h w"], radius: int) -> Bool[Tensor, "b h w"]:
    """True where a score is the highest within ``radius`` pixels in each axis; ties all count."""
    if native.usable(scores):
        return _native_maxima(scores.contiguous(), radius, 0, -math.inf)
    return scores == window_maximum(scores, radius)


def iterated_maxima(
    scores: Float[Tensor, "b h w"], radius: int, rounds: int = 2, threshold: float = -math.inf
) -> Bool[Tensor, "b h w"]:
    """Local maxima, then ``rounds`` times those of what lies outside the windows of the points found so far.

    A plain local maximum suppresses a point even if its suppressor is itself suppressed by a third; the extra
    rounds bring such points back. Scores are at least 0. Only points whose score is above the threshold are returned:
    lower ones suppress none of them.

    Reference: SuperPoint's and ALIKED's released inference code.
    """
    if native.usable(scores):
        return _native_maxima(scores.contiguous(), radius, rounds, threshold)
    found = local_maxima(scores, radius)
    for _ in range(rounds):
        covered = window_maximum(found.to(scores.dtype), radius) > 0
        remaining = scores.masked_fill(covered, 0)
        found = found | (local_maxima(remaining, radius) & ~covered)
    return found if threshold == -math.inf else found & (scores > threshold)


def _native_maxima(scores: Float[Tensor, "b h w"], radius: int, rounds: int, threshold: float) -> Bool[Tensor, "b h w"]:
    found = torch.empty_like(scores, dtype=torch.bool)
    height, width = scores.shape[1:]
    for one, its in zip(scores, found, strict=True):
        sizes = {"height": height, "width": width, "radius": radius, "rounds": rounds}
        native.run(native.Maxima, scores=one, found=its, threshold=threshold, **sizes)
    return found


def window_maximum(maps: Float[Tensor, "b h w"], radius: int) -> Float[Tensor, "b h w"]:
    """The maximum over a square window of 2·radius + 1 pixels, one axis after the other."""
    for dim in (2, 1):
        maps = _line_maximum(maps, radius, dim)
    return maps


def _line_maximum(maps: Float[Tensor, "b h w"], radius: int, dim: int) -> Float[Tensor, "b h w"]:
    """The maximum over 2·radius + 1 pixels along one axis.

    By doubling: of the maxima over 2 pixels those over 4, and so on; two that overlap make the last step. On a CPU
    some ten times faster than max pooling.
    """
    length, window, reach = maps.shape[dim], 2 * radius + 1, 1
    longest = functional.pad(maps, (0,) * (2 * (2 - dim)) + (radius, radius), value=float("-inf"))
    while reach < window:
        step = min(reach, window - reach)
        count = longest.shape[dim] - step
        longest = torch.maximum(longest.narrow(dim, 0, count), longest.narrow(dim, step, count))
        reach += step
    assert longest.shape[dim] == length
    return longest


def without_border(wanted: Bool[Tensor, "b h w"], border: int) -> Bool[Tensor, "b h w"]:
    """``wanted`` but for what lies within ``border`` pixels of the edge, which becomes False."""
    if border == 0:
        return wanted
    inside = torch.zeros_like(wanted)
    inside[:, border:-border, border:-border] = wanted[:, border:-border, border:-border]
    return inside


def pixels_within(wanted: Bool[Tensor, "h w"], border: int) -> Int64[Tensor, "n 2"]:
    """Pixels (x, y), row by row, that are True and not within ``border`` pixels of the edge."""
    height, width = wanted.shape
    inside = wanted[border : height - border, border : width - border]
    flat = inside.flatten()
    # On a CPU NumPy finds them in a third of the time.
    found = torch.from_numpy(np.flatnonzero(flat.numpy())) if flat.is_cpu else flat.nonzero()[:, 0]
    columns = max(inside.shape[1], 1)
    return torch.stack([found % columns, found // columns], dim=1) + border


def without_blank(wanted: Bool[Tensor, "b h w"], images: Float[Tensor, "b c h2 w2"]) -> Bool[Tensor, "b h w"]:
    """``wanted`` but for images of a single colour, which become False everywhere.

    Such an image shows nothing, but a network that pads answers to its edges, and instance norms raise rounding errors
    to full contrast. Less than the step of 16-bit pixels counts as equal, since resizing rounds too.
    """
    if images.is_cpu:  # a look at few pixels mostly shows that there is something
        darkest, brightest = images[:, :, ::16, ::16].flatten(2).aminmax(dim=2)
        if bool((brightest - darkest > 1e-5).any(dim=1).all()):
            return wanted
    darkest, brightest = images.flatten(2).aminmax(dim=2)
    return wanted & (brightest - darkest > 1e-5).any(dim=1)[:, None, None]


def best(scores: Float[Tensor, " n"], count: int | None) -> Int64[Tensor, " k"]:
    """Indices of the ``count`` highest scores (None: all), best first; equal scores in their order."""
    return torch.argsort(scores, descending=True, stable=True)[:count]


def sample_bilinear(
    maps: Float[Tensor, "c h w"], points: Float[Tensor, "n 2"], *, padding_mode: str = "zeros"
) -> Float[Tensor, "n c"]:
    """The map's values at points in its own pixels (pixel centres at whole numbers), interpolated."""
    height, width = maps.shape[1:]
    # A map one pixel wide has no extent to normalise by: all points lie on that pixel.
    extent = points.new_tensor([max(width - 1, 1), max(height - 1, 1)])
    normalised = 2 * points / extent - 1
    grid = normalised.to(maps.dtype)[None, None]
    values = functional.grid_sample(maps[None], grid, mode="bilinear", padding_mode=padding_mode, align_corners=True)
    return values[0, :, 0].T
