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

_STRIP = 32  # rows that each thread computes at once: 2 to 4 MB of a map
_CHUNK = 512  # points described at once: 16 MB of joined pixels; from 32 MB on each allocation asks the system anew


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
        self._derived = Derived()

    def forward(self, maps: Float[Tensor, "1 c h w"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "1 d h w"]:
        """The block's result, at the same size, in single precision; ``dtype`` is that of the convolutions."""
        # Half precision would round a photo to fewer shades than it has.
        hidden = self._normed("1", maps, torch.float32 if maps.shape[1] == 3 else dtype)
        hidden = self._normed("2", gate(hidden), dtype)
        if self.downsample is not None:
            weight, bias = self.downsample.weight, cast("Tensor", self.downsample.bias)
            kernel = self._derived.get(("down", dtype), (weight, bias), lambda: (weight.to(dtype), bias.to(dtype)))
            hidden += pointwise(maps.to(dtype), *kernel)
        return gate(hidden)

    def _normed(self, number: str, maps: Float[Tensor, "1 c h w"], dtype: torch.dtype) -> Float[Tensor, "1 d h w"]:
        """A convolution and its batch norm, the norm folded into the weights."""
        conv = cast("nn.Conv2d | DeformConv", getattr(self, f"conv{number}"))
        norm = cast("nn.BatchNorm2d", getattr(self, f"bn{number}"))
        weight = conv.regular_conv.weight if isinstance(conv, DeformConv) else conv.weight
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)

        def fold() -> tuple[Tensor, Tensor]:
            scale = norm.weight / (variance + norm.eps).sqrt()
            return (weight * scale[:, None, None, None]).to(dtype), (norm.bias - mean * scale).to(dtype)

        sources = (weight, norm.weight, norm.bias, mean, variance)
        folded, bias = self._derived.get((number, dtype), sources, fold)
        if isinstance(conv, DeformConv):
            return conv.convolve(maps, folded, bias)
        return functional.conv2d(maps.to(dtype), folded, bias, padding=1).float()

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
        for first, last in strips(maps, _STRIP):
            start = max(first - 2, 0)  # each of the convolutions looks one pixel further
            strip = self(maps[:, :, start : last + 2], dtype)[:, :, first - start : last - start]
            averaged[:, :, first // shrinkage : last // shrinkage] = functional.avg_pool2d(strip, shrinkage)
            kept[:, :, first:last] = strip if reduction is None else gate(pointwise(strip, reduction.weight))
        return kept, averaged


class ScoreHead(nn.Sequential):
    """The layers that make the score of each pixel from the joined map."""

    def __init__(self, dim: int) -> None:
        super().__init__(
            nn.Conv2d(dim, 8, 1, bias=False),
            nn.SELU(),
            nn.Conv2d(8, 4, 3, padding=1, bias=False),
            nn.SELU(),
            nn.Conv2d(4, 4, 3, padding=1, bias=False),
            nn.SELU(),
            nn.Conv2d(4, 1, 3, padding=1, bias=False),
        )
        self._derived = Derived()

    def forward(self, joined: JoinedMap) -> Float[Tensor, "h w"]:
        """Scores in [0, 1] of the image without its padding.

        Each of the four maps is multiplied by its quarter of the first layer. The three coarse products are upsampled
        along the rows; along the columns, and into a sum, in each strip.
        """
        height, width = joined.fine.shape[2:]
        mix, *convs = (layer for layer in self if isinstance(layer, nn.Conv2d))
        dtype = joined.fine.dtype
        quarters = mix.weight.chunk(4, dim=1)
        first_quarter = self._derived.get(dtype, (mix.weight,), lambda: quarters[0].to(dtype))
        coarse_heights = [coarse.shape[2] for coarse in joined.coarse]
        products = [pointwise(coarse, quarter) for coarse, quarter in zip(joined.coarse, quarters[1:], strict=True)]
        widened = [
            functional.interpolate(product, (small_height, width), mode="bilinear", align_corners=True)
            for product, small_height in zip(products, coarse_heights, strict=True)
        ]
        table = torch.cat([part[0].permute(1, 2, 0).flatten(1) for part in widened])
        rows, shares = _rows_between(coarse_heights, height, table)
        mixed = empty_map(joined.fine, 8, height, width, table.dtype)
        for first, last in strips(joined.fine, _STRIP // 4):
            fine = gate(pointwise(joined.fine[:, :, first:last], joined.fine_weight).float())
            coarse = weighted_rows(table, rows[first:last], shares[first:last]).view(1, -1, width, 8)
            mixed[:, :, first:last] = pointwise(fine.to(dtype), first_quarter).add(coarse.permute(0, 3, 1, 2))
        logits = table.new_empty(height, width)
        for first, last in strips(joined.fine, _STRIP):
            start, stop = max(first - len(convs), 0), min(last + len(convs), height)
            strip = mixed[:, :, start:stop].clone()
            for conv in convs:
                strip = conv(gate(strip))
            logits[first:last] = strip[0, 0, first - start : last - start]
        (left, top), (inner_width, inner_height) = joined.corner, joined.image_size
        return logits[top : top + inner_height, left : left + inner_width].sigmoid()


class DescriptorHead(nn.Module):
    """The sparse deformable descriptor head: the patch around a point says where to look, and what is seen there makes
    its descriptor.

    Reference: ALIKED (arXiv:2304.03608), Sec. III, SDDH.
    """  # noqa: D205

    def __init__(self, dim: int, samples: int) -> None:
        super().__init__()
        self.offset_conv = nn.Sequential(
            nn.Conv2d(dim, 2 * samples, 3), nn.SELU(), nn.Conv2d(2 * samples, 2 * samples, 1)
        )
        self.sf_conv = nn.Conv2d(dim, dim, 1, bias=False)
        self.agg_weights = nn.Parameter(torch.randn(samples, dim, dim) / math.sqrt(samples * dim))
        self._derived = Derived()

    def forward(self, joined: JoinedMap, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """Descriptors at points (x, y) in pixels of the image."""
        described = points.new_empty(len(points), self.sf_conv.out_channels)
        # From top to bottom, so that a chunk looks at one part of the maps.
        for chunk in torch.split(points[:, 1].argsort(), _CHUNK) if len(points) else ():
            described[chunk] = self._describe(joined, points[chunk])
        return described

    def _describe(self, joined: JoinedMap, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        count, dtype = len(points), joined.fine.dtype
        to_hidden, to_seen, to_described = self._kernels(dtype)
        patches = functional.normalize(joined.at(*_patches(points, joined.image_size)), dim=1).view(count, -1)
        hidden, last = (layer for layer in self.offset_conv if isinstance(layer, nn.Conv2d))
        offsets = gate(linear(patches.to(dtype), to_hidden).float() + cast("Tensor", hidden.bias))
        limit = max(joined.image_size) / 4
        offsets = linear(offsets, last.weight.flatten(1), last.bias).clamp(-limit, limit)
        x, y = (points[:, :, None] + offsets.view(count, 2, -1)).unbind(dim=1)
        samples = joined.sample(x.flatten(), y.flatten())
        seen = gate(linear(samples.to(dtype), to_seen).float()).view(count, -1)
        return functional.normalize(linear(seen.to(dtype), to_described).float(), dim=1)

    def _kernels(
        self, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "k patch"], Float[Tensor, "d d"], Float[Tensor, "d seen"]]:
        """Weights of the three larger products as matrices: of patches, of samples, and of what is seen."""
        hidden, samples, seen = cast("nn.Conv2d", self.offset_conv[0]).weight, self.sf_conv.weight, self.agg_weights
        return self._derived.get(
            dtype,
            (hidden, samples, seen),
            lambda: (
                hidden.permute(0, 2, 3, 1).flatten(1).to(dtype),
                samples.flatten(1).to(dtype),
                seen.flatten(0, 1).T.to(dtype),
            ),
        )


def gate(maps: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """SELU of some maps, computed in place."""
    if maps.requires_grad or not maps.is_cpu:
        return functional.selu_(maps)
    # As torch's, but by way of exp2: on a CPU torch's own takes twice as long.
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    below = maps.clamp(max=0).mul_(1 / math.log(2)).exp2_().sub_(1)
    return maps.clamp_(min=0).add_(below, alpha=alpha).mul_(scale)


def _patches(
    points: Float[Tensor, "n 2"], image_size: tuple[int, int]
) -> tuple[Int64[Tensor, " p"], Int64[Tensor, " p"]]:
    """(x, y) of the 3 × 3 pixels around the one that each point lies in, which is found by rounding down.

    At the edge of the image patches are moved inside. At the right and at the bottom the released code moves them one
    pixel further than needed; so does this, since the weights were trained with it.
    """
    width, height = image_size
    steps = torch.arange(3, device=points.device)
    left, top = (points.long() - 1).clamp_(min=0).unbind(dim=1)
    x = (left.clamp(max=max(width - 4, 0))[:, None] + steps).clamp_(max=width - 1)
    y = (top.clamp(max=max(height - 4, 0))[:, None] + steps).clamp_(max=height - 1)
    return x[:, None, :].expand(-1, 3, 3).flatten(), y[:, :, None].expand(-1, 3, 3).flatten()


def _rows_between(
    small_heights: list[int], height: int, like: Float[Tensor, "..."]
) -> tuple[Int64[Tensor, "h k"], Float[Tensor, "h k"]]:
    """Between which rows of several maps, one below the other, each row of the upsampled sum lies, and their shares."""
    rows, shares, before = [], [], 0
    for small_height in small_heights:
        position = torch.arange(height, device=like.device, dtype=like.dtype) * ((small_height - 1) / (height - 1))
        upper = position.floor().clamp_(max=max(small_height - 2, 0))
        rows += [upper.long() + before, upper.long() + (before + min(1, small_height - 1))]
        shares += [1 - (position - upper), position - upper]
        before += small_height
    return torch.stack(rows, dim=1), torch.stack(shares, dim=1)


def _conv(in_channels: int, channels: int, deformable: bool) -> nn.Conv2d | DeformConv:
    return (
        DeformConv(in_channels, channels) if deformable else nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    )
