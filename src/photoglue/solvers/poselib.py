"""Robust estimation by PoseLib: LO-RANSAC with non-linear refinement.

PoseLib (Viktor Larsson and contributors, BSD-3) takes pixels in any convention, as long as points and cameras share
it; here the centre of the top-left pixel is (0, 0).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from photoglue.errors import require
from photoglue.geometry.camera import PinholeCamera
from photoglue.solvers.verification import (
    SAMPLE_SIZE,
    Model,
    Verification,
    checked_threshold,
    verified,
)

__all__ = ["SAMPLE_SIZE", "THRESHOLD_PX", "Model", "Verification", "scaled_threshold_px", "verify"]

THRESHOLD_PX: Mapping[str, float] = MappingProxyType({"homography": 3.0, "fundamental": 1.0, "essential": 1.0})
"""Default thresholds, for photos that were matched at about 1000 pixels, their own size. Found on 131 pairs with
known poses and 25 with known homographies: larger ones lose pose accuracy, smaller ones lose hard pairs."""


def scaled_threshold_px(model: Model, image_sizes: Sequence[tuple[int, int]], resize: int | None) -> float:
    """The default threshold of a model for points that were found in smaller copies of the photos.

    Args:
        model: The geometric model; "homography", "fundamental" or "essential".
        image_sizes: (width, height) of the photos in whose pixels the points are.
        resize: Length of the longer side that the extractor saw, pixels; None: the photos as they are.

    Returns:
        Pixels of the larger photo.

    Raises:
        ConfigError: If there is no such model.
    """
    long_side = max(max(size) for size in image_sizes)
    return checked_threshold(model, None, THRESHOLD_PX) * max(1.0, long_side / (resize or long_side))


def verify(
    points0: Float[Tensor, "k 2"],
    points1: Float[Tensor, "k 2"],
    model: Model,
    *,
    camera0: PinholeCamera | None = None,
    camera1: PinholeCamera | None = None,
    threshold_px: float | None = None,
    seed: int = 0,
    max_iterations: int = 100_000,
) -> Verification:
    """The geometry that most matches agree with, and which matches do; the same every time for one ``seed``.

    A model that only the matches which define it agree with (4, 7 and 5 for homography, fundamental and essential) is
    none: any matches have one. Some more agree by chance: about 15 of 200 random ones with a fundamental matrix.

    Args:
        points0: Points of the matches in image 0, (x, y) in pixels, such as ``matches.points0``.
        points1: Points of the matches in image 1.
        model: "homography" for flat scenes and turning cameras, "essential" for all else if the cameras are known,
            "fundamental" if they are not.
        camera0: Camera of image 0; needed for "essential", else unused.
        camera1: Camera of image 1; needed for "essential", else unused.
        threshold_px: Largest error of an inlier as ``Verification`` defines it; None: the model's default in
            ``THRESHOLD_PX``, which suits points found in the photo at its own size (``scaled_threshold_px``).
        seed: Seed of the random samples.
        max_iterations: Most random samples, which wrong matches use up: at 20,000 an essential matrix is found with
            certainty if a quarter of the matches are right, a fundamental one if a third are.

    Raises:
        ConfigError: If ``model`` is unknown, a camera is missing, or the threshold is not positive.
        ShapeError: If there are not as many points in both images, or one is not finite.
        MissingExtra: If PoseLib is not installed.
    """
    threshold = checked_threshold(model, threshold_px, THRESHOLD_PX)

    def estimate(array0: np.ndarray, array1: np.ndarray, cameras: Sequence[PinholeCamera]) -> tuple[Any, Any]:
        poselib = require("poselib", extra="geometry")
        options: dict[str, float] = {"seed": seed, "max_iterations": max_iterations}
        if model == "homography":
            options["max_reproj_error"] = threshold
            found, info = poselib.estimate_homography(array0, array1, options, {})
        else:
            options["max_epipolar_error"] = threshold
            solve = poselib.estimate_fundamental if model == "fundamental" else poselib.estimate_relative_pose
            found, info = solve(array0, array1, *map(_camera, cameras), options, {})
        return (found.R, found.t) if cameras else found, np.array(info["inliers"], dtype=bool)

    return verified(model, (points0, points1), (camera0, camera1), threshold, estimate)


def _camera(camera: PinholeCamera) -> dict[str, Any]:
    return {
        "model": "PINHOLE",
        "width": camera.image_size[0],
        "height": camera.image_size[1],
        "params": [camera.fx, camera.fy, camera.cx, camera.cy],
    }
