"""What the convolutions of DISK's way up see: two maps, normalised, joined and gated where they are asked for."""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from photoglue.extractors.deform_conv import bilinear_corners, pixel_table, weighted_rows

Norm: TypeAlias = tuple[Float[Tensor, "1 c 1 1"], Float[Tensor, "1 c 1 1"]]
"""Factor and summand of an instance norm."""


@dataclass(frozen=True, kw_only=True)
class Joined:
    """The input of a convolution of the way up: the map from below at twice its size, then the one beside it.

    Both are normalised and gated where they are asked for.
    """

    below: Float[Tensor, "1 c h2 w2"]
    """The map of half the size, as it came from its convolution."""
    beside: Float[Tensor, "1 s h w"]
    """The map of this size from the way down, as it came from its convolution."""
    norm_below: Norm
    """Factor and summand of the instance norm of ``below``."""
    norm_beside: tuple[Float[Tensor, "1 s 1 1"], Float[Tensor, "1 s 1 1"]]
    """Factor and summand of the instance norm of ``beside``."""
    slopes: Float[Tensor, " k"]
    """Factors of the gate for negative values, one a channel."""
    native: bool = False
    """Whether the native kernels made it and can go on with it."""

    def rows(self, first: int, last: int) -> Float[Tensor, "1 k rows w"]:
        """Rows from ``first`` to the one before ``last``, in single precision."""
        larger = doubled(normed(self.below, self.norm_below, *around(first, last, self.below)), first, last)
        return self._gated(torch.cat([larger, normed(self.beside, self.norm_beside, first, last)], dim=1))

    def at(self, x: Int64[Tensor, " p"], y: Int64[Tensor, " p"]) -> Float[Tensor, "p k"]:
        """The values at pixels, in single precision."""
        height, width = self.below.shape[2:]
        corners, shares = bilinear_corners(
            (x / 2 - 0.25).clamp(0, width - 1), (y / 2 - 0.25).clamp(0, height - 1), width, height
        )
        # Shares are products of quarters: exact in half precision.
        larger = weighted_rows(pixel_table(self.below), corners, shares.to(self.below.dtype))
        beside = pixel_table(self.beside).index_select(0, y * self.beside.shape[3] + x)
        both = [
            torch.addcmul(shift.flatten(), values.float(), factor.flatten())
            for values, (factor, shift) in ((larger, self.norm_below), (beside, self.norm_beside))
        ]
        return self._gated(torch.cat(both, dim=1))

    def _gated(self, values: Float[Tensor, "n k *size"]) -> Float[Tensor, "n k *size"]:
        return functional.prelu(values, self.slopes)


def normed(
    maps: Float[Tensor, "1 c h w"],
    norm: tuple[Float[Tensor, "1 c 1 1"], Float[Tensor, "1 c 1 1"]],
    first: int,
    last: int,
) -> Float[Tensor, "1 c rows w"]:
    """Rows of a map, normalised, in single precision."""
    return torch.addcmul(norm[1], maps[:, :, first:last].float(), norm[0])


def around(first: int, last: int, below: Float[Tensor, "1 c h2 w2"]) -> tuple[int, int]:
    """First row, and the one after the last, of those that rows ``first`` to ``last`` of a doubled map lie between."""
    return max((first - 1) // 2, 0), min(last // 2 + 1, below.shape[2])


def doubled(rows: Float[Tensor, "1 c rows2 w2"], first: int, last: int) -> Float[Tensor, "1 c rows w"]:
    """Rows of a map at twice its size, interpolated.

    Args:
        rows: Rows of the map, from and to where ``around`` says.
        first: First row of the larger map.
        last: Row after the last of the larger map.
    """
    larger = functional.interpolate(rows, scale_factor=2, mode="bilinear", align_corners=False)
    start = first - 2 * max((first - 1) // 2, 0)
    return larger[:, :, start : start + last - first]
