"""From what the network found among the points it kept, to Matches over all points."""

import torch
from jaxtyping import Int64
from torch import Tensor

from photoglue.matchers.lightglue.assignment import MutualMatches
from photoglue.structs import Features, Matches


def unmatched(
    features0: Features,
    features1: Features,
    n_layers: int,
    stop: int,
    prune0: Int64[Tensor, " m"],
    prune1: Int64[Tensor, " n"],
) -> Matches:
    """No matches at all."""
    m, n, like = len(features0), len(features1), features0.keypoints
    return Matches(
        matches0=like.new_full((m,), -1, dtype=torch.int64),
        matches1=like.new_full((n,), -1, dtype=torch.int64),
        matching_scores0=like.new_zeros(m),
        matching_scores1=like.new_zeros(n),
        keypoints0=features0.keypoints,
        keypoints1=features1.keypoints,
        stop=stop,
        n_layers=n_layers,
        prune0=prune0,
        prune1=prune1,
    )


def fill(matches: Matches, mutual: MutualMatches, origin0: Int64[Tensor, " m"], origin1: Int64[Tensor, " n"]) -> None:
    """Write what was found among the kept points, numbers ``origin0`` and ``origin1``, into ``matches``."""
    matches.matches0[origin0] = torch.where(mutual.matches0 < 0, -1, origin1[mutual.matches0])
    matches.matches1[origin1] = torch.where(mutual.matches1 < 0, -1, origin0[mutual.matches1])
    matches.matching_scores0[origin0] = mutual.scores0
    matches.matching_scores1[origin1] = mutual.scores1
