"""What is known of a pair of images: the truth that matches are measured against.

Arrays are float64 numpy, not tensors: truths travel to the worker processes that solve the geometry.
"""

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.epipolar import fundamental_matrix, symmetric_epipolar_distance
from photoglue.geometry.homography import scaled_homography, warp_points
from photoglue.image import Resize

QUARTER_TURN = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Takes directions in a camera to those in the camera of the same image turned by 90° counter-clockwise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Posed:
    """Two calibrated photos of a rigid scene."""

    camera0: PinholeCamera
    """Camera of image 0 as read (and turned, if the data set says so)."""
    camera1: PinholeCamera
    """Camera of image 1 as read (and turned)."""
    cam1_from_cam0: Float64[np.ndarray, "4 4"]
    """X1 = R · X0 + t; the unit of t is that of the data set."""
    cam0_from_world: Float64[np.ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))
    """Pose of camera 0 as the data set gives it; the identity if it gives relative poses."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Planar:
    """Two views of a plane, or from one place."""

    image1_from_image0: Float64[np.ndarray, "3 3"]
    """Takes homogeneous pixels of image 0 to those of image 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Marked:
    """Two photos with correspondences that a person marked."""

    points0: Float64[np.ndarray, "c 2"]
    """(x, y) in pixels of image 0."""
    points1: Float64[np.ndarray, "c 2"]
    """The marked points in image 1, row by row."""


@dataclass(frozen=True, kw_only=True)
class Apart:
    """Two photos of different scenes: every match is wrong."""


@dataclass(frozen=True, kw_only=True)
class Alike:
    """A search with image 0 should find image 1: they show the same place."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Two parts of one photo, which may look alike and share nothing."""

    share: float
    """How much of what one shows the other one shows, too, in [0, 1); 0: nothing, so that every match is wrong."""


Truth: TypeAlias = Posed | Planar | Marked | Apart | Alike | Shared


def match_errors(
    points0: Float[Tensor, "k 2"], points1: Float[Tensor, "k 2"], truth: Truth
) -> Float64[Tensor, " k"] | None:
    """How far each match is from the truth, in pixels; None if the truth says nothing about single matches.

    With a homography: the mean of the distances in the two images, each to where the truth takes the partner; infinite
    where one lies behind the camera. With poses: the mean of the distances to the epipolar lines, so that a wrong match
    that happens to lie along its line has none.
    """
    points0, points1 = points0.double(), points1.double()
    if isinstance(truth, Planar):
        matrix = torch.from_numpy(truth.image1_from_image0)
        forward = (warp_points(points0, matrix) - points1).norm(dim=1)
        backward = (warp_points(points1, torch.linalg.inv(matrix)) - points0).norm(dim=1)
        mean = (forward + backward) / 2
        return torch.where(mean.isnan(), float("inf"), mean)
    if isinstance(truth, Posed):
        fundamental = fundamental_matrix(torch.from_numpy(truth.cam1_from_cam0), truth.camera0, truth.camera1)
        return symmetric_epipolar_distance(points0, points1, fundamental)
    return None


def resized_truth(truth: Truth, resize0: Resize, resize1: Resize) -> Truth:
    """A truth in pixels of the resized images."""
    if isinstance(truth, Posed):
        return replace(truth, camera0=_resized(truth.camera0, resize0), camera1=_resized(truth.camera1, resize1))
    if isinstance(truth, Planar):
        matrix = scaled_homography(torch.from_numpy(truth.image1_from_image0), resize0.scale, resize1.scale)
        return Planar(image1_from_image0=matrix.numpy())
    if isinstance(truth, Marked):
        points = [
            (array + 0.5) * np.array(resize.scale) - 0.5
            for array, resize in ((truth.points0, resize0), (truth.points1, resize1))
        ]
        return Marked(points0=points[0], points1=points[1])
    return truth


def turned_camera(camera: PinholeCamera, quarter_turns: int) -> PinholeCamera:
    """The camera of the image turned counter-clockwise by so many quarters (``numpy.rot90``)."""
    for _ in range(quarter_turns % 4):
        width, height = camera.image_size
        # A pixel (x, y) goes to (y, width - 1 - x).
        camera = PinholeCamera(
            fx=camera.fy, fy=camera.fx, cx=camera.cy, cy=width - 1 - camera.cx, image_size=(height, width)
        )
    return camera


def turned_pose(
    cam1_from_cam0: Float64[np.ndarray, "4 4"], quarter_turns0: int, quarter_turns1: int
) -> Float64[np.ndarray, "4 4"]:
    """The pose between the cameras of images that were turned counter-clockwise."""
    turn0, turn1 = np.eye(4), np.eye(4)
    turn0[:3, :3] = np.linalg.matrix_power(QUARTER_TURN, quarter_turns0 % 4)
    turn1[:3, :3] = np.linalg.matrix_power(QUARTER_TURN, quarter_turns1 % 4)
    pose: np.ndarray = turn1 @ cam1_from_cam0 @ turn0.T
    return pose


def _resized(camera: PinholeCamera, resize: Resize) -> PinholeCamera:
    scale_x, scale_y = resize.scale
    return PinholeCamera(
        fx=camera.fx * scale_x,
        fy=camera.fy * scale_y,
        cx=(camera.cx + 0.5) * scale_x - 0.5,
        cy=(camera.cy + 0.5) * scale_y - 0.5,
        image_size=resize.resized_size,
    )
