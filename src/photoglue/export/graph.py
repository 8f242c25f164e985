"""LightGlue as a plain network of padded batches, for export: the same weights, in operations that every runtime has.

The packed network of ``matchers.lightglue`` is fast in Python and cannot be exported. This one stands beside it and is
tested equal to it; positions are normalised inside the graph.
"""

from typing import cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.export.layers import MASKED, PlainLayer, Product
from photoglue.matchers.lightglue.adaptive import TokenConfidence
from photoglue.matchers.lightglue.assignment import MatchAssignment
from photoglue.matchers.lightglue.blocks import TransformerLayer
from photoglue.matchers.lightglue.encoding import SCALE_LONG_SIDE
from photoglue.matchers.lightglue.model import LightGlue


class Embedding(nn.Module):
    """From keypoints and descriptors to the first states, and the rotations of the points' positions."""

    def __init__(self, model: LightGlue, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        projection = model.input_proj
        self.projection = Product.of(projection, dtype) if isinstance(projection, nn.Linear) else nn.Identity()
        self.frequencies = nn.Parameter(model.posenc.Wr.weight.detach().clone(), requires_grad=False)
        self.with_scales = model.shape.add_scale_ori

    def forward(
        self,
        keypoints: Float[Tensor, "b n 2"],
        descriptors: Float[Tensor, "b n c"],
        image_size: Float[Tensor, "b 2"],
        scales: Float[Tensor, "b n"] | None = None,
        orientations: Float[Tensor, "b n"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "2 b 1 n f"]]:
        """States, and the cosine and sine of each point's angles.

        Args:
            keypoints: (x, y) in pixels.
            descriptors: As the extractor gives them.
            image_size: (width, height) in pixels.
            scales: Sizes of the points, pixels.
            orientations: Angles of the points, radians.
        """
        half = image_size[:, None] / 2
        longest = half.amax(dim=-1, keepdim=True)
        positions = (keypoints - half) / longest
        if scales is not None and orientations is not None:
            unit = SCALE_LONG_SIDE / 2 / longest
            positions = torch.cat([positions, scales[..., None] * unit, orientations[..., None]], dim=-1)
        return self.projection(descriptors), self.turn(positions)

    def turn(self, positions: Float[Tensor, "b n p"]) -> Float[Tensor, "2 b 1 n f"]:
        """Cosine and sine of each normalised position's angles."""
        angles = functional.linear(positions, self.frequencies)[:, None]
        return torch.stack([angles.cos(), angles.sin()])


class Head(nn.Module):
    """From the last states to matches: similarity, matchability, double softmax, mutual choice; single precision."""

    def __init__(self, head: MatchAssignment, threshold: float) -> None:
        super().__init__()
        self.project, self.matchability = head.final_proj, head.matchability
        self.threshold = threshold

    def forward(
        self,
        x0: Float[Tensor, "b m d"],
        x1: Float[Tensor, "b n d"],
        mask0: Bool[Tensor, "b m"] | None = None,
        mask1: Bool[Tensor, "b n"] | None = None,
    ) -> tuple[Int64[Tensor, "b m"], Int64[Tensor, "b n"], Float[Tensor, "b m"], Float[Tensor, "b n"]]:
        """``matches0``, ``matches1`` (-1: none), ``mscores0`` and ``mscores1`` (0 where the choice is not mutual)."""
        quarter = x0.shape[-1] ** 0.25
        alike = (self.project(x0) / quarter) @ (self.project(x1) / quarter).mT
        columns = alike if mask1 is None else torch.where(mask1[:, None], alike, MASKED)
        rows = alike if mask0 is None else torch.where(mask0[..., None], alike, MASKED)
        likely = columns.log_softmax(dim=2) + rows.log_softmax(dim=1)
        likely = likely + functional.logsigmoid(self.matchability(x0)) + functional.logsigmoid(self.matchability(x1)).mT
        if mask0 is not None and mask1 is not None:
            likely = torch.where(mask0[..., None] & mask1[:, None], likely, MASKED)
        best0, choice0 = likely.max(dim=2)
        choice1 = likely.argmax(dim=1)
        mutual0 = choice1.gather(1, choice0) == torch.arange(x0.shape[1], device=x0.device)
        mutual1 = choice0.gather(1, choice1) == torch.arange(x1.shape[1], device=x1.device)
        scores0 = torch.where(mutual0, best0.exp(), 0.0)
        scores1 = torch.where(mutual1, scores0.gather(1, choice1), 0.0)
        matches0 = torch.where(scores0 > self.threshold, choice0, -1)
        matches1 = torch.where(scores1 > self.threshold, choice1, -1)
        return matches0, matches1, scores0, scores1


class PlainMatcher(nn.Module):
    """LightGlue for padded batches: all layers, no exit, no pruning.

    Args:
        model: The network to copy.
        dtype: What the layers' products compute in; positions, softmax, norms, sums and the head are single precision.
    """

    def __init__(self, model: LightGlue, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.embedding = Embedding(model, dtype)
        self.layers = nn.ModuleList(PlainLayer(cast("TransformerLayer", each), dtype) for each in model.transformers)
        self.head = Head(cast("MatchAssignment", model.log_assignment[-1]), model.config.filter_threshold)

    def forward(  # noqa: PLR0913, PLR0917  (the inputs of the graph)
        self,
        kpts0: Float[Tensor, "b m 2"],
        kpts1: Float[Tensor, "b n 2"],
        desc0: Float[Tensor, "b m c"],
        desc1: Float[Tensor, "b n c"],
        image_size0: Float[Tensor, "b 2"],
        image_size1: Float[Tensor, "b 2"],
        mask0: Bool[Tensor, "b m"],
        mask1: Bool[Tensor, "b n"],
        scales0: Float[Tensor, "b m"] | None = None,
        scales1: Float[Tensor, "b n"] | None = None,
        oris0: Float[Tensor, "b m"] | None = None,
        oris1: Float[Tensor, "b n"] | None = None,
    ) -> tuple[Int64[Tensor, "b m"], Int64[Tensor, "b n"], Float[Tensor, "b m"], Float[Tensor, "b n"]]:
        """``matches0``, ``matches1``, ``mscores0``, ``mscores1``.

        One masked point is added to each image, so that images without any are answered too, and padding, whatever is
        in it, is set to zero.

        Args:
            kpts0: (x, y) in pixels of image 0.
            kpts1: (x, y) in pixels of image 1.
            desc0: Descriptors of image 0.
            desc1: Descriptors of image 1.
            image_size0: (width, height) of image 0, pixels.
            image_size1: (width, height) of image 1, pixels.
            mask0: False for padding.
            mask1: False for padding.
            scales0: Sizes of the points, pixels (SIFT, DoG-HardNet).
            scales1: Sizes of the points, pixels.
            oris0: Angles of the points, radians.
            oris1: Angles of the points, radians.
        """
        mask0, mask1 = (functional.pad(mask, (0, 1)) for mask in (mask0, mask1))
        x0, turn0 = self.embedding(*_padded((kpts0, desc0), mask0), image_size0, *_padded((scales0, oris0), mask0))
        x1, turn1 = self.embedding(*_padded((kpts1, desc1), mask1), image_size1, *_padded((scales1, oris1), mask1))
        for layer in self.layers:
            x0, x1 = layer(x0, x1, turn0, turn1, mask0, mask1)
        matches0, matches1, scores0, scores1 = self.head(x0, x1, mask0, mask1)
        return matches0[:, :-1], matches1[:, :-1], scores0[:, :-1], scores1[:, :-1]

    def unmasked(
        self,
        state0: tuple[Float[Tensor, "b m d"], Float[Tensor, "2 b 1 m f"]],
        state1: tuple[Float[Tensor, "b n d"], Float[Tensor, "2 b 1 n f"]],
    ) -> tuple[Int64[Tensor, "b m"], Int64[Tensor, "b n"], Float[Tensor, "b m"], Float[Tensor, "b n"]]:
        """What ``forward`` gives, for images of which no point is padding.

        Args:
            state0: States and rotations of image 0, as the embedding makes them.
            state1: Those of image 1.
        """
        (x0, turn0), (x1, turn1) = state0, state1
        for layer in self.layers:
            x0, x1 = layer(x0, x1, turn0, turn1)
        found: tuple[Tensor, Tensor, Tensor, Tensor] = self.head(x0, x1)
        return found


class Confidences(nn.Module):
    """What decides on exit and pruning after a layer: confidence and matchability of each point, in [0, 1]."""

    def __init__(self, confidence: TokenConfidence, head: MatchAssignment) -> None:
        super().__init__()
        self.confidence, self.matchability = confidence.token[0], head.matchability

    def forward(self, x: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Confidence and matchability."""
        return self.confidence(x).sigmoid().squeeze(-1), self.matchability(x).sigmoid().squeeze(-1)


def _padded(tensors: tuple[Tensor | None, ...], mask: Bool[Tensor, "b n"]) -> list[Tensor | None]:
    """The tensors with one row more, and zeros where the mask is False."""
    out: list[Tensor | None] = []
    for tensor in tensors:
        if tensor is None:
            out.append(None)
            continue
        longer = functional.pad(tensor, (0, 0, 0, 1) if tensor.ndim == 3 else (0, 1))
        out.append(torch.where(mask[..., None] if tensor.ndim == 3 else mask, longer, 0.0))
    return out
