"""Which matches agree with one geometry: PoseLib's robust estimators (LO-RANSAC with non-linear refinement).

PoseLib (Viktor Larsson and contributors, BSD-3) takes pixels in any convention, as long as points and cameras share
it; here the centre of the top-left pixel is (0, 0).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from photoglue.errors import ConfigError, ShapeError, require
from photoglue.geometry.camera import PinholeCamera
from photoglue.structs import TensorStruct

Model: TypeAlias = Literal["homography", "fundamental", "essential"]

THRESHOLD_PX: Mapping[str, float] = MappingProxyType({"homography": 3.0, "fundamental": 1.0, "essential": 1.0})
"""Default thresholds, for photos that were matched at about 1000 pixels, their own size. Found on 131 pairs with
known poses and 25 with known homographies: larger ones lose pose accuracy, smaller ones lose hard pairs."""
SAMPLE_SIZE: Mapping[str, int] = MappingProxyType({"homography": 4, "fundamental": 7, "essential": 5})
"""So many matches define a model exactly, whatever they are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Verification(TensorStruct):
    """What a robust estimator says of the matches of one pair. Without a model, no match is an inlier."""

    model: Model
    """What was estimated."""
    matrix: Float64[Tensor, "3 3"] | None
    """None if it could not be estimated.

    homography: takes homogeneous pixels of image 0 to those of image 1; the last element is 1.
    fundamental: x1ᵀ F x0 = 0 for homogeneous pixels; Frobenius norm 1.
    essential: x1ᵀ E x0 = 0 for directions in the cameras; E = [translation]× rotation."""
    inliers: Bool[Tensor, " k"]
    """For each match, whether it agrees with the model within ``threshold_px``, before the last refinement of the model
    (which may carry a match at the limit a few percent across it)."""
    threshold_px: float
    """homography: largest distance in image 1 between a point and its partner taken there. fundamental and essential:
    largest Sampson distance, about how far the two points have to move in all to meet the epipolar geometry."""
    rotation: Float64[Tensor, "3 3"] | None = None
    """essential: of cam1_from_cam0, X1 = rotation · X0 + translation."""
    translation: Float64[Tensor, "3"] | None = None
    """essential: of cam1_from_cam0, unit length: two photos do not tell the scale."""

    def __len__(self) -> int:
        """The number of inliers."""
        return int(self.inliers.sum())


def verify(
    points0: Float[Tensor, "k 2"],
    points1: Float[Tensor, "k 2"],
    model: Model,
    *,
    camera0: PinholeCamera | None = None,
    camera1: PinholeCamera | None = None,
    threshold_px: float | None = None,
    seed: int = 0,
) -> Verification:
    """The geometry that most matches agree with, and which ones do; the same every time for one ``seed``.

    A model that only the matches which define it agree with (4, 7 and 5 for homography, fundamental and essential) is
    none: any matches have one. Some more agree by chance: about 15 of 200 random ones with a fundamental matrix.

    Args:
        points0: Where the matches lie in image 0, (x, y) in pixels, such as ``matches.points0``.
        points1: Where they lie in image 1.
        model: "homography" for flat scenes and turning cameras, "essential" for all else if the cameras are known,
            "fundamental" if they are not.
        camera0: Needed for "essential", else unused.
        camera1: Needed for "essential", else unused.
        threshold_px: See ``Verification``; None: the model's default in ``THRESHOLD_PX``. Points found in a photo
            shrunk by a factor are less exact by that factor: multiply.
        seed: Of the random samples.

    Raises:
        ConfigError: If ``model`` is unknown, a camera is missing, or the threshold is not positive.
        ShapeError: If there are not as many points in both images, or one is not finite.
        MissingExtra: If PoseLib is not installed.
    """
    threshold = _checked_threshold(model, threshold_px)
    array0, array1 = _checked_points(points0, points1)
    cameras = _cameras(camera0, camera1) if model == "essential" else []
    if len(array0) <= SAMPLE_SIZE[model]:
        return _nothing(model, points0, threshold)
    found, inliers = _estimate(model, array0, array1, cameras, threshold, seed)
    matrix, rotation, translation = _matrix(model, found)
    if sum(inliers) <= SAMPLE_SIZE[model] or not bool(torch.isfinite(matrix).all()):
        return _nothing(model, points0, threshold)
    return Verification(
        model=model,
        matrix=matrix,
        inliers=torch.tensor(inliers, dtype=torch.bool, device=points0.device),
        threshold_px=threshold,
        rotation=rotation,
        translation=translation,
    )


