"""The parts of ALIKED's network, arranged so that little is computed at full size.

The released code upsamples four maps to the full size, joins them into one of 128 channels (0.4 GB for a photo of
1024 × 768 pixels) and normalises it; most of its time goes there. The same numbers can be had for less:

- The score head begins with a product of the joined channels and a matrix of 8 rows. Product and upsampling commute:
  only 8 channels need to be upsampled.
- Descriptors need the joined map at a few pixels around each point. It is computed at those pixels.
- What is computed at full size is computed in strips, so that what lies between two layers stays in a CPU's cache.

In half precision are: the map of block 1; the convolutions of blocks 1 and 2, but for the first, which sees the photo;
and the products of the two heads, but for the small convolutions that end in the score. Sums, gates, norms, offsets and
what is interpolated are in single precision.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.extractors.deform_conv import (
    DeformConv,
    bilinear_corners,
    empty_map,
    linear,
    pixel_table,
    pointwise,
    strips,
    weighted_rows,
)
from photoglue.extractors.derived import Derived

STRIP = 32  # rows that each thread computes at once: 2 to 4 MB of a map


@dataclass(frozen=True, kw_only=True)
class JoinedMap:
    """The four maps that make up the joined map of an image, not yet upsampled. In memory their channels come last."""

    fine: Float[Tensor, "1 c h w"]
    """Result of block 1 for the padded image; its floating type is that of the heads' products."""
    fine_weight: Float[Tensor, "q c 1 1"]
    """Kernel that reduces ``fine`` to a quarter of the joined map, before a gate; of the same floating type."""
    coarse: tuple[Float[Tensor, "1 q h2 w2"], Float[Tensor, "1 q h8 w8"], Float[Tensor, "1 q h32 w32"]]
    """Results of blocks 2 to 4, each reduced to a quarter of the joined map."""
    image_size: tuple[int, int]
    """Size (width, height) of the image without the padding, pixels."""
    corner: tuple[int, int]
    """Position (x, y) of the first pixel of the image in the padded one."""
    native: bool = False
    """Whether the native kernels made it and can go on with it."""

    def at(self, x: Int64[Tensor, " p"], y: Int64[Tensor, " p"]) -> Float[Tensor, "p d"]:
        """The joined map at pixels of the image."""
        height, width = self.fine.shape[2:]
        x, y = x + self.corner[0], y + self.corner[1]
        fine = pixel_table(self.fine).index_select(0, y * width + x)
        quarters = [gate(linear(fine, self.fine_weight.flatten(1)).float())]
        across, down = x.float(), y.float()
        for coarse in self.coarse:
            small_height, small_width = coarse.shape[2:]
            corners, shares = bilinear_corners(
                across * ((small_width - 1) / (width - 1)),
                down * ((small_height - 1) / (height - 1)),
                small_width,
                small_height,
            )
            quarters.append(weighted_rows(pixel_table(coarse), corners, shares))
        return torch.cat(quarters, dim=1)

    def sample(self, x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The joined map, its pixels brought to unit length, interpolated at points of the image; zero outside."""
        width, height = self.image_size
        # Within a frame of one pixel around the image, onto which everything outside is moved.
        corners, shares = bilinear_corners(
            (x + 1).clamp(0, width + 1), (y + 1).clamp(0, height + 1), width + 2, height + 2
        )
        corner_x, corner_y = corners % (width + 2) - 1, corners // (width + 2) - 1
        inside_x, inside_y = corner_x.clamp(0, width - 1), corner_y.clamp(0, height - 1)
        pixels = self.at(inside_x.flatten(), inside_y.flatten())
        # Dividing the shares costs less than dividing the pixels.
        shares = shares / torch.linalg.vector_norm(pixels, dim=1).clamp_min(1e-12).view_as(shares)
        shares = shares.masked_fill((inside_x != corner_x) | (inside_y != corner_y), 0)
        return weighted_rows(pixels, torch.arange(len(pixels), device=pixels.device).view(-1, 4), shares)


class Block(nn.Module):
    """Two 3 × 3 convolutions with batch norms and gates, and a shortcut around them."""

    def __init__(self, in_channels: int, channels: int, *, shortcut: bool = True, deformable: bool = False) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, channels, deformable)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, deformable)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = nn.Conv2d(in_channels, channels, 1) if shortcut else None
        self.derived = Derived()

    def forward(self, maps: Float[Tensor, "1 c h w"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "1 d h w"]:
        """The block's result, at the same size, in single precision; ``dtype`` is that of the convolutions."""
        # Half precision would round a photo to fewer shades than it has.
        hidden = self._normed(1, maps, torch.float32 if maps.shape[1] == 3 else dtype)
        hidden = self._normed(2, gate(hidden), dtype)
        if self.downsample is not None:
            weight, bias = self.downsample.weight, cast("Tensor", self.downsample.bias)
            kernel = self.derived.get(("down", dtype), (weight, bias), lambda: (weight.to(dtype), bias.to(dtype)))
            hidden += pointwise(maps.to(dtype), *kernel)
        return gate(hidden)

    def folded(
        self, number: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Float[Tensor, "d c 3 3"], Float[Tensor, " d"]]:
        """Weight and bias of the first or second convolution with its batch norm folded into them."""
        conv, norm = self.conv(number), cast("nn.BatchNorm2d", getattr(self, f"bn{number}"))
        weight = conv.regular_conv.weight if isinstance(conv, DeformConv) else conv.weight
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)

        def fold() -> tuple[Tensor, Tensor]:
            scale = norm.weight / (variance + norm.eps).sqrt()
            return (weight * scale[:, None, None, None]).to(dtype), (norm.bias - mean * scale).to(dtype)

        return self.derived.get((number, dtype), (weight, norm.weight, norm.bias, mean, variance), fold)

    def conv(self, number: int) -> nn.Conv2d | DeformConv:
        """The first or second convolution."""
        return cast("nn.Conv2d | DeformConv", getattr(self, f"conv{number}"))

    def _normed(self, number: int, maps: Float[Tensor, "1 c h w"], dtype: torch.dtype) -> Float[Tensor, "1 d h w"]:
        """A convolution and its batch norm."""
        conv, kernel = self.conv(number), self.folded(number, dtype)
        if isinstance(conv, DeformConv):
            return conv.convolve(maps, *kernel)
        return functional.conv2d(maps.to(dtype), *kernel, padding=1).float()

    def in_strips(
        self,
        maps: Float[Tensor, "1 c h w"],
        shrinkage: int,
        reduction: nn.Conv2d | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Float[Tensor, "1 q h w"], Float[Tensor, "1 d h2 w2"]]:
        """The block's result twice: reduced by another convolution and a gate, and averaged over square cells.

        Only for blocks that are not deformable, which look further than to the next pixel.

        Args:
            maps: Maps whose sides are multiples of ``shrinkage``.
            shrinkage: Side of a cell, pixels.
            reduction: Convolution that reduces the first result; None: that is the result as it is, in ``dtype``.
            dtype: Floating type of the convolutions.
        """
        height, width = maps.shape[2:]
        channels = self.bn2.num_features
        kept_channels, kept_type = (channels, dtype) if reduction is None else (reduction.out_channels, maps.dtype)
        kept = empty_map(maps, kept_channels, height, width, kept_type)
        averaged = empty_map(maps, channels, height // shrinkage, width // shrinkage, maps.dtype)
        for first, last in strips(maps, STRIP):
            start = max(first - 2, 0)  # each of the convolutions looks one pixel further
            strip = self(maps[:, :, start : last + 2], dtype)[:, :, first - start : last - start]
            averaged[:, :, first // shrinkage : last // shrinkage] = functional.avg_pool2d(strip, shrinkage)
            kept[:, :, first:last] = strip if reduction is None else gate(pointwise(strip, reduction.weight))
        return kept, averaged


def gate(maps: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """SELU of some maps, computed in place."""
    if maps.requires_grad or not maps.is_cpu:
        return functional.selu_(maps)
    # As torch's, but by way of exp2: on a CPU torch's own takes twice as long.
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    below = maps.clamp(max=0).mul_(1 / math.log(2)).exp2_().sub_(1)
    return maps.clamp_(min=0).add_(below, alpha=alpha).mul_(scale)


def _conv(in_channels: int, channels: int, deformable: bool) -> nn.Conv2d | DeformConv:
    return (
        DeformConv(in_channels, channels) if deformable else nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    )
