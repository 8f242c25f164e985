"""Several sources of pairs as one."""

from collections.abc import Sequence
from typing import final

import numpy as np

from photoglue.errors import ConfigError
from photoglue.training.pairs.base import PairSource, TrainingPair


@final
class Mixture(PairSource):
    """Pairs of several sources in given shares, in random order.

    Each epoch has exactly the same number from a source (up to rounding, its share), and a source gives all of its own
    epoch before any of its next, however long the mixture's epochs are.
    """

    def __init__(
        self, sources: Sequence[tuple[PairSource, float]], *, pairs_per_epoch: int | None = None, seed: int = 0
    ) -> None:
        """Construct the mixture; nothing is read.

        Args:
            sources: Sources with their weights, which are relative and not below 0.
            pairs_per_epoch: Length of an epoch; None: as many pairs as all sources have together.
            seed: Seed of the order.

        Raises:
            ConfigError: If there is no source with a weight, or one with a weight is empty.
        """
        weights = np.array([weight for _, weight in sources], dtype=np.float64)
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
            raise ConfigError(f"The weights are {weights.tolist()}; they must be 0 or more, and one above 0.")
        used = [source for source, weight in sources if weight > 0]
        if not all(len(source) for source in used):
            raise ConfigError("A source of pairs with a weight is empty; give it the weight 0 or leave it out.")
        if pairs_per_epoch is not None and pairs_per_epoch < 1:
            raise ConfigError(f"pairs_per_epoch is {pairs_per_epoch}; it must be at least 1, or None.")
        self._sources, self._seed = used, seed
        self._length = pairs_per_epoch or sum(len(source) for source in used)
        self.counts: tuple[int, ...] = _whole_shares(weights[weights > 0], self._length)
        """Pairs of each source with a weight, in an epoch."""
        self._order: tuple[int, np.ndarray, np.ndarray] = (-1, np.zeros(0, np.int64), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return self._length

    def pair(self, epoch: int, index: int) -> TrainingPair:
        """One pair, in main memory; see PairSource."""
        if self._order[0] != epoch:
            self._order = (epoch, *self._ordered(epoch))
        source, place = int(self._order[1][index]), int(self._order[2][index])
        chosen = self._sources[source]
        return chosen.pair(*divmod(epoch * self.counts[source] + place, len(chosen)))

    def _ordered(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """For each pair of an epoch its source, and how many of that source's come before it."""
        turns = np.repeat(np.arange(len(self.counts)), self.counts)
        turns = np.random.default_rng([self._seed, epoch]).permutation(turns)
        places = np.zeros(self._length, np.int64)
        for source, count in enumerate(self.counts):
            places[turns == source] = np.arange(count)
        return turns, places


def _whole_shares(weights: np.ndarray, total: int) -> tuple[int, ...]:
    """Whole numbers in proportion to weights, with a given sum; what rounding leaves goes to the largest remainders."""
    exact = weights / weights.sum() * total
    counts = np.floor(exact).astype(np.int64)
    largest = np.argsort(counts - exact, kind="stable")[: total - counts.sum()]
    counts[largest] += 1
    return tuple(int(count) for count in counts)
