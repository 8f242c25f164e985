"""From the final states to matches: similarity, matchability, double softmax, mutual choice.

Reference: LightGlue (arXiv 2306.13643), Sec. 3.2, eq. 6 to 8.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.matchers.base import mutual_partners
from photoglue.matchers.lightglue.adaptive import Pack
from photoglue.matchers.lightglue.engine.kernels import LOG2_E, linear, project
from photoglue.matchers.lightglue.packing import Segments
from photoglue.structs import Features, Matches

TILE_ELEMENTS = 2**22
"""Similarities held at once: 16 MB."""


class MatchAssignment(nn.Module):
    """The head of one layer that says how alike points are; names are those of the official state dict."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.matchability = nn.Linear(width, 1)
        self.final_proj = nn.Linear(width, width)

    def matchability_of(self, x: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        """How likely each point has a partner at all, in [0, 1]."""
        return torch.sigmoid(self.matchability(x)).squeeze(-1)

    def forward(self, x: Float[Tensor, "t d"]) -> tuple[Float[Tensor, "t d"], Float[Tensor, " t"]]:
        """Descriptors whose dot product is the similarity, and matchability logits."""
        projected = project(self.final_proj, x)
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

    Works through the similarity in tiles of rows, so that memory grows with m + n; all logarithms are to the base 2.
    """
    tiles = _Tiles(descriptors0 * LOG2_E, descriptors1.contiguous())
    row, column = tiles.log_sums()
    row = functional.logsigmoid(logits0) * LOG2_E - row
    column = functional.logsigmoid(logits1) * LOG2_E - column
    best0, choice0, best1 = tiles.maxima(row, column)
    partner1 = mutual_partners(best0, choice0, best1)
    chosen1 = partner1 < len(best0)
    scores0 = best0.exp2().masked_fill(partner1[choice0] != torch.arange(len(best0), device=best0.device), 0)
    choice1 = partner1.masked_fill(~chosen1, 0)
    scores1 = scores0[choice1].masked_fill(~chosen1, 0)
    return MutualMatches(
        matches0=choice0.masked_fill(scores0 <= threshold, -1),
        matches1=choice1.masked_fill(scores1 <= threshold, -1),
        scores0=scores0,
        scores1=scores1,
    )


def read_off(
    pairs: Sequence[tuple[Features, Features]],
    first: Segments,
    survived: Int64[Tensor, " T"],
    exits: Sequence[tuple[int, Pack]],
    heads: nn.ModuleList,
    *,
    threshold: float,
) -> list[Matches]:
    """Matches of pairs that exited, with point numbers of the images as they came.

    Args:
        pairs: The features of all pairs.
        first: Where each image's tokens lay before the first layer.
        survived: For each of these tokens 1 + the number of pruning steps that it survived.
        exits: Tokens that were left of pairs at their exits, each with the number of layers that they ran.
        heads: The ``MatchAssignment`` of each layer.
        threshold: The probability that matches are above.
    """
    by_pair: dict[int, Matches] = {}
    rows = first.slices()
    for stop, pack in exits:
        tokens = pack.segments.slices()
        if pack.segments.total and 0 not in pack.segments.lengths:
            descriptors, logits = (x.float() for x in heads[stop - 1](pack.x))
        for i, pair in enumerate(pack.pairs):
            rows0, rows1 = rows[2 * pair : 2 * pair + 2]
            matches = unmatched(*pairs[pair], len(heads), stop, survived[rows0], survived[rows1])
            by_pair[pair] = matches
            own, other = tokens[2 * i : 2 * i + 2]
            if own.start < own.stop and other.start < other.stop:
                mutual = match_points(descriptors[own], descriptors[other], logits[own], logits[other], threshold)
                _fill(matches, mutual, pack.origin[own] - rows0.start, pack.origin[other] - rows1.start)
    return [by_pair[pair] for pair in range(len(pairs))]


def unmatched(
    features0: Features,
    features1: Features,
    n_layers: int,
    stop: int,
    prune0: Int64[Tensor, " m"],
    prune1: Int64[Tensor, " n"],
) -> Matches:
    """Matches of two images in which no point has a partner.

    Args:
        features0: Features of the first image.
        features1: Features of the second image.
        n_layers: Number of layers that the network has.
        stop: Number of layers after which the pair exited.
        prune0: For each point of the first image 1 + the number of pruning steps that it survived.
        prune1: That number for each point of the second image.
    """
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


def _fill(matches: Matches, mutual: MutualMatches, origin0: Int64[Tensor, " m"], origin1: Int64[Tensor, " n"]) -> None:
    """Write the matches of the points that were not pruned, whose numbers are the two origins, into ``matches``."""
    matches.matches0[origin0] = torch.where(mutual.matches0 < 0, -1, origin1[mutual.matches0])
    matches.matches1[origin1] = torch.where(mutual.matches1 < 0, -1, origin0[mutual.matches1])
    matches.matching_scores0[origin0] = mutual.scores0
    matches.matching_scores1[origin1] = mutual.scores1


class _Tiles:
    """The similarity of two sets of descriptors, some rows at a time; not computed again if one tile holds it all."""

    def __init__(self, descriptors0: Float[Tensor, "m d"], descriptors1: Float[Tensor, "n d"]) -> None:
        self.descriptors0, self.descriptors1 = descriptors0, descriptors1
        rows = max(1, TILE_ELEMENTS // len(descriptors1))
        self.slices = [slice(start, start + rows) for start in range(0, len(descriptors0), rows)]
        self.whole = self._compute(self.slices[0]) if len(self.slices) == 1 else None

    def log_sums(self) -> tuple[Float[Tensor, " m"], Float[Tensor, " n"]]:
        """The logarithm to the base 2 of the sum of 2^similarity over each row, and over each column."""
        rows: list[Tensor] = []
        columns: Tensor | None = None
        for tile in self:
            rows.append(_log_sum(tile, dim=1))
            part = _log_sum(tile, dim=0)
            columns = part if columns is None else torch.logaddexp2(columns, part)
        assert columns is not None
        return torch.cat(rows), columns

    def maxima(
        self, row: Float[Tensor, " m"], column: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, " m"], Int64[Tensor, " m"], Float[Tensor, " n"]]:
        """The maximum of each row of 2 · similarity + row + column, where it is, and the maximum of each column."""
        values, choices = [], []
        best1: Tensor | None = None
        for rows, tile in zip(self.slices, self, strict=True):
            tile.mul_(2).add_(column).add_(row[rows, None])
            value, choice = tile.max(dim=1)
            values.append(value)
            choices.append(choice)
            part = tile.amax(dim=0)
            best1 = part if best1 is None else torch.maximum(best1, part)
        assert best1 is not None
        return torch.cat(values), torch.cat(choices), best1

    def __iter__(self) -> Iterator[Tensor]:
        for rows in self.slices:
            yield self._compute(rows) if self.whole is None else self.whole

    def _compute(self, rows: slice) -> Tensor:
        return linear(self.descriptors0[rows], self.descriptors1)


def _log_sum(tile: Float[Tensor, "r n"], dim: int) -> Tensor:
    peak = tile.amax(dim=dim, keepdim=True)
    return (tile - peak).exp2_().sum(dim=dim).log2_().add_(peak.squeeze(dim))
