"""What a benchmark is: it measures one pair against its truth, and sums up the pairs of a data set."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from photoglue.datasets.truths import Truth
from photoglue.structs import Matches


@dataclass(frozen=True, kw_only=True)
class MatchedPair:
    """One pair with the matches of one method, ready to be measured."""

    truth: Truth
    """What is known."""
    matches: Matches
    """In the same pixels as the truth."""
    size0: tuple[int, int]
    """(width, height) of image 0 in those pixels."""
    size1: tuple[int, int]
    """The same for image 1."""


class Benchmark(ABC):
    """One kind of benchmark. It has no state: the same objects serve all data sets and processes.

    Values are floats under names; a pair without matches or without a model gets the worst values, and stays.
    """

    name: ClassVar[str]
    """Key in ``BENCHMARKS``."""
    headline: ClassVar[str]
    """The value that a data set is judged by, if there is room for one only."""

    @abstractmethod
    def measure(self, pair: MatchedPair) -> dict[str, float]:
        """What the matches alone say: nothing random."""

    @abstractmethod
    def estimate(self, pair: MatchedPair, estimator: str, threshold_px: float, seed: int) -> dict[str, float]:
        """What a robust estimator makes of the matches.

        Args:
            pair: With the truth to compare with.
            estimator: A key of ``ESTIMATORS``.
            threshold_px: Largest error of an inlier, pixels of the pair.
            seed: Of its random samples.
        """

    def group_of(self, scene: str) -> str | None:  # noqa: ARG002
        """A group of scenes that is summed up on its own, besides the scenes; None: in none."""
        return None

    @abstractmethod
    def summary(self, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """The values of a data set or scene, from the values of all its pairs (at least one)."""


def means(values: Sequence[Mapping[str, float]], names: Mapping[str, str]) -> dict[str, float]:
    """Means over the pairs that have a value (nan: it could not be measured there), if any pair has.

    Args:
        values: Of the pairs.
        names: Name in the pairs → name of the mean.
    """
    found = {}
    for name, shown in names.items():
        column = np.array([row[name] for row in values if name in row], dtype=np.float64)
        column = column[~np.isnan(column)]
        if len(column):
            found[shown] = float(column.mean())
    return found


def column(values: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    """The value of that name of every pair; each must have it."""
    return np.array([row[name] for row in values], dtype=np.float64)


COUNTS: Mapping[str, str] = {
    "num_matches": "matches",
    "num_inliers": "inliers",
    "stop": "exit_layer",
    "pruned_share": "pruned",
    "match_s": "match_s",
}
"""What every benchmark averages besides its own values."""


def adaptivity(matches: Matches) -> dict[str, float]:
    """How many matches there are, and how early the matcher stopped and what it dropped, if it does such things."""
    values = {"num_matches": float(len(matches))}
    if matches.stop is not None:
        values["stop"] = float(matches.stop)
    if matches.prune0 is not None and matches.prune1 is not None:
        # A point that stayed has the largest count of its image: 1 + all steps run there.
        dropped = sum(int((prune < prune.max()).sum()) for prune in (matches.prune0, matches.prune1) if len(prune))
        points = len(matches.prune0) + len(matches.prune1)
        values["pruned_share"] = dropped / points if points else 0.0
    return values
