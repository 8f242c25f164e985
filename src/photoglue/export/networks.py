"""ALIKED, DISK and SuperPoint as plain networks for export: whole maps, in operations that every runtime has.

The extractors compute only what is needed, in strips, and cannot be exported. These stand beside them, with their
weights, and are tested equal to them. All give a fixed number of points, the best ones first; where an image has fewer,
the score of the rest is 0. Whole-number arithmetic with the size of the image is avoided: few runtimes have it.
"""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from photoglue.export.aliked import PlainALIKED
from photoglue.export.points import Points, best_points, inside, last_place, maxima, sampled, shown
from photoglue.extractors.aliked import ALIKED
from photoglue.extractors.base import Extractor
from photoglue.extractors.disk import DISK
from photoglue.extractors.disk_layers import EPSILON
from photoglue.extractors.superpoint import SuperPoint

CELL = 8
"""Side of a cell of SuperPoint, pixels."""


class PlainDISK(nn.Module):
    """DISK for export, with descriptors of every pixel."""

    def __init__(self, extractor: DISK, count: int) -> None:
        super().__init__()
        self.config, self.count = extractor.config, count
        unet = extractor.unet
        self.downs, self.ups = nn.ModuleList(unet.downs), nn.ModuleList(unet.ups)

    def forward(self, image: Float[Tensor, "1 3 h w"]) -> Points:
        """Keypoints, scores (logits; 0 for those that are no points) and descriptors of an RGB image in [0, 1]."""
        height, width = image.shape[2:]
        maps = functional.pad(image, (0, (16 - width % 16) % 16, 0, (16 - height % 16) % 16))
        skipped = []
        for level, conv in enumerate(self.downs):
            maps = _gated(functional.avg_pool2d(maps, 2), conv) if level else cast("nn.Sequential", conv)[3](maps)
            skipped.append(maps)
        maps = skipped.pop()
        for conv in self.ups:
            beside = skipped.pop()
            larger = functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
            maps = _gated(torch.cat([larger, beside], dim=1), conv)
        rows, columns = torch.arange(height), torch.arange(width)
        maps = maps.index_select(2, rows).index_select(3, columns)
        scores = maps[:, -1:]
        wanted = maxima(scores, self.config.nms_radius, 0) & shown(image)
        threshold = self.config.detection_threshold
        points, places, peaks = best_points(scores, wanted & (scores > threshold), self.count, threshold - 1)
        described = functional.normalize(maps[0, :-1].flatten(1).index_select(1, places).T, dim=1)
        return points[None], torch.where(peaks > threshold, peaks, 0.0)[None], described[None]


class PlainSuperPoint(nn.Module):
    """SuperPoint for export: the sides of the image are multiples of 8."""

    def __init__(self, extractor: SuperPoint, count: int) -> None:
        super().__init__()
        self.config, self.count = extractor.config, count
        names = ("1a", "1b", "2a", "2b", "3a", "3b", "4a", "4b")
        self.encoder = nn.ModuleList(getattr(extractor, f"conv{name}") for name in names)
        self.score_head = nn.Sequential(extractor.convPa, nn.ReLU(), extractor.convPb)
        self.head = nn.Sequential(extractor.convDa, nn.ReLU(), extractor.convDb)

    def forward(self, image: Float[Tensor, "1 1 h w"]) -> Points:
        """Keypoints, scores and descriptors of a gray image in [0, 1]."""
        maps = image
        for number, conv in enumerate(self.encoder):
            maps = functional.relu(conv(maps))
            if number in (1, 3, 5):
                maps = functional.max_pool2d(maps, 2)
        scores = functional.pixel_shuffle(self.score_head(maps).softmax(dim=1)[:, :-1], CELL)
        wanted = maxima(scores, self.config.nms_radius, 2) & inside(scores, self.config.border) & shown(image)
        wanted = wanted & (scores > self.config.detection_threshold)
        points, _, peaks = best_points(scores, wanted, self.count, -1.0)
        cells = torch.cat([last_place(maps.shape[3]), last_place(maps.shape[2])]) + 1
        in_cells = (points - (CELL - 1) / 2) / (cells * CELL - CELL / 2 - 0.5) * (cells - 1)
        described = sampled(functional.normalize(self.head(maps), dim=1), in_cells, "border")
        return points[None], peaks.clamp(min=0)[None], functional.normalize(described, dim=1)[None]


def plain_extractor(extractor: Extractor, count: int, *, native: bool) -> nn.Module | None:
    """The network to export for an extractor; None if there is none.

    Args:
        extractor: The extractor, with its weights and options.
        count: Number of points that it gives.
        native: Whether deformable convolutions become one operation.
    """
    if isinstance(extractor, ALIKED):
        return PlainALIKED(extractor, count, native=native)
    if isinstance(extractor, DISK):
        return PlainDISK(extractor, count)
    return PlainSuperPoint(extractor, count) if isinstance(extractor, SuperPoint) else None


def _gated(maps: Float[Tensor, "1 c h w"], conv: nn.Module) -> Float[Tensor, "1 d h w"]:
    """Instance norm, gate and convolution."""
    layers = cast("nn.Sequential", conv)
    mean = _mean(maps)
    spread = _mean((maps - mean).square())
    out: Tensor = layers[3](layers[1]((maps - mean) * (spread + EPSILON).rsqrt()))
    return out


def _mean(maps: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c 1 1"]:
    """The mean of each map: that of the rows' means, since onnxruntime adds up in single precision one by one."""
    return maps.mean(dim=3, keepdim=True).mean(dim=2, keepdim=True)
