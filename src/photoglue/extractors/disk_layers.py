"""DISK's U-Net, arranged so that nothing but its maps between layers is ever held whole.

Three facts save most of its time and nearly all of its memory:

- Only the detection logit is needed at every pixel. Descriptors, which have 80 % of the multiplications, are computed
  at the chosen pixels alone.
- An instance norm is a scale and a shift for each channel, known once the channel's moments are. So a map is not
  written normalised: strips of it are normalised, upsampled, joined and gated on their way to the next convolution,
  in single precision, and stay in a CPU's cache.
- An instance norm forgets a constant. So the first convolution, which sees bright pixels and makes large constants of
  them, gets the bias that takes them away, and its map can be held in half precision.
"""

import itertools
from collections.abc import Iterator
from typing import cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.extractors.deform_conv import (
    empty_map,
    linear,
    pointwise,
    strips,
)
from photoglue.extractors.derived import Derived
from photoglue.extractors.disk_joined import Joined, around, doubled

DESCRIPTOR_DIM = 128
_DOWN_CHANNELS = (3, 16, 32, 64, 64, 64)
_UP_CHANNELS = (64, 64, 64, DESCRIPTOR_DIM + 1)
_KERNEL = 5
_REACH = _KERNEL // 2
_STRIP = 16  # rows, an even number, that each thread computes at once: 1 to 5 MB of a map
EPSILON = 1e-5
"""Added to variances, as trained."""


