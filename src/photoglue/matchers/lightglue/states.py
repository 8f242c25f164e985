"""What training needs from every layer: similarity descriptors, matchability and confidence of all points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from photoglue.matchers.lightglue.adaptive import TokenConfidence
from photoglue.matchers.lightglue.assignment import MatchAssignment
from photoglue.matchers.lightglue.encoding import positions_of
from photoglue.matchers.lightglue.packing import Segments
from photoglue.structs import Features

if TYPE_CHECKING:
    from photoglue.matchers.lightglue.model import LightGlue


@dataclass(frozen=True)
class LayerOutput:
    """What the heads say after one layer, for all tokens of the pack."""

    descriptors: Float[Tensor, "t d"]
    """Their dot product between two images is the similarity."""
    matchability: Float[Tensor, " t"]
    """Logits."""
    confidence: Float[Tensor, " t"] | None
    """Logits that the match of this layer is that of the last one; no gradient flows from it into the states. None
    after the last layer, which has nothing to be confident about."""


@dataclass(frozen=True)
class AllLayers:
    """The network's answer for a pack of pairs, layer by layer."""

    segments: Segments
    """Where each image's tokens lie: images 2i and 2i + 1 are pair i."""
    layers: tuple[LayerOutput, ...]


def all_layers(
    model: "LightGlue", pairs: Sequence[tuple[Features, Features]], *, checkpointed: bool = False
) -> AllLayers:
    """Runs all layers on all points, with gradients; see ``LightGlue.all_layers``."""
    images = [features for pair in pairs for features in pair]
    segments = Segments(tuple(len(features) for features in images))
    device = model.device
    placed = [features.to(device) for features in images]
    # fp32 whatever autocast says: positions in half precision would be off by pixels.
    with torch.autocast(device.type, enabled=False):
        encoding = model.posenc(positions_of(placed, segments, model.shape.add_scale_ori))
    x = model.input_proj(torch.cat([features.descriptors for features in placed]))
    outputs = []
    for number, layer in enumerate(model.transformers):
        if checkpointed:
            x = checkpoint(layer, x, encoding, segments, use_reentrant=False)
        else:
            x = layer(x, encoding, segments)
        outputs.append(_heads(model, number, x))
    return AllLayers(segments, tuple(outputs))


def _heads(model: "LightGlue", number: int, x: Float[Tensor, "t d"]) -> LayerOutput:
    assignment = model.log_assignment[number]
    assert isinstance(assignment, MatchAssignment)
    descriptors, matchability = assignment(x)
    confidence: Tensor | None = None
    if number < len(model.token_confidence):
        head = model.token_confidence[number]
        assert isinstance(head, TokenConfidence)
        confidence = head.logits(x)
    return LayerOutput(descriptors.float(), matchability.float(), None if confidence is None else confidence.float())
