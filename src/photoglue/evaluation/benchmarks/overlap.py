"""Pairs of photos of different scenes: whatever is matched there is wrong."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import numpy as np

from photoglue.evaluation.benchmarks.base import MatchedPair, PairBenchmark, adaptivity, column, means
from photoglue.evaluation.benchmarks.estimators import estimator_named
from photoglue.evaluation.benchmarks.metric import COMMON, Metric, thresholded

ACCEPTED_FROM = (15, 30)
"""Inliers from which a pair is taken for a real one: COLMAP's default, and a careful one."""
LIKELY = 0.5
"""The verdict above which photos are taken to overlap."""


@final
class Overlap(PairBenchmark):
    """How many matches survive where there are none, and how many such pairs a reconstruction would believe.

    Also the matcher's own verdict on whether the photos overlap, and how often it says yes; matchers without a verdict
    have neither value.
    """

    name: ClassVar[str] = "overlap"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *thresholded(
            "false_pairs",
            ACCEPTED_FROM,
            "Share of pairs of different scenes that keep {t} or more inliers.",
            better="lower",
        ),
        Metric(
            "false_positive_rate",
            "share",
            "lower",
            "Share of pairs of different scenes that the matcher's own verdict takes for overlapping ones.",
        ),
        *COMMON,
    )
    headline: ClassVar[str] = "false_pairs@15"
    errors: ClassVar[tuple[Metric, ...]] = ()
    limits: ClassVar[tuple[float, ...]] = ()

    @property
    def ranked_by(self) -> Metric:
        """Inliers: where every match is wrong, the worst pairs are those that look most like real ones."""
        return Metric("num_inliers", "count", "lower", label="inliers")

    def measure(self, pair: MatchedPair) -> dict[str, float]:
        """Counts, the sum of the scores of the matches, and the matcher's own verdict."""
        values = adaptivity(pair.matches) | {"score_sum": float(pair.matches.scores.double().sum())}
        probability = pair.overlap_probability
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
        return shares | means(values, self.metrics)
