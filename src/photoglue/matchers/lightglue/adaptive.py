"""Adaptive depth and width: which pairs are done after a layer, and which points need not go on.

Every pair decides for itself. What decides is counted on the device and read by the host once a layer; then the pack
is made smaller, and the network goes on with what is left. A GPU is not made to wait for anything else.

Reference: LightGlue (arXiv 2306.13643), Sec. 3.3. As in the official code, layers count from 0 in the confidence
threshold, points pruned earlier count as confident, and a point that is not confident is never pruned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from photoglue.matchers.lightglue.packing import Segments, uploaded

PRUNING_MIN_KEYPOINTS = {"cpu": -1, "mps": -1, "cuda": 1536}
"""An image is pruned only while it has more points: below, dropping points costs more than it saves (official)."""


@dataclass(frozen=True)
class Pack:
    """The tokens still at work, of the pairs still at work."""

    x: Float[Tensor, "t d"]
    """States of the tokens, float32."""
    encoding: Float[Tensor, "2 t 1 f"]
    """Positional encoding of the tokens: cosine and sine."""
    origin: Int64[Tensor, " t"]
    """Rows of the tokens in the first pack, where every point had one."""
    image: Int64[Tensor, " t"]
    """Images of the tokens: 2i and 2i + 1 are those of ``pairs[i]``."""
    segments: Segments
    """Where each image's tokens lie in the pack."""
    pairs: tuple[int, ...]
    """Numbers of the pairs in the first pack."""

    def sums(self, flags: Bool[Tensor, "c t"]) -> list[list[int]]:
        """The number of tokens of each image that have each flag, on the host: one read for all."""
        counts = self.image.new_zeros(len(flags), len(self.segments.lengths))
        counts.scatter_add_(1, self.image.expand(len(flags), -1), flags.long())
        sums: list[list[int]] = counts.tolist()
        return sums

    def divided(self, decision: "Decision", survived: Int64[Tensor, " T"]) -> list["Pack"]:
        """The pairs that go on, those that are done, those that are emptied, with the tokens that are left of each.

        Args:
            decision: What was decided for this pack.
            survived: For each token of the first pack, 1 + how many pruning steps it survived: those of this decision
                are added.
        """
        parts = decision.going_on, decision.done, decision.emptied
        if not any(decision.pruned) and len(self.pairs) in map(len, parts):
            return [self if part else self._select(slice(0), self.image, Segments(()), ()) for part in parts]
        places = {position: (k, place) for k, part in enumerate(parts) for place, position in enumerate(part)}
        images = range(len(self.segments.lengths))
        part_of = [places[i // 2][0] for i in images]
        numbers = [2 * places[i // 2][1] + i % 2 for i in images]
        table = uploaded([part_of, decision.pruned, numbers], torch.int64, self.image.device)
        part_of_token, pruned, number = table[:, self.image].unbind()
        survived.index_add_(0, self.origin, pruned * decision.remaining)
        left = decision.remaining | (pruned == 0)
        divided = []
        for k, part in enumerate(parts):
            segments = Segments(decision.lengths).of_pairs(part)
            # What is empty, or everything, need not be looked for.
            if segments == self.segments:
                divided.append(self)
                continue
            rows = rows_of(left & (part_of_token == k), segments.total) if segments.total else slice(0)
            divided.append(self._select(rows, number, segments, [self.pairs[i] for i in part]))
        return divided

    def _select(self, rows: Tensor | slice, image: Tensor, segments: Segments, pairs: Sequence[int]) -> "Pack":
        return Pack(
            x=self.x[rows],
            encoding=self.encoding[:, rows],
            origin=self.origin[rows],
            image=image[rows],
            segments=segments,
            pairs=tuple(pairs),
        )


def first_pack(x: Float[Tensor, "t d"], encoding: Float[Tensor, "2 t 1 f"], segments: Segments) -> Pack:
    """All tokens of all pairs, before the first layer."""
    images = len(segments.lengths)
    return Pack(
        x=x,
        encoding=encoding,
        origin=torch.arange(segments.total, device=x.device),
        image=segments.spread(torch.arange(images, device=x.device)),
        segments=segments,
        pairs=tuple(range(images // 2)),
    )


def rows_of(chosen: Bool[Tensor, " t"], count: int) -> Int64[Tensor, " r"]:
    """The rows that are chosen, of which the host knows how many there are."""
    return _first_sorted(chosen, count) if chosen.is_cuda else chosen.nonzero().flatten()


def _first_sorted(chosen: Bool[Tensor, " t"], count: int) -> Int64[Tensor, " r"]:
    """The first rows of those sorted by a flag: unlike with ``nonzero``, the host need not wait for a GPU to count."""
    return (~chosen).argsort(stable=True)[:count]


class TokenConfidence(nn.Module):
    """Whether a point's match would stay what it is if all layers ran. The name is that of the official state dict."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token = nn.Sequential(nn.Linear(width, 1), nn.Sigmoid())

    def forward(self, x: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        """The confidence of each token, in [0, 1]; no gradient flows back into the states."""
        return torch.sigmoid(self.logits(x))

    def logits(self, x: Float[Tensor, "t d"]) -> Float[Tensor, " t"]:
        """The confidence before the sigmoid; no gradient flows back into the states."""
        confidence: Tensor = self.token[0](x.detach()).squeeze(-1)
        return confidence


def confidence_threshold(layer: int, n_layers: int) -> float:
    """The confidence above which a point is confident after ``layer``, which counts from 0.

    Strict at first, when confidences mean less.
    """
    return min(max(0.8 + 0.1 * math.exp(-4.0 * layer / n_layers), 0.0), 1.0)


@dataclass(frozen=True)
class Decision:
    """The pairs and tokens that go on after one layer, and those that do not."""

    going_on: tuple[int, ...]
    """Positions in ``Pack.pairs`` of the pairs that go on."""
    done: tuple[int, ...]
    """Positions of the pairs that exit, with all their tokens."""
    emptied: tuple[int, ...]
    """Positions of the pairs that lose all tokens of an image."""
    pruned: tuple[bool, ...]
    """For each image, whether a pruning step runs on it, even if it drops nothing; never for a pair that is done."""
    remaining: Bool[Tensor, " t"]
    """The tokens that pruning leaves, where it runs."""
    lengths: tuple[int, ...]
    """The number of tokens that are left of each image."""


def decide(
    pack: Pack,
    confidence: Float[Tensor, " t"] | None,
    matchability: Float[Tensor, " t"] | None,
    *,
    threshold: float,
    counts: Sequence[int],
    depth_confidence: float | None,
    width_confidence: float | None,
    pruning_min_keypoints: int,
) -> Decision:
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
    nobody = torch.zeros_like(pack.origin, dtype=torch.bool)
    unsure = nobody if confidence is None else confidence < threshold
    remaining = ~nobody
    if matchability is not None and width_confidence is not None:
        remaining = matchability > 1 - width_confidence
        if confidence is not None:
            remaining |= confidence <= threshold
    unsure_counts, remaining_counts = pack.sums(torch.stack([unsure, remaining]))

    done: tuple[int, ...] = ()
    if depth_confidence is not None:
        unsure_of_pair = [a + b for a, b in zip(unsure_counts[::2], unsure_counts[1::2], strict=True)]
        shares = [_confident_share(count, total) for count, total in zip(unsure_of_pair, counts, strict=True)]
        done = tuple(i for i, share in enumerate(shares) if share > np.float32(depth_confidence))
    lengths = pack.segments.lengths
    prunes = matchability is not None
    pruned = tuple(prunes and n > pruning_min_keypoints and j // 2 not in done for j, n in enumerate(lengths))
    lengths = tuple(remaining_counts[j] if pruned[j] else n for j, n in enumerate(lengths))
    emptied = tuple(i for i in range(len(pack.pairs)) if 0 in lengths[2 * i : 2 * i + 2])
    return Decision(
        going_on=tuple(i for i in range(len(pack.pairs)) if i not in done and i not in emptied),
        done=done,
        emptied=emptied,
        pruned=pruned,
        remaining=remaining,
        lengths=lengths,
    )


def _confident_share(unsure: int, total: int) -> np.float32:
    """Share of the points that are confident; in single precision, like the official code, so that ties fall alike."""
    return np.float32(1.0) - np.float32(unsure) / np.float32(total)
