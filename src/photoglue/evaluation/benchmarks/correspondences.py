"""Fundamental matrices against points that a person marked: WxBS (Mishkin et al., BMVC 2015)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch

from photoglue.datasets.truths import Marked
from photoglue.evaluation.benchmarks.base import MatchedPair, PairBenchmark, adaptivity, means
from photoglue.evaluation.benchmarks.estimators import estimator_named
from photoglue.evaluation.benchmarks.metric import COMMON, Metric, thresholded
from photoglue.geometry.epipolar import symmetric_epipolar_distance
from photoglue.metrics import mean_average_accuracy

LIMITS_PX = (10, 20)


@final
class Correspondences(PairBenchmark):
    """mAA: the share of marked points within 1, 2, … 10 or 20 px of the estimated epipolar lines, averaged.

    The distance is the mean of those in the two images. A pair without a model counts 0.
    """

    name: ClassVar[str] = "correspondences"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *thresholded(
            "mAA",
            LIMITS_PX,
            "Share of the marked points within 1, 2, … {t} px of their lines, averaged over these.",
            mean_of="mAA_{t}px",
        ),
        *COMMON,
    )
    headline: ClassVar[str] = "mAA@10"
    errors: ClassVar[tuple[Metric, ...]] = (
        Metric(
            "epipolar_error_px",
            "pixels",
            "lower",
            "Median distance of the marked points from their epipolar lines.",
            label="epipolar error",
        ),
    )
    limits: ClassVar[tuple[float, ...]] = LIMITS_PX

    def measure(self, pair: MatchedPair) -> dict[str, float]:
        """Counts: wide-baseline pairs have no dense truth that matches could be compared with."""
        return adaptivity(pair.matches)

    def estimate(self, pair: MatchedPair, estimator: str, threshold_px: float, seed: int) -> dict[str, float]:
        """The mAA of the estimated F, and the median distance of the marked points, pixels (inf: no F)."""
        assert isinstance(pair.truth, Marked)
        points0, points1 = pair.matches.points0, pair.matches.points1
        found = estimator_named(estimator)(points0, points1, "fundamental", threshold_px=threshold_px, seed=seed)
        marked0, marked1 = torch.from_numpy(pair.truth.points0), torch.from_numpy(pair.truth.points1)
        if found.matrix is None:
            distances = torch.full((len(marked0),), float("inf"), dtype=torch.float64)
        else:
            distances = symmetric_epipolar_distance(marked0, marked1, found.matrix)
        values = {f"mAA_{n}px": mean_average_accuracy(distances.numpy(), range(1, n + 1)) for n in LIMITS_PX}
        values["epipolar_error_px"] = float(distances.median())
        values["num_inliers"] = float(len(found))
        return values

    def summary(self, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """The mAA over 1…10 and 1…20 px, and means."""
        return means(values, self.metrics)
