"""Pairs of photos of different scenes: whatever is matched there is wrong."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import numpy as np

from photoglue.evaluation.benchmarks.base import COUNTS, Benchmark, MatchedPair, adaptivity, column, means
from photoglue.evaluation.benchmarks.estimators import estimator_named
from photoglue.matchers.lightglue.verdict import overlap_probability

ACCEPTED_FROM = (15, 30)
"""Inliers from which a pair is taken for a real one: COLMAP's default, and a careful one."""
LIKELY = 0.5
"""The verdict above which photos are taken to overlap."""


@final
class Overlap(Benchmark):
    """How many matches survive where there are none, and how many such pairs a reconstruction would believe.

    Also the verdict on whether the photos overlap, and how often it says yes; of matchers that have none, nothing.
    """

    name: ClassVar[str] = "overlap"
    headline: ClassVar[str] = "false_pairs@15"

    def measure(self, pair: MatchedPair) -> dict[str, float]:
        """Counts, the sum of the scores of the matches, and the probability that the photos overlap."""
        values = adaptivity(pair.matches) | {"score_sum": float(pair.matches.scores.double().sum())}
        probability = overlap_probability(pair.matches)
        return values if probability is None else values | {"overlap_probability": probability}

    def estimate(self, pair: MatchedPair, estimator: str, threshold_px: float, seed: int) -> dict[str, float]:
        """How many matches agree with one fundamental matrix."""
        points0, points1 = pair.matches.points0, pair.matches.points1
        found = estimator_named(estimator)(points0, points1, "fundamental", threshold_px=threshold_px, seed=seed)
        return {"num_inliers": float(len(found))}

    def summary(self, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Shares of pairs with so many inliers or more, or a verdict above one half, and means."""
        inliers = column(values, "num_inliers")
        shares = {f"false_pairs@{count}": float((inliers >= count).mean()) for count in ACCEPTED_FROM}
        verdicts = [row["overlap_probability"] for row in values if "overlap_probability" in row]
        if verdicts:
            shares["false_positive_rate"] = float(np.mean([verdict > LIKELY for verdict in verdicts]))
        return shares | means(values, dict(COUNTS))