class UNet(nn.Module):
    """The U-Net of DISK up to its last convolution, which ``logits`` and ``descriptors`` apply where it is needed.

    Module names and numbers are those of the released weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.path_down = nn.ModuleList(
            nn.Sequential(nn.Identity() if level == 0 else nn.AvgPool2d(2), Convolution(wide, deep, gated=level > 0))
            for level, (wide, deep) in enumerate(itertools.pairwise(_DOWN_CHANNELS))
        )
        # Each step up joins what comes from below with the map of its own size on the way down.
        below = (_DOWN_CHANNELS[-1], *_UP_CHANNELS)
        beside = _DOWN_CHANNELS[-2:0:-1]
        self.path_up = nn.ModuleList(
            _Up(channels + skipped, out) for channels, skipped, out in zip(below, beside, _UP_CHANNELS, strict=False)
        )

    def forward(self, image: Float[Tensor, "1 3 h w"], dtype: torch.dtype = torch.float32) -> Joined:
        """The input of the last convolution for an image.

        Args:
            image: RGB in [0, 1]; height and width are multiples of 16.
            dtype: Floating type of the maps between layers and of the products; sums, norms and gates are in single
                precision.
        """
        first, *others = self.downs
        beside, pooled = first.of_image(image, dtype)
        skipped = [beside]
        for conv in others:
            skipped.append(conv.of_normed(pooled))
            pooled = functional.avg_pool2d(skipped[-1], 2) if min(skipped[-1].shape[2:]) > 1 else skipped[-1]
        maps = skipped.pop()
        *ups, last = (cast("_Up", up) for up in self.path_up)
        for up in ups:
            maps = up(maps, skipped.pop())
        return last.join(maps, skipped.pop())

    def logits(self, joined: Joined) -> Float[Tensor, "h w"]:
        """The detection logit of every pixel: the last output channel, in single precision.

        A convolution with one output leaves most of a processor idle. So each pixel is multiplied by all taps of the
        kernel at once, and the products are added up where they belong.
        """
        height, width = joined.beside.shape[2:]
        kernel, bias = self.last.parts("logits", joined.slopes.dtype)
        logits = bias.expand(height + 2 * _REACH, width + 2 * _REACH).contiguous()
        for first, last in strips(joined.beside, _STRIP):
            products = pointwise(joined.rows(first, last), kernel).flatten(2)
            size = (last - first + 2 * _REACH, width + 2 * _REACH)
            logits[first : last + 2 * _REACH] += functional.fold(products, size, _KERNEL)[0, 0]
        return logits[_REACH:-_REACH, _REACH:-_REACH]

    def descriptors(self, joined: Joined, pixels: Int64[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """The other output channels at whole pixels (x, y) only, not normalised."""
        height, width = joined.beside.shape[2:]
        reach = torch.arange(_KERNEL, device=pixels.device) - _REACH
        x, y = pixels[:, None, :1] + reach[:, None], pixels[:, None, 1:] + reach[:, None]
        x, y = x.mT.expand(-1, _KERNEL, -1), y.expand(-1, -1, _KERNEL)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        seen = joined.at(x.clamp(0, width - 1).flatten(), y.clamp(0, height - 1).flatten())
        seen = _zero_outside(seen, inside.flatten())  # the convolution pads with zeros; few points are so near the edge
        kernel, bias = self.last.parts("descriptors", joined.below.dtype)
        return linear(seen.to(kernel.dtype).view(len(pixels), kernel.shape[1]), kernel, bias).float()

    @property
    def downs(self) -> list["Convolution"]:
        """The convolutions of the way down."""
        return [cast("Convolution", cast("nn.Sequential", down)[1]) for down in self.path_down]

    @property
    def ups(self) -> list["Convolution"]:
        """The convolutions of the way up."""
        return [cast("_Up", up).conv for up in self.path_up]

    @property
    def last(self) -> "Convolution":
        """The convolution whose outputs are descriptors and the logit."""
        return self.ups[-1]


class Convolution(nn.Sequential):
    """Instance norm, PReLU and a convolution; the third place was dropout in training."""

    def __init__(self, channels: int, out_channels: int, *, gated: bool = True) -> None:
        super().__init__(
            nn.Identity(),
            nn.PReLU(channels) if gated else nn.Identity(),
            nn.Identity(),
            nn.Conv2d(channels, out_channels, _KERNEL, padding=_REACH),
        )
        self.derived = Derived()

    @property
    def slopes(self) -> Float[Tensor, " c"]:
        """Factors of the gate for negative values, one a channel."""
        return cast("nn.PReLU", self[1]).weight

    def parts(self, part: str, dtype: torch.dtype) -> tuple[Float[Tensor, " d *kernel"], Float[Tensor, " out"]]:
        """Weight and bias in a floating type, arranged as ``UNet`` uses them.

        Args:
            part: "all" for the whole convolution; "logits" or "descriptors" for that part of the last one.
            dtype: Floating type of both.
        """
        conv = cast("nn.Conv2d", self[3])
        weight, bias = conv.weight, cast("Tensor", conv.bias)

        def make() -> tuple[Tensor, Tensor]:
            if part == "all":
                return weight.to(dtype).contiguous(memory_format=torch.channels_last), bias.to(dtype)
            if part == "descriptors":
                return weight[:-1].permute(0, 2, 3, 1).flatten(1).to(dtype), bias[:-1].to(dtype)
            return weight[-1].flip(1, 2).flatten(1).T[:, :, None, None].contiguous().to(dtype), bias[-1:].to(dtype)

        return self.derived.get((part, dtype), (weight, bias), make)

    def of_image(
        self, image: Float[Tensor, "1 3 h w"], dtype: torch.dtype
    ) -> tuple[Float[Tensor, "1 c h w"], Float[Tensor, "1 c h2 w2"]]:
        """The convolution of an image in single precision, brought to about zero mean, and its average over 2 × 2."""
        weight, _ = self.parts("all", image.dtype)
        bias = -(weight.sum(dim=(2, 3)) * image.mean(dim=(2, 3))).sum(dim=1)
        height, width = image.shape[2:]
        padded = functional.pad(image, (_REACH,) * 4).contiguous(memory_format=torch.channels_last)
        kept = empty_map(image, len(bias), height, width, dtype)
        pooled = empty_map(image, len(bias), height // 2, width // 2, dtype)
        for first, last in strips(image, _STRIP):
            strip = functional.conv2d(padded[:, :, first : last + 2 * _REACH], weight, bias)
            kept[:, :, first:last] = strip
            pooled[:, :, first // 2 : last // 2] = functional.avg_pool2d(strip, 2)
        return kept, pooled

    def of_normed(self, maps: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 d h w"]:
        """Norm, gate and convolution of a whole map, for the smaller ones."""
        # Not torch's instance norm, which is slow with the channels last. Of one image a batch norm is the same.
        normed = torch.batch_norm(maps, None, None, None, None, True, 0.0, EPSILON, torch.backends.cudnn.enabled)
        weight, bias = self.parts("all", maps.dtype)
        return functional.conv2d(functional.prelu(normed, self.slopes.to(maps.dtype)), weight, bias, padding=_REACH)

    def of_joined(self, joined: Joined) -> Float[Tensor, "1 d h w"]:
        """The convolution of joined maps, strip by strip."""
        height, width = joined.beside.shape[2:]
        weight, bias = self.parts("all", joined.below.dtype)
        convolved = empty_map(joined.below, len(bias), height, width, weight.dtype)
        for first, last in strips(joined.beside, _STRIP):
            start, stop = max(first - _REACH, 0), min(last + _REACH, height)
            strip = joined.rows(start, stop).to(weight.dtype)
            if start > first - _REACH or stop < last + _REACH:
                strip = functional.pad(strip, (0, 0, start - first + _REACH, last + _REACH - stop))
            convolved[:, :, first:last] = functional.conv2d(strip, weight, bias, padding=(0, _REACH))
        return convolved


class _Up(nn.Module):
    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Convolution(channels, out_channels)

    def forward(self, below: Float[Tensor, "1 c h2 w2"], beside: Float[Tensor, "1 s h w"]) -> Float[Tensor, "1 k h w"]:
        return self.conv.of_joined(self.join(below, beside))

    def join(self, below: Float[Tensor, "1 c h2 w2"], beside: Float[Tensor, "1 s h w"]) -> Joined:
        larger = (
            doubled(below[:, :, slice(*around(first, last, below))].float(), first, last)
            for first, last in strips(beside, _STRIP)
        )
        return Joined(
            below=below,
            beside=beside,
            norm_below=_norm(larger),
            norm_beside=_norm(beside[:, :, first:last].float() for first, last in strips(beside, _STRIP)),
            slopes=self.conv.slopes,
        )


def _norm(
    strips: Iterator[Float[Tensor, "1 c rows w"]],
) -> tuple[Float[Tensor, "1 c 1 1"], Float[Tensor, "1 c 1 1"]]:
    """Factor and summand that bring each channel of a map, given in strips, to mean 0 and variance 1."""
    counts, means, squares = [], [], []
    for strip in strips:
        mean = strip.mean(dim=(2, 3), keepdim=True)
        counts.append(strip.shape[2] * strip.shape[3])
        means.append(mean)
        squares.append((strip - mean).square_().sum(dim=(2, 3), keepdim=True))
    share = means[0].new_tensor(counts)[:, None, None, None] / sum(counts)
    all_means = torch.cat(means)
    mean = (share * all_means).sum(dim=0, keepdim=True)
    # The variance within the strips, and that between them.
    variance = torch.cat(squares).sum(dim=0, keepdim=True) / sum(counts)
    variance = variance + (share * (all_means - mean).square()).sum(dim=0, keepdim=True)
    factor = (variance + EPSILON).rsqrt()
    return factor, -mean * factor


def _zero_outside(seen: Float[Tensor, "p k"], inside: Bool[Tensor, " p"]) -> Float[Tensor, "p k"]:
    return seen if bool(inside.all()) else seen * inside[:, None]
