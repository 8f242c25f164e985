"""Deformable convolution in plain PyTorch, and the weighted gather of rows that makes it fast.

A map with its channels last is a table with one row a pixel. Bilinear interpolation is a weighted sum of four rows,
which ``embedding_bag`` computes without writing the four down: on a CPU some ten times faster than four gathers and a
sum, and several times faster than ``grid_sample``. What else networks of such maps share is here, too.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

BAGS_AT_ONCE = 1 << 15
"""Number of interpolated rows that each thread holds at a time: 8 MB of 64 channels, which stays in a CPU's cache."""


class DeformConv(nn.Module):
    """A 3 × 3 convolution whose nine samples are displaced by offsets that a second convolution predicts.

    Reference: Deformable Convolutional Networks (arXiv:1703.06211), Sec. 2.1; offsets limited as in ALIKED's released
    code, to a quarter of the longer side.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.offset_conv = nn.Conv2d(in_channels, 18, 3, padding=1)
        self.regular_conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """The convolved maps; fastest with channels last in memory."""
        return self.convolve(maps, self.regular_conv.weight, None)

    def convolve(
        self, maps: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c 3 3"], bias: Float[Tensor, " d"] | None
    ) -> Float[Tensor, "b d h w"]:
        """The maps convolved with another kernel, such as the layer's own with a batch norm folded in."""
        limit = max(maps.shape[2:]) / 4
        return deform_conv(maps, self.offset_conv(maps).clamp(-limit, limit), weight, bias)


def deform_conv(
    maps: Float[Tensor, "b c h w"],
    offsets: Float[Tensor, "b 18 h w"],
    weight: Float[Tensor, "d c 3 3"],
    bias: Float[Tensor, " d"] | None = None,
) -> Float[Tensor, "b d h w"]:
    """A 3 × 3 convolution, stride 1, padding 1, with displaced samples; differentiable.

    It equals ``torchvision.ops.deform_conv2d`` with one offset group and no modulation mask.

    Args:
        maps: Maps that are sampled bilinearly; zero outside.
        offsets: Displacements (y, x) of each of the nine taps, row by row, pixels.
        weight: Kernel of the convolution.
        bias: Summand for each output channel; None: none.
    """
    batch, channels, height, width = maps.shape
    # One pixel of zeros around: whatever lies further out is moved onto it.
    table = functional.pad(maps, (1, 1, 1, 1)).permute(0, 2, 3, 1).reshape(-1, channels)
    displaced = offsets.permute(0, 2, 3, 1).reshape(batch, height, width, 9, 2)
    y, x = _taps(height, width, maps)
    y = (y + displaced[..., 0]).clamp(0, height + 1)
    x = (x + displaced[..., 1]).clamp(0, width + 1)
    corners, shares = bilinear_corners(x, y, width + 2, height + 2)
    first_rows = torch.arange(batch, device=maps.device) * ((height + 2) * (width + 2))
    corners, shares = (corners + first_rows.view(-1, 1, 1, 1, 1)).view(-1, 4), shares.view(-1, 4)
    kernel = weight.permute(0, 2, 3, 1).flatten(1)
    at_once = BAGS_AT_ONCE * torch.get_num_threads() // 9 * 9
    parts = [
        linear(weighted_rows(table, some, share).view(-1, 9 * channels), kernel, bias)
        for some, share in zip(torch.split(corners, at_once), torch.split(shares, at_once), strict=True)
    ]
    return torch.cat(parts).view(batch, height, width, -1).permute(0, 3, 1, 2)


def bilinear_corners(
    x: Float[Tensor, "*n"], y: Float[Tensor, "*n"], width: int, height: int
) -> tuple[Int64[Tensor, "*n 4"], Float[Tensor, "*n 4"]]:
    """The four rows of a table of pixels that each point lies between, and its shares of them.

    Args:
        x: Positions along x, in [0, width - 1] pixels.
        y: Positions along y, in [0, height - 1] pixels.
        width: Width of the map that the table holds, row by row.
        height: Height of that map.
    """
    left, top = x.detach().floor().clamp_(max=max(width - 2, 0)), y.detach().floor().clamp_(max=max(height - 2, 0))
    right_share, bottom_share = x - left, y - top
    left_share, top_share = 1 - right_share, 1 - bottom_share
    corner = (top * width + left).long() if height * width < 1 << 24 else top.long() * width + left.long()
    right, below = min(1, width - 1), width if height > 1 else 0
    corners = torch.stack([corner, corner + right, corner + below, corner + (below + right)], dim=-1)
    shares = torch.stack(
        [top_share * left_share, top_share * right_share, bottom_share * left_share, bottom_share * right_share], dim=-1
    )
    return corners, shares


def weighted_rows(
    table: Float[Tensor, "rows c"], indices: Int64[Tensor, "n k"], shares: Float[Tensor, "n k"]
) -> Float[Tensor, "n c"]:
    """The weighted sum of k rows of the table for each point."""
    return functional.embedding_bag(indices, table, per_sample_weights=shares, mode="sum")


def linear(
    rows: Float[Tensor, "n c"], weight: Float[Tensor, "d c"], bias: Float[Tensor, " d"] | None = None
) -> Float[Tensor, "n d"]:
    """A linear layer, on a CPU computed as a convolution of single pixels; see ``pointwise``."""
    if not rows.is_cpu or not len(rows):  # no convolution of nothing
        return functional.linear(rows, weight, bias)
    pixels = rows.reshape(1, -1, 1, rows.shape[1]).permute(0, 3, 1, 2)
    return pointwise(pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(rows.shape[0], -1)


def pointwise(
    maps: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c 1 1"], bias: Float[Tensor, " d"] | None = None
) -> Float[Tensor, "b d h w"]:
    """A convolution with a kernel of one pixel.

    Dilation means nothing to such a kernel. But it makes torch take oneDNN for it also with one thread; otherwise it
    takes MKL, as for all matrix products, which needs two to three times as long on a CPU of AMD.
    """
    return functional.conv2d(maps, weight, bias, dilation=2 if maps.is_cpu else 1)


def pixel_table(maps: Float[Tensor, "1 c h w"]) -> Float[Tensor, "n c"]:
    """The map of one image as a table with one row a pixel."""
    return maps[0].permute(1, 2, 0).flatten(0, 1)


def empty_map(
    like: Float[Tensor, "..."], channels: int, height: int, width: int, dtype: torch.dtype
) -> Float[Tensor, "1 c h w"]:
    """A map to be filled, with its channels last in memory, on the device of ``like``."""
    shape = (1, channels, height, width)
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=torch.channels_last)


def strips(maps: Float[Tensor, "1 c h w"], rows: int) -> Iterator[tuple[int, int]]:
    """First row and the one after the last of each strip, ``rows`` for each thread; one strip unless on a CPU."""
    height = maps.shape[2]
    step = rows * torch.get_num_threads() if maps.is_cpu else height
    return ((first, min(first + step, height)) for first in range(0, height, step))


def _taps(height: int, width: int, like: Float[Tensor, "..."]) -> tuple[Float[Tensor, "h 1 9"], Float[Tensor, "1 w 9"]]:
    """Positions (y, x) of the nine taps of each pixel, in pixels of a map that has one more pixel on each side."""
    steps = torch.arange(3, device=like.device, dtype=like.dtype)
    y = torch.arange(height, device=like.device, dtype=like.dtype)[:, None, None] + steps.repeat_interleave(3)
    x = torch.arange(width, device=like.device, dtype=like.dtype)[None, :, None] + steps.repeat(3)
    return y, x
