"""ALIKED as a plain network for export: whole maps, its deformable convolutions as one operation or as nine.

Reference: ALIKED (arXiv 2304.03608); ``extractors.aliked`` is the one that is fast in Python.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.export.points import Points, best_points, held, inside, last_place, maxima, sampled, shown
from photoglue.extractors.aliked import ALIKED
from photoglue.extractors.aliked_layers import Block
from photoglue.extractors.deform_conv import DeformConv


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
        window = places[:, None] + (y * scores.shape[3] + x).flatten()
        window = held(window, flat.shape[0])  # of those that are no points
        shares = (flat[window] / 0.1).softmax(dim=1)
        return points + shares @ torch.stack([x.flatten(), y.flatten()], dim=1).float()

    def _describe(self, maps: Float[Tensor, "1 d h w"], points: Float[Tensor, "k 2"]) -> Float[Tensor, "k d"]:
        """Descriptors at points, from the joined map with pixels of unit length."""
        height, width = maps.shape[2:]
        steps = torch.arange(3, dtype=torch.float32)
        last = torch.cat([last_place(width), last_place(height)])
        corner = torch.minimum((points.floor() - 1).clamp(min=0), (last - 3).clamp(min=0))
        x, y = (torch.minimum(corner[:, i : i + 1] + steps, last[i : i + 1]).long() for i in (0, 1))
        rows = (y[:, :, None] * width + x[:, None, :]).flatten()
        patches = maps.flatten(2)[0].index_select(1, rows).T.reshape(points.shape[0], -1)
        offsets = functional.linear(patches, self.hidden, self.hidden_bias)
        offsets = functional.linear(functional.selu(offsets), self.offsets, self.offsets_bias)
        limit = (last.amax(dim=0, keepdim=True) + 1) / 4
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
        extent = torch.cat([last_place(maps.shape[3]), last_place(maps.shape[2])])
        limit = (extent.amax(dim=0, keepdim=True) + 1) / 4
        offsets = torch.maximum(torch.minimum(self.offset_conv(maps), limit), -limit)
        if self.native and torch.onnx.is_in_onnx_export():
            return self._as_one_operation(maps, offsets)
        extent = extent.clamp(min=1)
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


def _widened(length: int) -> tuple[Int64[Tensor, " padded"], int]:
    """Which row is seen at each row of an image padded to a multiple of 32 by its edges, and where the image begins."""
    missing = (32 - length % 32) % 32
    first = missing // 2
    rows = torch.arange(length + missing) - first
    return held(rows, length), first


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=False)
