"""Parts of photos that look alike: which of them are taken for the same thing, and rightly."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import numpy as np

from photoglue.datasets.truths import Shared
from photoglue.evaluation.benchmarks.base import MatchedPair, PairBenchmark, adaptivity, column, means
from photoglue.evaluation.benchmarks.estimators import estimator_named
from photoglue.evaluation.benchmarks.metric import COMMON, Metric, thresholded
from photoglue.evaluation.benchmarks.overlap import ACCEPTED_FROM, LIKELY


@final
class LookAlikes(PairBenchmark):
    """How many pairs of things that only look alike are taken for the same thing, and how many true ones are kept.

    That is said by the matcher's own verdict, and by the number of inliers of a homography.
    """

    name: ClassVar[str] = "look_alikes"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(
            "false_alarms",
            "share",
            "lower",
            "Share of the pairs with nothing in common which the matcher's own verdict takes for overlapping ones.",
        ),
        Metric(
            "kept", "share", "higher", "Share of the pairs that overlap which the matcher's own verdict says of them."
        ),
        *thresholded(
            "false_pairs",
            ACCEPTED_FROM,
            "Share of the pairs that show nothing in common which keep {t} or more inliers.",
            better="lower",
        ),
        *thresholded("kept_pairs", ACCEPTED_FROM, "Share of the pairs that overlap which keep {t} or more inliers."),
        *COMMON,
    )
    headline: ClassVar[str] = "false_pairs@15"
    errors: ClassVar[tuple[Metric, ...]] = ()
    limits: ClassVar[tuple[float, ...]] = ()

    @property
    def ranked_by(self) -> Metric:
        """How wrong a pair is judged: the worst are look-alikes that are taken, and overlaps that are not."""
        return Metric("misjudged", "number", "lower")

    def measure(self, pair: MatchedPair) -> dict[str, float]:
        """Counts, what the two photos share, and the matcher's own verdict."""
        assert isinstance(pair.truth, Shared)
        values = adaptivity(pair.matches) | {"shared": pair.truth.share}
        probability = pair.overlap_probability
        return values if probability is None else values | {"overlap_probability": probability}

    def estimate(self, pair: MatchedPair, estimator: str, threshold_px: float, seed: int) -> dict[str, float]:
        """How many matches agree with one homography, and how wrong the verdict on the pair is, in [0, 1]."""
        assert isinstance(pair.truth, Shared)
        points0, points1 = pair.matches.points0, pair.matches.points1
        found = len(estimator_named(estimator)(points0, points1, "homography", threshold_px=threshold_px, seed=seed))
        taken = float(found >= ACCEPTED_FROM[0]) if pair.overlap_probability is None else pair.overlap_probability
        return {"num_inliers": float(found), "misjudged": taken if pair.truth.share == 0 else 1 - taken}

    def summary(self, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Shares of the pairs that are taken for overlapping ones, and means."""
        apart = column(values, "shared") == 0
        inliers = column(values, "num_inliers")
        rows = {("false_pairs", "kept_pairs"): {f"@{count}": inliers >= count for count in ACCEPTED_FROM}}
        if all("overlap_probability" in row for row in values):
            rows["false_alarms", "kept"] = {"": column(values, "overlap_probability") > LIKELY}
        shares: dict[str, float] = {}
        for names, columns in rows.items():
            for name, members in zip(names, (apart, ~apart), strict=True):
                if members.any():
                    shares |= {f"{name}{end}": float(np.mean(taken[members])) for end, taken in columns.items()}
        return shares | means(values, self.metrics)
