"""ALIKED, DISK and SuperPoint as plain networks for export: whole maps, in operations that every runtime has.

The extractors compute only what is needed, in strips, and cannot be exported. These stand beside them, with their
weights, and are tested equal to them. All give a fixed number of points, the best ones first; where an image has fewer,
the score of the rest is 0. Whole-number arithmetic with the size of the image is avoided: few runtimes have it.
"""

from typing import cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.extractors.aliked import ALIKED
from photoglue.extractors.aliked_layers import Block
from photoglue.extractors.base import Extractor
from photoglue.extractors.deform_conv import DeformConv
from photoglue.extractors.disk import DISK
from photoglue.extractors.disk_layers import EPSILON
from photoglue.extractors.superpoint import SuperPoint

Points = tuple[Float[Tensor, "1 k 2"], Float[Tensor, "1 k"], Float[Tensor, "1 k d"]]
"""Keypoints (x, y) in pixels of the image, scores, and descriptors."""
CELL = 8
"""Side of a cell of SuperPoint, pixels."""


def maxima(scores: Float[Tensor, "1 1 h w"], radius: int, rounds: int) -> Bool[Tensor, "1 1 h w"]:
    """As ``extractors.keypoints.iterated_maxima``, by max pooling."""

    def highest(values: Tensor) -> Tensor:
        return functional.max_pool2d(values, 2 * radius + 1, stride=1, padding=radius)

    found = scores == highest(scores)
    for _ in range(rounds):
        covered = highest(found.to(scores.dtype)) > 0
        remaining = torch.where(covered, 0.0, scores)
        found = found | ((remaining == highest(remaining)) & ~covered)
    return found


def inside(scores: Float[Tensor, "1 1 h w"], border: int) -> Bool[Tensor, "h w"]:
    """True but for what lies within ``border`` pixels of the edge."""
    y, x = (torch.arange(scores.shape[axis], dtype=torch.float32) for axis in (2, 3))
    rows, columns = ((line >= border) & (line < line.amax(dim=0) + 1 - border) for line in (y, x))
    return rows[:, None] & columns


def shown(image: Float[Tensor, "1 c h w"]) -> Bool[Tensor, ""]:
    """Whether an image is of more than a single colour."""
    spread = image.flatten(2).amax(dim=2) - image.flatten(2).amin(dim=2)
    return (spread > 1e-5).any()


def best_points(
    scores: Float[Tensor, "1 1 h w"], wanted: Bool[Tensor, "1 1 h w"], count: int, lowest: float
) -> tuple[Float[Tensor, "k 2"], Int64[Tensor, " k"], Float[Tensor, " k"]]:
    """The pixels with the highest scores of those that are wanted: (x, y), place in the flat map, score.

    Args:
        scores: Score of each pixel.
        wanted: Pixels that may be chosen.
        count: How many to choose.
        lowest: What the score of those becomes that are not wanted.
    """
    height, width = scores.shape[2:]
    # As many more, so that small images have enough of them.
    chosen = functional.pad(torch.where(wanted, scores, lowest).flatten(), (0, count), value=lowest)
    peaks, places = chosen.topk(count)
    places = torch.minimum(places, torch.arange(height * width).amax(dim=0))
    x = torch.arange(width, dtype=torch.float32).expand(height, width).reshape(-1)[places]
    y = torch.arange(height, dtype=torch.float32)[:, None].expand(height, width).reshape(-1)[places]
    return torch.stack([x, y], dim=1), places, peaks


def sampled(
    maps: Float[Tensor, "1 c h w"], points: Float[Tensor, "n 2"], padding: str = "zeros"
) -> Float[Tensor, "n c"]:
    """The map's values at points in its own pixels, interpolated."""
    height, width = maps.shape[2:]
    extent = torch.stack([torch.arange(length, dtype=torch.float32).amax(dim=0) for length in (width, height)])
    grid = (2 * points / extent.clamp(min=1) - 1)[None, None]
    return functional.grid_sample(maps, grid, mode="bilinear", padding_mode=padding, align_corners=True)[0, :, 0].T


