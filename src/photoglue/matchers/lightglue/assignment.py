"""From the final states to matches: similarity, matchability, double softmax, mutual choice.

Reference: LightGlue (arXiv 2306.13643), Sec. 3.2, eq. 6 to 8.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.matchers.lightglue.engine.kernels import LOG2_E, linear, project

TILE_ELEMENTS = 2**22
"""Similarities held at once: 16 MB."""


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
    # Where a row's best is also its column's best, the two choose each other. Equal rivals: the first row wins.
    mutual = best0 == best1[choice0]
    count = len(best0)
    numbers = torch.arange(count, device=best0.device)
    claimed = torch.full_like(best1, count, dtype=torch.int64)
    claimed.scatter_reduce_(0, choice0, numbers.masked_fill(~mutual, count), "amin")
    mutual = claimed[choice0] == numbers
    scores0 = best0.exp2().masked_fill(~mutual, 0)
    taken = claimed < count
    choice1 = claimed.masked_fill(~taken, 0)
    scores1 = scores0[choice1].masked_fill(~taken, 0)
    return MutualMatches(
        matches0=choice0.masked_fill(scores0 <= threshold, -1),
        matches1=choice1.masked_fill(scores1 <= threshold, -1),
        scores0=scores0,
        scores1=scores1,
    )


class _Tiles:
    """The similarity of two sets of descriptors, some rows at a time; kept if one tile holds it all."""

    def __init__(self, descriptors0: Float[Tensor, "m d"], descriptors1: Float[Tensor, "n d"]) -> None:
        self.descriptors0, self.descriptors1 = descriptors0, descriptors1
        rows = max(1, TILE_ELEMENTS // len(descriptors1))
        self.slices = [slice(start, start + rows) for start in range(0, len(descriptors0), rows)]
        self.kept = self._compute(self.slices[0]) if len(self.slices) == 1 else None

    def log_sums(self) -> tuple[Float[Tensor, " m"], Float[Tensor, " n"]]:
        """log2 of the sum of 2^similarity over each row, and over each column."""
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
        """Of 2 · similarity + row + column: the maximum of each row, where it is, the maximum of each column."""
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
            yield self._compute(rows) if self.kept is None else self.kept

    def _compute(self, rows: slice) -> Tensor:
        return linear(self.descriptors0[rows], self.descriptors1)


def _log_sum(tile: Float[Tensor, "r n"], dim: int) -> Tensor:
    peak = tile.amax(dim=dim, keepdim=True)
    return (tile - peak).exp2_().sum(dim=dim).log2_().add_(peak.squeeze(dim))
