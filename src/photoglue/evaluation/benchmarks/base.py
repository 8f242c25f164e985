"""What a benchmark is: it measures one pair or query against its truth, and sums up those of a data set."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from photoglue.datasets.truths import Truth
from photoglue.evaluation.benchmarks.metric import Metric
from photoglue.structs import Matches


@dataclass(frozen=True, kw_only=True)
class MatchedPair:
    """One pair with the matches of one method, ready to be measured."""

    truth: Truth
    """What is known."""
    matches: Matches
    """The matches, in the same pixels as the truth."""
    size0: tuple[int, int]
    """(width, height) of image 0 in those pixels."""
    size1: tuple[int, int]
    """(width, height) of image 1 in those pixels."""
    overlap_probability: float | None = None
    """The matcher's own verdict: how likely the two photos show the same thing, in (0, 1); None: it has none."""


class Benchmark(ABC):
    """One kind of benchmark. It has no state: the same objects serve all data sets and processes.

    Values are floats under names; a pair without matches or without a model gets the worst values, and stays.
    """

    name: ClassVar[str]
    """Key in ``BENCHMARKS``."""
    metrics: ClassVar[tuple[Metric, ...]]
    """The values of a data set or scene, in the order in which they are shown."""
    headline: ClassVar[str]
    """The name of the metric that a data set is judged by, if there is room for one only."""
    errors: ClassVar[tuple[Metric, ...]]
    """The errors of single pairs that are plotted, the most telling first; empty: pairs have none."""
    limits: ClassVar[tuple[float, ...]]
    """The errors below which pairs are counted, in the unit of ``errors``."""

    @property
    def ranked_by(self) -> Metric:
        """The value of single pairs that is largest for the worst ones."""
        return self.errors[0]

    def metric(self, name: str) -> Metric:
        """The metric of that name; without a meaning if it is none of this benchmark's (in a file from elsewhere)."""
        return next((each for each in self.metrics if each.name == name), Metric(name, "number"))

    def group_of(self, scene: str) -> str | None:  # noqa: ARG002
        """A group of scenes that is summed up on its own, besides the scenes; None: in none."""
        return None

    @abstractmethod
    def summary(self, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """The values of a data set or scene, from the values of all its pairs (at least one)."""


class PairBenchmark(Benchmark):
    """A benchmark of matched pairs."""

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
            seed: Seed of the estimator's random samples.
        """


def means(values: Sequence[Mapping[str, float]], metrics: Sequence[Metric]) -> dict[str, float]:
    """The metrics that are means over pairs, if any pair has a value (nan: it could not be measured there).

    Args:
        values: The values of each pair.
        metrics: Those without ``mean_of`` are left out.
    """
    found = {}
    for metric in metrics:
        known = [row[metric.mean_of] for row in values if not np.isnan(row.get(metric.mean_of, np.nan))]
        if known:
            found[metric.name] = float(np.mean(known))
    return found


def column(values: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    """The value of that name of every pair; each must have it."""
    return np.array([row[name] for row in values], dtype=np.float64)


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
