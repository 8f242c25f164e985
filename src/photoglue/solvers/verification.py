"""What every robust estimator here takes and gives, and the checks that they share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from photoglue.errors import ConfigError, ShapeError
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.epipolar import essential_matrix
from photoglue.structs import TensorStruct

Model: TypeAlias = Literal["homography", "fundamental", "essential"]

Estimate: TypeAlias = Callable[[np.ndarray, np.ndarray, Sequence[PinholeCamera]], tuple[Any, Any]]
"""From the points of the matches in both images, and the cameras for "essential", to the model (a 3 × 3 matrix, or
rotation and translation for "essential") and which matches agree with it; (None, None) if there is no model."""

SAMPLE_SIZE: Mapping[str, int] = MappingProxyType({"homography": 4, "fundamental": 7, "essential": 5})
"""Number of matches that define each model exactly, whatever they are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Verification(TensorStruct):
    """What a robust estimator says of the matches of one pair. If there is no geometry, no match is an inlier."""

    model: Model
    """Kind of geometry that was estimated."""
    matrix: Float64[Tensor, "3 3"] | None
    """The estimated matrix, float64; None if there is none.

    homography: takes homogeneous pixels of image 0 to those of image 1; the last element is 1.
    fundamental: x1ᵀ F x0 = 0 for homogeneous pixels; Frobenius norm 1.
    essential: x1ᵀ E x0 = 0 for directions in the cameras; E = [translation]× rotation."""
    inliers: Bool[Tensor, " k"]
    """Whether each match agrees with the model within ``threshold_px``, before the last refinement of the model (which
    may carry a match at the limit a few percent across it)."""
    threshold_px: float
    """Largest error of an inlier, pixels. homography: distance in image 1 between a point and its partner taken there.
    fundamental and essential: Sampson distance, about how far the two points have to move in all to meet the epipolar
    geometry; but for fundamental matrices by OpenCV's RANSAC the larger of the two distances between a point and its
    epipolar line."""
    rotation: Float64[Tensor, "3 3"] | None = None
    """Rotation of cam1_from_cam0: X1 = rotation · X0 + translation; None unless essential."""
    translation: Float64[Tensor, "3"] | None = None
    """Translation of cam1_from_cam0, of unit length, as two photos do not tell the scale; None unless essential."""

    def __len__(self) -> int:
        """The number of inliers."""
        return int(self.inliers.sum())

    def facts(self) -> dict[str, Any]:
        """Everything but the inliers, as JSON can hold it: matrices as lists of rows."""
        facts = {name: value for name, value in vars(self).items() if name != "inliers"}
        return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in facts.items()}


def no_model(model: Model, points0: Float[Tensor, "k 2"], threshold_px: float) -> Verification:
    """The answer where nothing could be estimated."""
    inliers = torch.zeros(len(points0), dtype=torch.bool, device=points0.device)
    return Verification(model=model, matrix=None, inliers=inliers, threshold_px=threshold_px)


def verified(
    model: Model,
    points: tuple[Float[Tensor, "k 2"], Float[Tensor, "k 2"]],
    cameras: tuple[PinholeCamera | None, PinholeCamera | None],
    threshold_px: float,
    estimate: Estimate,
) -> Verification:
    """The answer of an estimator, or that there is no model.

    There is none if there are no more matches than define one, the estimator finds none, what it finds makes no sense,
    or only the matches that define a model agree with it.

    Args:
        model: Geometric model to fit.
        points: Points of the matches in both images, pixels.
        cameras: Cameras of both images; needed for "essential", else unused.
        threshold_px: Largest error of an inlier, pixels.
        estimate: The estimator.

    Raises:
        ConfigError: If a camera is missing.
        ShapeError: If there are not as many points in both images, or one is not finite.
    """
    arrays = checked_points(*points)
    known = checked_cameras(*cameras) if model == "essential" else ()
    nothing = no_model(model, points[0], threshold_px)
    if len(arrays[0]) <= SAMPLE_SIZE[model]:
        return nothing
    found, inliers = estimate(*arrays, known)
    if found is None or inliers.sum() <= SAMPLE_SIZE[model]:
        return nothing
    rotation = translation = None
    if model == "essential":
        pose = torch.eye(4, dtype=torch.float64)
        rotation, translation = (torch.from_numpy(np.array(part, dtype=np.float64)) for part in found)
        translation = translation.reshape(3) / translation.norm()
        pose[:3, :3], pose[:3, 3] = rotation, translation
        matrix, finite = essential_matrix(pose), pose.isfinite()
    else:
        matrix = torch.from_numpy(np.array(found, dtype=np.float64))
        matrix = matrix / (matrix[2, 2] if model == "homography" else matrix.norm())
        finite = matrix.isfinite()
    if not bool(finite.all()):
        return nothing
    return Verification(
        model=model,
        matrix=matrix,
        inliers=torch.from_numpy(inliers).to(points[0].device),
        threshold_px=threshold_px,
        rotation=rotation,
        translation=translation,
    )


def checked_threshold(model: str, threshold_px: float | None, defaults: Mapping[str, float]) -> float:
    """The threshold, or the model's default.

    Raises:
        ConfigError: If the model is unknown or the threshold is not a positive number.
    """
    if model not in defaults:
        raise ConfigError(f"There is no model {model!r}; choose one of {', '.join(defaults)}.")
    threshold = defaults[model] if threshold_px is None else float(threshold_px)
    if not 0 < threshold < float("inf"):
        raise ConfigError(f"threshold_px is {threshold}; it must be a positive number of pixels.")
    return threshold


def checked_points(points0: Tensor, points1: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The points of both images as float64 arrays, checked.

    Raises:
        ShapeError: If there are not as many points in both images, or one is not finite.
    """
    if points0.ndim != 2 or points0.shape != points1.shape or points0.shape[1] != 2:
        raise ShapeError(
            f"points0 and points1 have shapes {tuple(points0.shape)} and {tuple(points1.shape)}; both must be k × 2, "
            "a row for each match. Pass matches.points0 and matches.points1."
        )
    array0, array1 = (points.detach().cpu().double().numpy() for points in (points0, points1))
    if not (np.isfinite(array0).all() and np.isfinite(array1).all()):
        raise ShapeError("points0 or points1 have values that are not finite; they must be (x, y) in pixels.")
    return array0, array1


def checked_cameras(
    camera0: PinholeCamera | None, camera1: PinholeCamera | None
) -> tuple[PinholeCamera, PinholeCamera]:
    """The cameras of an essential matrix, checked.

    Raises:
        ConfigError: If a camera is missing.
    """
    if camera0 is None or camera1 is None:
        missing = " and ".join(name for name, camera in (("camera0", camera0), ("camera1", camera1)) if camera is None)
        raise ConfigError(
            f"An essential matrix needs both cameras, but there is no {missing}. Pass "
            "camera0=PinholeCamera(fx=…, fy=…, cx=…, cy=…, image_size=(width, height)) and camera1=…, "
            "or use model='fundamental', which needs none."
        )
    return camera0, camera1