class PlainALIKED(nn.Module):
    """ALIKED for export.

    Args:
        extractor: The extractor with its weights and options.
        count: Number of points.
        native: Whether to use ONNX's DeformConv (opset 22), which not every runtime has; else nine GridSamples a layer.
    """

    def __init__(self, extractor: ALIKED, count: int, *, native: bool) -> None:
        super().__init__()
        self.config, self.count = extractor.config, count
        blocks = (extractor.block1, extractor.block2, extractor.block3, extractor.block4)
        self.blocks = nn.ModuleList(PlainBlock(block, native=native) for block in blocks)
        self.reductions = nn.ModuleList([extractor.conv1, extractor.conv2, extractor.conv3, extractor.conv4])
        self.score_head = nn.Sequential(*extractor.score_head)
        head = extractor.desc_head
        hidden, last = (layer for layer in head.offset_conv if isinstance(layer, nn.Conv2d))
        self.hidden, self.hidden_bias = _frozen(hidden.weight.permute(0, 2, 3, 1).flatten(1)), hidden.bias
        self.offsets, self.offsets_bias = _frozen(last.weight.flatten(1)), last.bias
        self.seen, self.described = _frozen(head.sf_conv.weight.flatten(1)), _frozen(head.agg_weights.flatten(0, 1).T)

    def forward(self, image: Float[Tensor, "1 3 h w"]) -> Points:
        """Keypoints, scores and descriptors of an RGB image of any size, in [0, 1]."""
        height, width = image.shape[2:]
        rows, top = _widened(height)
        columns, left = _widened(width)
        padded = image.index_select(2, rows).index_select(3, columns)
        joined, logits = self._maps(padded)
        back = [torch.arange(length) + first for length, first in ((height, top), (width, left))]
        joined, logits = (maps.index_select(2, back[0]).index_select(3, back[1]) for maps in (joined, logits))
        scores = logits.sigmoid()
        radius = self.config.nms_radius
        wanted = maxima(scores, radius, 2) & inside(scores, radius) & shown(image)
        wanted = wanted & (scores > self.config.detection_threshold)
        points, places, peaks = best_points(scores, wanted, self.count, -1.0)
        points = self._refined(scores, points, places)
        found = torch.where(peaks >= 0, sampled(scores, points)[:, 0], 0.0)
        return points[None], found[None], self._describe(functional.normalize(joined, dim=1), points)[None]

    def _maps(self, padded: Float[Tensor, "1 3 h w"]) -> tuple[Float[Tensor, "1 d h w"], Float[Tensor, "1 1 h w"]]:
        """The joined map and the score's logits of the padded image."""
        maps, quarters = padded, []
        for block, pool, reduction in zip(self.blocks, (1, 2, 4, 4), self.reductions, strict=True):
            maps = block(functional.avg_pool2d(maps, pool) if pool > 1 else maps)
            quarters.append(functional.selu(reduction(maps)))
        size = padded.shape[2:]
        larger = [functional.interpolate(q, size, mode="bilinear", align_corners=True) for q in quarters[1:]]
        joined = torch.cat([quarters[0], *larger], dim=1)
        return joined, self.score_head(joined)

    def _refined(
        self, scores: Float[Tensor, "1 1 h w"], points: Float[Tensor, "k 2"], places: Int64[Tensor, " k"]
    ) -> Float[Tensor, "k 2"]:
        """The soft-argmax of the scores around each pixel."""
        radius, flat = self.config.nms_radius, scores.flatten()
        steps = torch.arange(-radius, radius + 1)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        window = (places[:, None] + (y * scores.shape[3] + x).flatten()).clamp(min=0)
        window = torch.minimum(window, torch.arange(flat.shape[0]).amax(dim=0))  # of those that are no points
        shares = (flat[window] / 0.1).softmax(dim=1)
        return points + shares @ torch.stack([x.flatten(), y.flatten()], dim=1).float()

    def _describe(self, maps: Float[Tensor, "1 d h w"], points: Float[Tensor, "k 2"]) -> Float[Tensor, "k d"]:
        """Descriptors at points, from the joined map with pixels of unit length."""
        height, width = maps.shape[2:]
        steps = torch.arange(3, dtype=torch.float32)
        last = torch.stack([torch.arange(length, dtype=torch.float32).amax(dim=0) for length in (width, height)])
        corner = torch.minimum((points.floor() - 1).clamp(min=0), (last - 3).clamp(min=0))
        x, y = (torch.minimum(corner[:, i : i + 1] + steps, last[i]).long() for i in (0, 1))
        rows = (y[:, :, None] * width + x[:, None, :]).flatten()
        patches = maps.flatten(2)[0].index_select(1, rows).T.reshape(points.shape[0], -1)
        offsets = functional.linear(patches, self.hidden, self.hidden_bias)
        offsets = functional.linear(functional.selu(offsets), self.offsets, self.offsets_bias)
        limit = (last.amax(dim=0) + 1) / 4
        offsets = torch.maximum(torch.minimum(offsets, limit), -limit)
        where = points[:, :, None] + offsets.reshape(points.shape[0], 2, -1)
        samples = sampled(maps, where.transpose(1, 2).reshape(-1, 2))
        seen = functional.selu(functional.linear(samples, self.seen)).reshape(points.shape[0], -1)
        return functional.normalize(functional.linear(seen, self.described), dim=1)


