"""What training minimises: the likelihood of the true matches at every layer, and honest confidences.

One layer's negative log-likelihood weighs matches and unmatched points alike:

    log P_ij = log softmax_row(S)_ij + log softmax_column(S)_ij + log σ(z_i) + log σ(z_j)
    positive = - mean of log P over the true matches
    negative = - mean of log σ(-z) over the points of both images that have no partner

The (m + 1) × (n + 1) assignment is never built; see `double_softmax.py`.

Reference: LightGlue (arXiv 2306.13643), Sec. 3.4 and eq. 12, with the weights of the official training code, which
halves the positive term too and shares one mean between the negatives of both images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from photoglue.errors import ConfigError
from photoglue.matchers.lightglue.states import AllLayers
from photoglue.training.double_softmax import log_likelihood
from photoglue.training.ground_truth import UNMATCHED, Labels


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Parts of the loss and their weights. The defaults are the official ones."""

    gamma: float = 1.0
    """Each layer counts this many times as much as the one after it; 1: all layers alike."""
    nll_balancing: float = 0.5
    """Weight of the positive part of a layer's loss, in [0, 1]; the negative part has the rest."""
    matcher: bool = True
    """Whether to learn matching. Off: its losses are reported only, for a second stage that trains confidences."""
    confidence: bool = True
    """Whether to learn when a match is final. Off: about a tenth less time in the loss."""

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ConfigError(f"gamma is {self.gamma}; it must be positive.")
        if not 0 <= self.nll_balancing <= 1:
            raise ConfigError(f"nll_balancing is {self.nll_balancing}; it must be in [0, 1].")
        if not (self.matcher or self.confidence):
            raise ConfigError("matcher and confidence are both off: nothing would be learned. Switch one on.")


@dataclass(frozen=True, kw_only=True, eq=False)
class LossTerms:
    """The loss of a batch and what it is made of; only ``total`` carries a gradient. All are means over pairs."""

    total: Float[Tensor, ""]
    """Loss that is minimised."""
    nll: Float[Tensor, " layers"]
    """Negative log-likelihood of each layer, nats."""
    positive: Float[Tensor, ""]
    """Minus the mean of log P over the true matches, last layer."""
    negative: Float[Tensor, ""]
    """Minus the mean of log(1 - matchability) over the points without partner, last layer."""
    confidence: Float[Tensor, ""] | None
    """Cross-entropy of the confidence heads; None if they are not learned, or if there is only one layer."""
    matchable: Float[Tensor, ""]
    """True matches of a pair, mean over pairs."""
    unmatchable: Float[Tensor, ""]
    """Points of a pair, both images together, that are known to have no partner."""
    pairs: int
    """Number of pairs that the means are over."""
    dropped: int = 0
    """Pairs left out, because an image had no point."""

    @property
    def last(self) -> Float[Tensor, ""]:
        """Negative log-likelihood of the last layer, the number to watch."""
        return self.nll[-1]


def losses(found: AllLayers, labels: Sequence[Labels], config: LossConfig | None = None) -> LossTerms:
    """The loss of a batch.

    Always in the precision of ``found`` (fp32), also inside ``torch.autocast``; there, only the products that make the
    gradient of the descriptors are bfloat16, as they would be anywhere else.

    Args:
        found: What all layers say.
        labels: The truth, a pair each, in the order of ``found``.
        config: What to learn.
    """
    config = config or LossConfig()
    device = found.layers[0].descriptors.device
    half = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16
    with torch.autocast(device.type, enabled=False):
        targets = _targets(found, labels)
        matchability = torch.stack([layer.matchability for layer in found.layers])
        compared = matchability if config.confidence and len(found.layers) > 1 else None
        double_softmax, agreement = log_likelihood(
            [layer.descriptors if config.matcher else layer.descriptors.detach() for layer in found.layers],
            found.segments,
            targets.partner,
            targets.positive,
            compared,
            half=half,
        )
        positive = -double_softmax - functional.logsigmoid(matchability) @ targets.positive
        negative = -functional.logsigmoid(-matchability) @ targets.negative
        nll = config.nll_balancing * positive + (1 - config.nll_balancing) * negative
        confidence = None if agreement is None else _confidence_loss(found, targets, agreement)
        return LossTerms(
            total=_total(nll, confidence, config),
            nll=nll.detach(),
            positive=positive[-1].detach(),
            negative=negative[-1].detach(),
            confidence=None if confidence is None else confidence.detach(),
            matchable=targets.matchable,
            unmatchable=targets.unmatchable,
            pairs=len(labels),
        )


def _total(nll: Float[Tensor, " layers"], confidence: Tensor | None, config: LossConfig) -> Float[Tensor, ""]:
    total = nll.new_zeros(())
    if config.matcher:
        weights = config.gamma ** torch.arange(len(nll) - 1, -1, -1, dtype=nll.dtype, device=nll.device)
        total = total + (weights / weights.sum()) @ nll
    return total if confidence is None else total + confidence


def _confidence_loss(found: AllLayers, targets: "_Targets", agreement: Bool[Tensor, "heads t"]) -> Float[Tensor, ""]:
    """Mean over the heads, the pairs, their two images, the points of each."""
    logits = torch.stack([layer.confidence for layer in found.layers if layer.confidence is not None])
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, agreement.to(logits.dtype), reduction="none")
    return (cross_entropy @ targets.each).mean()


@dataclass(frozen=True, eq=False)
class _Targets:
    """The truth for all tokens of a pack. Weights are such that sums over tokens are means over pairs."""

    partner: Int64[Tensor, " t"]
    """Row in the other image of the pair; UNMATCHED, IGNORED."""
    positive: Float[Tensor, " t"]
    """Weight of points with a partner: 1 / (matches of the pair · pairs). 0 for all others."""
    negative: Float[Tensor, " t"]
    """Weight of points known to have none: 1 / (those of both images, each counted as 1 or more · pairs)."""
    each: Float[Tensor, " t"]
    """Weight of every point: 1 / (points of its image · 2 · pairs)."""
    matchable: Float[Tensor, ""]
    unmatchable: Float[Tensor, ""]


def _targets(found: AllLayers, labels: Sequence[Labels]) -> _Targets:
    segments = found.segments
    like = found.layers[0].descriptors
    pairs = len(labels)
    lengths = tuple(len(matches) for label in labels for matches in (label.matches0, label.matches1))
    assert lengths == segments.lengths, f"labels of {lengths} points for images of {segments.lengths}"
    partner = torch.cat([matches for label in labels for matches in (label.matches0, label.matches1)]).to(like.device)
    known = torch.stack([partner >= 0, partner == UNMATCHED], dim=1).to(like.dtype)
    # Counted where the labels are: a GPU that had to tell the host would have to finish the forward pass first.
    image = segments.spread(torch.arange(2 * pairs, device=like.device))
    counts = known.new_zeros(2 * pairs, 2).index_add_(0, image, known).view(pairs, 2, 2)
    matches, lonely = counts[:, 0, 0], counts[:, :, 1]
    of_pair = torch.stack([matches.clamp(min=1), lonely.clamp(min=1).sum(dim=1)], dim=1)
    of_image = torch.tensor([1 / (length * 2 * pairs) for length in lengths], dtype=like.dtype).to(like.device)
    weights = known / (of_pair[image // 2] * pairs)
    return _Targets(
        partner=partner,
        positive=weights[:, 0],
        negative=weights[:, 1],
        each=of_image[image],
        matchable=matches.mean(),
        unmatchable=lonely.sum() / pairs,
    )
