"""What training needs from every layer: similarity descriptors, matchability and confidence of all points."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from photoglue.matchers.lightglue.adaptive import TokenConfidence
from photoglue.matchers.lightglue.assignment import MatchAssignment
from photoglue.matchers.lightglue.packing import Segments


@dataclass(frozen=True)
class LayerOutput:
    """Outputs of the heads after one layer, for all tokens of the pack; float32."""

    descriptors: Float[Tensor, "t d"]
    """Their dot product between two images is the similarity."""
    matchability: Float[Tensor, " t"]
    """Logits of the probability that a point has a partner."""
    confidence: Float[Tensor, " t"] | None
    """Logits that the match of this layer is that of the last one; no gradient flows from it into the states. None
    after the last layer, which has nothing to be confident about."""


@dataclass(frozen=True)
class AllLayers:
    """The network's answer for a pack of pairs, layer by layer."""

    segments: Segments
    """Where each image's tokens lie: images 2i and 2i + 1 are pair i."""
    layers: tuple[LayerOutput, ...]
    """One for each layer, the first layer's first."""


def layer_output(
    x: Float[Tensor, "t d"], assignment: MatchAssignment, confidence: TokenConfidence | None
) -> LayerOutput:
    """The outputs of the two heads of a layer, from the states after it."""
    descriptors, matchability = assignment(x)
    logits = None if confidence is None else confidence.logits(x).float()
    return LayerOutput(descriptors.float(), matchability.float(), logits)