class PlainBlock(nn.Module):
    """A block of ALIKED with its batch norms folded into its convolutions."""

    def __init__(self, block: Block, *, native: bool) -> None:
        super().__init__()
        convs = []
        for number in (1, 2):
            weight, bias = (part.detach().clone() for part in block.folded(number))
            conv = block.conv(number)
            convs.append(PlainConv(weight, bias, conv if isinstance(conv, DeformConv) else None, native=native))
        self.first, self.second = convs
        self.downsample = block.downsample

    def forward(self, maps: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 d h w"]:
        """The block's result."""
        hidden = self.second(functional.selu(self.first(maps)))
        if self.downsample is not None:
            hidden = hidden + self.downsample(maps)
        return functional.selu(hidden)


class PlainConv(nn.Module):
    """A 3 × 3 convolution, deformable or not."""

    def __init__(
        self, weight: Float[Tensor, "d c 3 3"], bias: Float[Tensor, " d"], conv: DeformConv | None, *, native: bool
    ) -> None:
        super().__init__()
        self.weight, self.bias, self.native = _frozen(weight), _frozen(bias), native
        self.offset_conv = None if conv is None else conv.offset_conv

    def forward(self, maps: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 d h w"]:
        """The convolved maps."""
        if self.offset_conv is None:
            return functional.conv2d(maps, self.weight, self.bias, padding=1)
        y, x = (torch.arange(maps.shape[axis], dtype=torch.float32) for axis in (2, 3))
        limit = (torch.maximum(y.amax(dim=0), x.amax(dim=0)) + 1) / 4
        offsets = torch.maximum(torch.minimum(self.offset_conv(maps), limit), -limit)
        if self.native and torch.onnx.is_in_onnx_export():
            return self._as_one_operation(maps, offsets)
        extent = torch.stack([x.amax(dim=0), y.amax(dim=0)]).clamp(min=1)
        grid = torch.stack([x.expand(y.shape[0], -1), y[:, None].expand(-1, x.shape[0])], dim=-1)
        total = self.bias[:, None, None]
        for tap in range(9):
            step = torch.tensor([float(tap % 3 - 1), float(tap // 3 - 1)])
            moved = grid + step + offsets[0, 2 * tap : 2 * tap + 2].flip(0).permute(1, 2, 0)
            seen = functional.grid_sample(maps, (2 * moved / extent - 1)[None], align_corners=True)
            total = total + functional.conv2d(seen, self.weight[:, :, tap // 3, tap % 3, None, None])
        return total

    def _as_one_operation(self, maps: Tensor, offsets: Tensor) -> Tensor:
        shape = (maps.shape[0], self.weight.shape[0], *maps.shape[2:])
        return torch.onnx.ops.symbolic(
            "DeformConv",
            (maps, self.weight, offsets, self.bias),
            {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
            dtype=maps.dtype,
            shape=shape,
            version=22,
        )


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
        lengths = [torch.arange(maps.shape[axis], dtype=torch.float32).amax(dim=0) + 1 for axis in (3, 2)]
        cells = torch.stack(lengths)
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
    mean = maps.mean(dim=(2, 3), keepdim=True)
    spread = (maps - mean).square().mean(dim=(2, 3), keepdim=True)
    out: Tensor = layers[3](layers[1]((maps - mean) * (spread + EPSILON).rsqrt()))
    return out


def _widened(length: int) -> tuple[Int64[Tensor, " padded"], int]:
    """Which row is seen at each row of an image padded to a multiple of 32 by its edges, and where the image begins."""
    missing = (32 - length % 32) % 32
    first = missing // 2
    rows = torch.arange(length + missing) - first
    return torch.minimum(rows.clamp(min=0), torch.arange(length).amax(dim=0)), first


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=False)
