"""The two heads of ALIKED: scores of all pixels, and descriptors of some points, from a map that is never whole."""

import math
from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.extractors.aliked_layers import STRIP, JoinedMap, gate
from photoglue.extractors.deform_conv import empty_map, linear, pointwise, strips, weighted_rows
from photoglue.extractors.derived import Derived

_CHUNK = 512  # points described at once: 16 MB of joined pixels; from 32 MB on each allocation asks the system anew


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
        self.derived = Derived()

    def forward(self, joined: JoinedMap) -> Float[Tensor, "h w"]:
        """Scores in [0, 1] of the image without its padding.

        Each of the four maps is multiplied by its quarter of the first layer. The three coarse products are upsampled
        along the rows; along the columns, and into a sum, in each strip.
        """
        height, width = joined.fine.shape[2:]
        mix, *convs = (layer for layer in self if isinstance(layer, nn.Conv2d))
        dtype = joined.fine.dtype
        quarters = mix.weight.chunk(4, dim=1)
        first_quarter = self.derived.get(dtype, (mix.weight,), lambda: quarters[0].to(dtype))
        coarse_heights = [coarse.shape[2] for coarse in joined.coarse]
        products = [pointwise(coarse, quarter) for coarse, quarter in zip(joined.coarse, quarters[1:], strict=True)]
        widened = [
            functional.interpolate(product, (small_height, width), mode="bilinear", align_corners=True)
            for product, small_height in zip(products, coarse_heights, strict=True)
        ]
        table = torch.cat([part[0].permute(1, 2, 0).flatten(1) for part in widened])
        rows, shares = _rows_between(coarse_heights, height, table)
        mixed = empty_map(joined.fine, 8, height, width, table.dtype)
        for first, last in strips(joined.fine, STRIP // 4):
            fine = gate(pointwise(joined.fine[:, :, first:last], joined.fine_weight).float())
            coarse = weighted_rows(table, rows[first:last], shares[first:last]).view(1, -1, width, 8)
            mixed[:, :, first:last] = pointwise(fine.to(dtype), first_quarter).add(coarse.permute(0, 3, 1, 2))
        logits = table.new_empty(height, width)
        for first, last in strips(joined.fine, STRIP):
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
        self.derived = Derived()

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
        return self.derived.get(
            dtype,
            (hidden, samples, seen),
            lambda: (
                hidden.permute(0, 2, 3, 1).flatten(1).to(dtype),
                samples.flatten(1).to(dtype),
                seen.flatten(0, 1).T.to(dtype),
            ),
        )


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
