"""Homographies: HPatches, Oxford-affine, EVD."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch
from jaxtyping import Float64
from torch import Tensor

from photoglue.datasets.truths import Planar, match_errors
from photoglue.evaluation.benchmarks.base import MatchedPair, PairBenchmark, adaptivity, column, means
from photoglue.evaluation.benchmarks.estimators import estimator_named
from photoglue.evaluation.benchmarks.metric import COMMON, Metric, curve_meaning, thresholded
from photoglue.geometry.homography import corner_error_px, estimate_homography_dlt, warp_points
from photoglue.metrics import auc, precision_at

THRESHOLDS_PX = (1, 3, 5)


@final
class Homography(PairBenchmark):
    """AUC of the corner error, by robust estimation and by a DLT of all matches; precision and recall of the matches.

    A match is correct within t px if the mean of its distances in the two images, each to where the truth takes the
    partner, is below t. Recall is the share found of the pairs of keypoints that are each other's nearest under the
    truth and within t px. A pair of images without matches has precision 0.
    """

    name: ClassVar[str] = "homography"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *thresholded("AUC", THRESHOLDS_PX, curve_meaning("corner error", " px")),
        *thresholded("AUC_DLT", THRESHOLDS_PX, curve_meaning("corner error of a plain least-squares fit", " px")),
        *thresholded(
            "precision",
            THRESHOLDS_PX,
            "Share of the matches that agree with the true geometry within {t} px.",
            unit="px",
            mean_of="precision_{t}px",
            brief=3,
        ),
        *thresholded(
            "recall",
            THRESHOLDS_PX,
            "Share of the keypoints with a true partner within {t} px that were matched to it.",
            unit="px",
            mean_of="recall_{t}px",
            brief=3,
        ),
        *COMMON,
    )
    headline: ClassVar[str] = "AUC@3"
    errors: ClassVar[tuple[Metric, ...]] = tuple(
        Metric(name, "pixels", "lower", "Mean distance of the corners of image 0 from their true places.", label=label)
        for name, label in (("homography_error_px", "homography error"), ("dlt_error_px", "DLT error"))
    )
    limits: ClassVar[tuple[float, ...]] = THRESHOLDS_PX

    def measure(self, pair: MatchedPair) -> dict[str, float]:
        """Counts, precision, recall, and the corner error of the DLT weighted by the scores, which is not random."""
        matches, true = pair.matches, _matrix(pair)
        errors = match_errors(matches.points0, matches.points1, pair.truth)
        assert errors is not None
        values = adaptivity(matches)
        for threshold, share in zip(THRESHOLDS_PX, precision_at(errors.numpy(), THRESHOLDS_PX), strict=True):
            values[f"precision_{threshold}px"] = share
        values |= _recalls(pair, errors)
        fitted = estimate_homography_dlt(matches.points0, matches.points1, matches.scores)
        values["dlt_error_px"] = corner_error_px(fitted, true, pair.size0)
        return values

    def estimate(self, pair: MatchedPair, estimator: str, threshold_px: float, seed: int) -> dict[str, float]:
        """Corner error of the robust estimate, pixels of image 1; inf if there is none."""
        points0, points1 = pair.matches.points0, pair.matches.points1
        found = estimator_named(estimator)(points0, points1, "homography", threshold_px=threshold_px, seed=seed)
        error = corner_error_px(found.matrix, _matrix(pair), pair.size0)
        return {"homography_error_px": error, "num_inliers": float(len(found))}

    def group_of(self, scene: str) -> str | None:
        """The two halves of HPatches."""
        return {"i_": "illumination (i_*)", "v_": "viewpoint (v_*)"}.get(scene[:2])

    def summary(self, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """AUC@1/3/5 px of both estimates, and means."""
        robust = auc(column(values, "homography_error_px"), THRESHOLDS_PX)
        fitted = auc(column(values, "dlt_error_px"), THRESHOLDS_PX)
        return (
            {f"AUC@{t}": area for t, area in zip(THRESHOLDS_PX, robust, strict=True)}
            | {f"AUC_DLT@{t}": area for t, area in zip(THRESHOLDS_PX, fitted, strict=True)}
            | means(values, self.metrics)
        )


def _recalls(pair: MatchedPair, errors: Float64[Tensor, " k"]) -> dict[str, float]:
    """Shares of the keypoints of image 0 with a true partner that have a correct match; nan if there are none."""
    matches, true = pair.matches, _matrix(pair)
    recalls = {f"recall_{threshold}px": float("nan") for threshold in THRESHOLDS_PX}
    if not (len(matches.keypoints0) and len(matches.keypoints1)):
        return recalls
    warped = warp_points(matches.keypoints0.double(), true).nan_to_num(nan=float("inf"))
    distances = torch.cdist(warped, matches.keypoints1.double()).nan_to_num(nan=float("inf"))
    nearest0, nearest1 = distances.argmin(dim=1), distances.argmin(dim=0)
    rows = torch.arange(len(nearest0))
    mutual = nearest1[nearest0] == rows
    best = match_errors(matches.keypoints0, matches.keypoints1[nearest0], pair.truth)
    assert best is not None
    reached = torch.full((len(nearest0),), float("inf"), dtype=torch.float64)
    reached[matches.indices[:, 0]] = errors
    for threshold in THRESHOLDS_PX:
        possible = mutual & (best < threshold)
        if bool(possible.any()):
            recalls[f"recall_{threshold}px"] = float((reached[possible] < threshold).double().mean())
    return recalls


def _matrix(pair: MatchedPair) -> Float64[Tensor, "3 3"]:
    assert isinstance(pair.truth, Planar)
    return torch.from_numpy(pair.truth.image1_from_image0)
