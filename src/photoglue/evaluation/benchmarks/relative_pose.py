"""Relative pose of calibrated photos: MegaDepth-1500, ScanNet-1500, Strecha, and any other data set with poses."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch

from photoglue.datasets.truths import Posed
from photoglue.evaluation.benchmarks.base import MatchedPair, PairBenchmark, adaptivity, column, means
from photoglue.evaluation.benchmarks.estimators import estimator_named
from photoglue.evaluation.benchmarks.metric import COMMON, Metric, curve_meaning, thresholded
from photoglue.geometry.epipolar import (
    essential_matrix,
    normalized_points,
    squared_epipolar_distance,
    symmetric_epipolar_distance,
)
from photoglue.geometry.pose import pose_error_deg, rotation_error_deg, translation_error_deg
from photoglue.metrics import auc, precision_at

AUC_DEG = (5, 10, 20)
EPIPOLAR = ("1e-4", "5e-4", "1e-3")
"""Thresholds of the mean distance to the epipolar lines, in multiples of the focal length (glue-factory's)."""
SQUARED = ("1e-4", "5e-4")
"""Thresholds of the sum of their squares (SuperGlue's and LoFTR's)."""


@final
class RelativePose(PairBenchmark):
    """AUC of the pose error, the larger of the angles of rotation and translation; epipolar precision of the matches.

    A pair without a pose has an infinite error and stays in the AUC; one without matches has the precision 0.
    """

    name: ClassVar[str] = "relative_pose"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *thresholded("AUC", AUC_DEG, curve_meaning("pose error", "°")),
        *thresholded(
            "epipolar_precision",
            EPIPOLAR,
            "Share of the matches that lie within {t} of the true epipolar lines, in units of the focal length.",
            mean_of="epipolar_precision_{t}",
            brief="5e-4",
        ),
        *thresholded(
            "squared_epipolar_precision",
            SQUARED,
            "Share of the matches whose squared distances to the true epipolar lines add up to less than {t}, in units "
            "of the focal length squared (SuperGlue's and LoFTR's measure).",
            mean_of="squared_epipolar_precision_{t}",
            brief="",
        ),
        *COMMON,
    )
    headline: ClassVar[str] = "AUC@5"
    errors: ClassVar[tuple[Metric, ...]] = (
        Metric(
            "pose_error_deg",
            "degrees",
            "lower",
            "The larger of the angles by which rotation and translation are off.",
            label="pose error",
        ),
    )
    limits: ClassVar[tuple[float, ...]] = AUC_DEG

    def measure(self, pair: MatchedPair) -> dict[str, float]:
        """Counts, the angle between the two cameras, and the precision of the matches against the true geometry."""
        truth = _posed(pair)
        essential = essential_matrix(torch.from_numpy(truth.cam1_from_cam0))
        points0 = normalized_points(pair.matches.points0, truth.camera0)
        points1 = normalized_points(pair.matches.points1, truth.camera1)
        distances = symmetric_epipolar_distance(points0, points1, essential).numpy()
        squares = squared_epipolar_distance(points0, points1, essential).numpy()
        turned = rotation_error_deg(torch.from_numpy(truth.cam1_from_cam0[:3, :3]), torch.eye(3))
        values = adaptivity(pair.matches) | {"rotation_angle_deg": turned}
        for threshold, share in zip(EPIPOLAR, precision_at(distances, [float(t) for t in EPIPOLAR]), strict=True):
            values[f"epipolar_precision_{threshold}"] = share
        for threshold, share in zip(SQUARED, precision_at(squares, [float(t) for t in SQUARED]), strict=True):
            values[f"squared_epipolar_precision_{threshold}"] = share
        return values

    def estimate(self, pair: MatchedPair, estimator: str, threshold_px: float, seed: int) -> dict[str, float]:
        """Errors of the estimated pose, degrees; inf if there is none."""
        truth = _posed(pair)
        found = estimator_named(estimator)(
            pair.matches.points0,
            pair.matches.points1,
            "essential",
            camera0=truth.camera0,
            camera1=truth.camera1,
            threshold_px=threshold_px,
            seed=seed,
        )
        true = torch.from_numpy(truth.cam1_from_cam0)
        rotation = translation = float("inf")
        if found.rotation is not None and found.translation is not None:
            rotation = rotation_error_deg(found.rotation, true[:3, :3])
            translation = translation_error_deg(found.translation, true[:3, 3])
        return {
            "pose_error_deg": pose_error_deg(found.rotation, found.translation, true),
            "rotation_error_deg": rotation,
            "translation_error_deg": translation,
            "num_inliers": float(len(found)),
        }

    def summary(self, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """AUC@5/10/20°, and means."""
        areas = auc(column(values, "pose_error_deg"), AUC_DEG)
        return {f"AUC@{t}": area for t, area in zip(AUC_DEG, areas, strict=True)} | means(values, self.metrics)


def _posed(pair: MatchedPair) -> Posed:
    assert isinstance(pair.truth, Posed)
    return pair.truth