def _estimate(
    model: Model, points0: np.ndarray, points1: np.ndarray, cameras: list[dict[str, Any]], threshold: float, seed: int
) -> tuple[Any, list[bool]]:
    """A 3 × 3 array, or a pose with R and t for "essential"; and the inliers."""
    poselib = require("poselib", extra="geometry")
    if model == "homography":
        options = {"max_reproj_error": threshold, "seed": seed}
        found, info = poselib.estimate_homography(points0, points1, options, {})
    else:
        options = {"max_epipolar_error": threshold, "seed": seed}
        estimate = poselib.estimate_fundamental if model == "fundamental" else poselib.estimate_relative_pose
        found, info = estimate(points0, points1, *cameras, options, {})
    return found, info["inliers"]


def _matrix(model: Model, found: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """(matrix, rotation, translation), scaled as ``Verification`` says; not finite where there is no sense in it."""
    if model == "essential":
        rotation = torch.from_numpy(np.array(found.R, dtype=np.float64))
        translation = torch.from_numpy(np.array(found.t, dtype=np.float64).reshape(3))
        translation = translation / translation.norm()
        # Column by column: the cross product of the translation with the rotation's columns.
        return torch.linalg.cross(translation[:, None].expand(3, 3), rotation, dim=0), rotation, translation
    matrix = torch.from_numpy(np.array(found, dtype=np.float64))
    return matrix / (matrix[2, 2] if model == "homography" else matrix.norm()), None, None


def _cameras(camera0: PinholeCamera | None, camera1: PinholeCamera | None) -> list[dict[str, Any]]:
    if camera0 is None or camera1 is None:
        missing = " and ".join(name for name, camera in (("camera0", camera0), ("camera1", camera1)) if camera is None)
        raise ConfigError(
            f"An essential matrix needs both cameras, but there is no {missing}. Pass "
            "camera0=PinholeCamera(fx=…, fy=…, cx=…, cy=…, image_size=(width, height)) and camera1=…, "
            "or use model='fundamental', which needs none."
        )
    return [
        {
            "model": "PINHOLE",
            "width": camera.image_size[0],
            "height": camera.image_size[1],
            "params": [camera.fx, camera.fy, camera.cx, camera.cy],
        }
        for camera in (camera0, camera1)
    ]


def _checked_threshold(model: str, threshold_px: float | None) -> float:
    if model not in THRESHOLD_PX:
        raise ConfigError(f"There is no model {model!r}; choose one of {', '.join(THRESHOLD_PX)}.")
    threshold = THRESHOLD_PX[model] if threshold_px is None else float(threshold_px)
    if not 0 < threshold < float("inf"):
        raise ConfigError(f"threshold_px is {threshold}; it must be a positive number of pixels.")
    return threshold


def _checked_points(points0: Tensor, points1: Tensor) -> tuple[np.ndarray, np.ndarray]:
    if points0.ndim != 2 or points0.shape != points1.shape or points0.shape[1] != 2:
        raise ShapeError(
            f"points0 and points1 have shapes {tuple(points0.shape)} and {tuple(points1.shape)}; both must be k × 2, "
            "a row for each match. Pass matches.points0 and matches.points1."
        )
    array0, array1 = (points.detach().cpu().double().numpy() for points in (points0, points1))
    if not (np.isfinite(array0).all() and np.isfinite(array1).all()):
        raise ShapeError("points0 or points1 have values that are not finite; they must be (x, y) in pixels.")
    return array0, array1


def _nothing(model: Model, points0: Tensor, threshold: float) -> Verification:
    inliers = torch.zeros(len(points0), dtype=torch.bool, device=points0.device)
    return Verification(model=model, matrix=None, inliers=inliers, threshold_px=threshold)
