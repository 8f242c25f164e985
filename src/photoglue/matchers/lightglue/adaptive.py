"""Adaptive depth and width: which pairs are done after a layer, and which points need not go on.

Every pair decides for itself. What decides is counted on the device and read by the host once a layer; then the pack
is made smaller, and the network goes on with what is left.

Reference: LightGlue (arXiv 2306.13643), Sec. 3.3. As in the official code, layers count from 0 in the confidence
threshold, points pruned earlier count as confident, and a point that is not confident is never pruned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from photoglue.matchers.lightglue.packing import Segments

PRUNING_MIN_KEYPOINTS = {"cpu": -1, "mps": -1, "cuda": 1536}
"""An image is pruned only while it has more points: below, dropping points costs more than it saves (official)."""


@dataclass(frozen=True)
class Pack:
    """The tokens still at work, of the pairs still at work."""

    x: Float[Tensor, "t d"]
    """Their states."""
    encoding: Float[Tensor, "2 t 1 f"]
    """Their positional encoding."""
    origin: Int64[Tensor, " t"]
    """Their rows in the first pack, where every point had one."""
    segments: Segments
    """Where each image's tokens lie."""
    pairs: tuple[int, ...]
    """Which pairs these are."""

    def select_pairs(self, positions: Sequence[int]) -> "Pack":
        """Some of the pairs, by their position in ``pairs``."""
        rows = self.segments.rows_of_pairs(positions, self.x.device)
        return self._select(rows, self.segments.of_pairs(positions), [self.pairs[i] for i in positions])

    def shrunk(self, verdict: "Verdict") -> "Pack":
        """What goes on after a verdict."""
        if sum(verdict.lengths) == self.segments.total:
            return self
        # The host knows how many there are, so that a GPU need not be asked.
        rows = torch.nonzero_static(verdict.keep, size=sum(verdict.lengths)).flatten()
        return self._select(rows, Segments(verdict.lengths), [self.pairs[i] for i in verdict.going_on])

    def _select(self, rows: Tensor, segments: Segments, pairs: Sequence[int]) -> "Pack":
        return replace(
            self,
            x=self.x[rows],
            encoding=self.encoding[:, rows],
            origin=self.origin[rows],
            segments=segments,
            pairs=tuple(pairs),
        )


class TokenConfidence(nn.Module):
    """Whether a point's match would stay what it is if all layers ran. The name is that of the official state dict."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token = nn.Sequential(nn.Linear(width, 1), nn.Sigmoid())

    def forward(self, x: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        """In [0, 1]; no gradient flows back into the states."""
        return torch.sigmoid(self.logits(x))

    def logits(self, x: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        """The same before the sigmoid."""
        confidence: Tensor = self.token[0](x.detach()).squeeze(-1)
        return confidence


def confidence_threshold(layer: int, n_layers: int) -> float:
    """Confident is a point above this after ``layer`` (from 0): strict at first, when confidences mean less."""
    return min(max(0.8 + 0.1 * math.exp(-4.0 * layer / n_layers), 0.0), 1.0)


@dataclass(frozen=True)
class Verdict:
    """What was decided after one layer."""

    done: tuple[int, ...]
    """Positions in ``Pack.pairs`` of the pairs that exit now."""
    going_on: tuple[int, ...]
    """Positions of the others."""
    keep: Bool[Tensor, " t"]
    """The tokens that go on."""
    lengths: tuple[int, ...]
    """How many those are, for each image of the pairs that go on."""
    stepped: tuple[bool, ...]
    """For each of these images, whether a pruning step ran on it, even if it dropped nothing."""


def judge(
    pack: Pack,
    confidence: Float[Tensor, " t"] | None,
    matchability: Float[Tensor, " t"] | None,
    *,
    threshold: float,
    counts: Sequence[int],
    depth_confidence: float | None,
    width_confidence: float | None,
    pruning_min_keypoints: int,
) -> Verdict:
    """Which pairs exit after this layer, and which points of the others go on.

    Args:
        pack: The tokens at work.
        confidence: For each token, if exit is on.
        matchability: For each token, if pruning is on.
        threshold: Above it a point is confident.
        counts: For each pair of the pack the number of points it came with, both images together.
        depth_confidence: The share of confident points above which a pair exits.
        width_confidence: 1 minus the matchability up to which a confident point is pruned.
        pruning_min_keypoints: Images with more points are pruned.
    """
    segments = pack.segments
    nobody = torch.zeros_like(pack.origin, dtype=torch.bool)
    unsure = nobody if confidence is None else confidence < threshold
    wanted = ~nobody
    if matchability is not None and width_confidence is not None:
        wanted = matchability > 1 - width_confidence
        if confidence is not None:
            wanted |= confidence <= threshold
    unsure_counts, wanted_counts = segments.sums(torch.stack([unsure, wanted]).long())

    done: tuple[int, ...] = ()
    if depth_confidence is not None:
        unsure_of_pair = [a + b for a, b in zip(unsure_counts[::2], unsure_counts[1::2], strict=True)]
        shares = [_confident_share(count, total) for count, total in zip(unsure_of_pair, counts, strict=True)]
        done = tuple(i for i, share in enumerate(shares) if share > np.float32(depth_confidence))
    going_on = tuple(i for i in range(len(pack.pairs)) if i not in done)
    images = [image for i in going_on for image in (2 * i, 2 * i + 1)]
    prunes = [matchability is not None and length > pruning_min_keypoints for length in segments.lengths]
    goes = torch.zeros(len(segments.lengths), dtype=torch.bool, device="cpu")
    goes[images] = True
    everything = goes & ~torch.tensor(prunes, device="cpu")
    keep = (wanted & segments.spread(goes.to(wanted.device))) | segments.spread(everything.to(wanted.device))
    return Verdict(
        done=done,
        going_on=going_on,
        keep=keep,
        lengths=tuple(wanted_counts[j] if prunes[j] else segments.lengths[j] for j in images),
        stepped=tuple(prunes[j] for j in images),
    )


def _confident_share(unsure: int, total: int) -> np.float32:
    """In single precision, as the official code counts, so that ties fall the same way."""
    return np.float32(1.0) - np.float32(unsure) / np.float32(total)
