"""Robust estimation by OpenCV: RANSAC and MAGSAC++, as the field's evaluations use them.

For results to be used rather than compared, ``solvers.poselib`` is the more accurate one: with the same LightGlue
matches on MegaDepth-1500, OpenCV's RANSAC reaches an AUC@5° of 49.9 and LO-RANSAC 66.7 (LightGlue paper, table 2).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from torch import Tensor

from photoglue.errors import ConfigError, require
from photoglue.geometry.camera import PinholeCamera
from photoglue.solvers.verification import (
    Model,
    Verification,
    checked_threshold,
    verified,
)

Method: TypeAlias = Literal["ransac", "magsac"]

METHODS: Mapping[str, str] = MappingProxyType({"ransac": "RANSAC", "magsac": "USAC_MAGSAC"})
"""Name of each method in OpenCV."""
THRESHOLD_PX: Mapping[str, float] = MappingProxyType({"homography": 3.0, "fundamental": 1.0, "essential": 0.5})
"""Default thresholds, pixels: glue-factory's; the LightGlue paper too has 0.5 px as the best one for essential
matrices."""
CONFIDENCE: Mapping[str, float] = MappingProxyType({"homography": 0.995, "fundamental": 0.99999, "essential": 0.99999})
"""Probability at which sampling ends, as in the published protocols."""
MAX_ITERATIONS: Mapping[str, int] = MappingProxyType({"homography": 3000, "fundamental": 1000, "essential": 1000})
"""Most samples that are tried, as in the published protocols: glue-factory's for homographies, else OpenCV's."""


def verify_opencv(  # noqa: PLR0913  (protocols differ in all of them)
    points0: Float[Tensor, "k 2"],
    points1: Float[Tensor, "k 2"],
    model: Model,
    *,
    camera0: PinholeCamera | None = None,
    camera1: PinholeCamera | None = None,
    threshold_px: float | None = None,
    seed: int = 0,
    method: Method = "ransac",
    confidence: float | None = None,
) -> Verification:
    """The geometry that most matches agree with, and which ones do; the same every time for one ``seed``.

    As glue-factory calls OpenCV: a homography by ``findHomography``; an essential matrix by ``findEssentialMat`` on
    normalised points, with the threshold over the mean of the four focal lengths, and of its poses the one with most
    inliers in front of both cameras (``recoverPose``), however far away. There glue-factory, like SuperGlue and LoFTR,
    means to pass 1e9 baselines as the limit, but OpenCV does not understand it so and keeps its 50. The same guards as
    in ``solvers.poselib``: a model that only the matches which define it agree with is none.

    Args:
        points0: Points of the matches in image 0, (x, y) in pixels, such as ``matches.points0``.
        points1: Points of the matches in image 1.
        model: Geometric model to fit; see ``solvers.poselib.verify``.
        camera0: Camera of image 0; needed for "essential", else unused.
        camera1: Camera of image 1; needed for "essential", else unused.
        threshold_px: Largest error of an inlier as ``Verification`` defines it; None: the model's default in
            ``THRESHOLD_PX``.
        seed: OpenCV's estimators draw the same samples always, whatever ``cv2.setRNGSeed`` says. So 0 is their answer
            to the matches as they come, as the field reports it; another seed shuffles the matches first.
        method: "ransac", which refines homographies but not essential matrices; or "magsac", MAGSAC++.
        confidence: Sampling ends once the best model has been seen with that probability, at the latest after
            ``MAX_ITERATIONS``; None: the model's default in ``CONFIDENCE``.

    Raises:
        ConfigError: If ``model`` or ``method`` is unknown, a camera is missing, the threshold is not positive, or the
            confidence is not within 0…1.
        ShapeError: If there are not as many points in both images, or one is not finite.
        MissingExtra: If OpenCV is not installed.
    """
    threshold = checked_threshold(model, threshold_px, THRESHOLD_PX)
    confidence = CONFIDENCE[model] if confidence is None else float(confidence)
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence}; it must be a probability between 0 and 1, such as 0.99999.")
    if method not in METHODS:
        raise ConfigError(f"There is no method {method!r}; choose one of {', '.join(METHODS)}.")
    cv2 = require("cv2", extra="sift")
    sampling = (getattr(cv2, METHODS[method]), confidence, MAX_ITERATIONS[model])

    def estimate(array0: np.ndarray, array1: np.ndarray, cameras: Sequence[PinholeCamera]) -> tuple[Any, Any]:
        order = np.random.default_rng(seed).permutation(len(array0)) if seed else np.arange(len(array0))
        try:
            if cameras:
                found, mask = _pose(cv2, array0[order], array1[order], cameras, threshold, sampling)
            else:
                found, mask = _matrix(cv2, model, array0[order], array1[order], threshold, sampling)
        except cv2.error:  # some of its solvers raise where there is no solution
            found = None
        if found is None:
            return None, None
        inliers = np.zeros(len(order), dtype=bool)
        inliers[order] = mask.ravel() > 0
        return found, inliers

    return verified(model, (points0, points1), (camera0, camera1), threshold, estimate)


def _matrix(
    cv2: Any, model: Model, points0: np.ndarray, points1: np.ndarray, threshold: float, sampling: tuple[int, float, int]
) -> tuple[Any, Any]:
    """(matrix, mask of inliers); None without a model."""
    method, confidence, iterations = sampling
    if model == "homography":
        found, mask = cv2.findHomography(
            points0, points1, method, threshold, maxIters=iterations, confidence=confidence
        )
    else:
        found, mask = cv2.findFundamentalMat(points0, points1, method, threshold, confidence, iterations)
    return (found, mask) if np.shape(found) == (3, 3) else (None, None)


def _pose(
    cv2: Any,
    points0: np.ndarray,
    points1: np.ndarray,
    cameras: Sequence[PinholeCamera],
    threshold: float,
    sampling: tuple[int, float, int],
) -> tuple[Any, Any]:
    """((rotation, translation), mask of the inliers in front of both cameras); None without a model."""
    method, confidence, iterations = sampling
    focal = np.mean([(camera.fx, camera.fy) for camera in cameras])
    points0, points1 = (
        (points - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
        for points, camera in zip((points0, points1), cameras, strict=True)
    )
    identity = np.eye(3)
    stacked, mask = cv2.findEssentialMat(
        points0,
        points1,
        identity,
        method=method,
        prob=confidence,
        threshold=threshold / focal,
        maxIters=iterations,
    )
    best, best_count, best_mask = None, 0, None
    # Several essential matrices, one below the other, if they all fit equally well.
    for essential in [] if stacked is None else stacked.reshape(-1, 3, 3):
        # It writes into its mask. The distance needs its name: as fifth argument, which is how the field passes it, it
        # would be taken for the rotation to be filled in, and the distance stay 50.
        count, rotation, translation, in_front, _ = cv2.recoverPose(
            essential, points0, points1, identity, distanceThresh=1e9, mask=mask.copy()
        )
        if count > best_count:
            best, best_count, best_mask = (rotation, translation), count, in_front
    return best, best_mask
