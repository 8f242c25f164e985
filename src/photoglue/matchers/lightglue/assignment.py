"""From the final states to matches: similarity, matchability, double softmax, mutual choice.

Reference: LightGlue (arXiv 2306.13643), Sec. 3.2, eq. 6 to 8.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional


class MatchAssignment(nn.Module):
    """The head of one layer; names are those of the official state dict."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.matchability = nn.Linear(width, 1)
        self.final_proj = nn.Linear(width, width)

    def matchability_of(self, x: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        """How likely each point has a partner at all, in [0, 1]."""
        return torch.sigmoid(self.matchability(x)).squeeze(-1)

    def forward(self, x: Float[Tensor, "t d"]) -> tuple[Float[Tensor, "t d"], Float[Tensor, " t"]]:
        """Descriptors whose dot product is the similarity, and matchability logits."""
        projected = self.final_proj(x)
        return projected / projected.shape[-1] ** 0.25, self.matchability(x).squeeze(-1)


@dataclass(frozen=True)
class MutualMatches:
    """For each point of either image the partner that chooses it back, or -1, and the score of that choice."""

    matches0: Int64[Tensor, " m"]
    matches1: Int64[Tensor, " n"]
    scores0: Float[Tensor, " m"]
    scores1: Float[Tensor, " n"]


def match_points(
    descriptors0: Float[Tensor, "m d"],
    descriptors1: Float[Tensor, "n d"],
    logits0: Float[Tensor, " m"],
    logits1: Float[Tensor, " n"],
    threshold: float,
) -> MutualMatches:
    """Pairs of points that are each other's most likely partner, with a probability above ``threshold``.

    The probability is matchability of both × softmax over the row × softmax over the column. Scores are given for all
    mutual choices, also those below the threshold; 0 elsewhere. Neither image may be empty.
    """
    similarity = descriptors0 @ descriptors1.T
    row = functional.logsigmoid(logits0) - similarity.logsumexp(dim=1)
    column = functional.logsigmoid(logits1) - similarity.logsumexp(dim=0)
    log_probability = similarity.mul_(2).add_(column).add_(row[:, None])
    best0, choice0 = log_probability.max(dim=1)
    choice1 = log_probability.argmax(dim=0)
    mutual0 = choice1[choice0] == torch.arange(len(choice0), device=choice0.device)
    mutual1 = choice0[choice1] == torch.arange(len(choice1), device=choice1.device)
    scores0 = best0.exp().masked_fill(~mutual0, 0)
    scores1 = scores0[choice1].masked_fill(~mutual1, 0)
    return MutualMatches(
        matches0=choice0.masked_fill(scores0 <= threshold, -1),
        matches1=choice1.masked_fill(scores1 <= threshold, -1),
        scores0=scores0,
        scores1=scores1,
    )
