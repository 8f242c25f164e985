"""Two views of a scene: essential and fundamental matrices, and how far points are from their epipolar lines.

All distances take the matrix F with x1ᵀ F x0 = 0 and come in the unit of the points: pixels with a fundamental matrix,
focal lengths with an essential matrix and ``normalized_points``. They do not depend on the scale of F. Where F says
nothing they are 0: for a point at the epipole, whose line is undefined, and for F = 0, cameras at one place.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from photoglue.geometry.camera import PinholeCamera


def essential_matrix(cam1_from_cam0: Float64[Tensor, "4 4"]) -> Float64[Tensor, "3 3"]:
    """E = [t]× R, as long as t: x1ᵀ E x0 = 0 for directions in the two cameras. Zero for cameras at one place."""
    translation = cam1_from_cam0[:3, 3:].expand(3, 3)
    # Column by column: the cross product of the translation with the rotation's columns.
    essential: Tensor = torch.linalg.cross(translation, cam1_from_cam0[:3, :3], dim=0)
    return essential


def fundamental_matrix(
    cam1_from_cam0: Float64[Tensor, "4 4"], camera0: PinholeCamera, camera1: PinholeCamera
) -> Float64[Tensor, "3 3"]:
    """F with x1ᵀ F x0 = 0 for homogeneous pixels; its Frobenius norm is 1, or 0 for cameras at one place."""
    inverse0, inverse1 = (torch.linalg.inv(camera.matrix).to(cam1_from_cam0.device) for camera in (camera0, camera1))
    matrix: Tensor = inverse1.T @ essential_matrix(cam1_from_cam0) @ inverse0
    length = float(matrix.norm())
    return matrix / length if length > 0 else matrix


def normalized_points(points: Float[Tensor, "k 2"], camera: PinholeCamera) -> Float64[Tensor, "k 2"]:
    """The directions (X / Z, Y / Z) of pixels: what an essential matrix relates."""
    focal = torch.tensor([camera.fx, camera.fy], dtype=torch.float64, device=points.device)
    centre = torch.tensor([camera.cx, camera.cy], dtype=torch.float64, device=points.device)
    return (points.double() - centre) / focal


def line_distances(
    points0: Float[Tensor, "k 2"], points1: Float[Tensor, "k 2"], fundamental: Float64[Tensor, "3 3"]
) -> Float64[Tensor, "k 2"]:
    """Distance of each point from the epipolar line of its partner: (in image 0, in image 1), pixels."""
    homogeneous0, homogeneous1, lines0, lines1 = _points_and_lines(points0, points1, fundamental)
    in_image0, in_image1 = _unit(lines0) * homogeneous0, _unit(lines1) * homogeneous1
    return torch.stack([in_image0.sum(dim=1), in_image1.sum(dim=1)], dim=1).abs()


def symmetric_epipolar_distance(
    points0: Float[Tensor, "k 2"], points1: Float[Tensor, "k 2"], fundamental: Float64[Tensor, "3 3"]
) -> Float64[Tensor, " k"]:
    """The mean of the two distances from point to line: |x1ᵀ F x0| · (1 / |F x0| + 1 / |Fᵀ x1|) / 2.

    This is glue-factory's rule. With pixels it labels points that have no depth (training, 5 px). With normalised
    points and the essential matrix it is what the epipolar precision of the glue-factory protocol counts below 1e-4,
    5e-4 and 1e-3; SuperGlue's and LoFTR's precision counts ``squared_epipolar_distance`` instead.

    |l| is the length of the first two elements of a line: those of its normal.
    """
    return line_distances(points0, points1, fundamental).mean(dim=1)


def squared_epipolar_distance(
    points0: Float[Tensor, "k 2"], points1: Float[Tensor, "k 2"], fundamental: Float64[Tensor, "3 3"]
) -> Float64[Tensor, " k"]:
    """The sum of the squares of the two distances from point to line: (x1ᵀ F x0)² · (1 / |F x0|² + 1 / |Fᵀ x1|²).

    With normalised points and the essential matrix it is what SuperGlue's precision counts below 5e-4 and LoFTR's below
    5e-4 (indoors) or 1e-4 (outdoors). It is a square, so that its 5e-4 is far more lenient than glue-factory's: about
    0.016 of the focal length, where that is 0.0005.
    """
    return line_distances(points0, points1, fundamental).square().sum(dim=1)


def sampson_distance(
    points0: Float[Tensor, "k 2"], points1: Float[Tensor, "k 2"], fundamental: Float64[Tensor, "3 3"]
) -> Float64[Tensor, " k"]:
    """To first order how far both points have to move in all, pixels: |x1ᵀ F x0| / √(|F x0|² + |Fᵀ x1|²).

    Hartley & Zisserman 11.4.3, the square root of their expression. Robust estimators of PoseLib and OpenCV (essential)
    have their thresholds in it.
    """
    _, homogeneous1, lines0, lines1 = _points_and_lines(points0, points1, fundamental)
    slope = torch.cat([lines0[:, :2], lines1[:, :2]], dim=1).norm(dim=1)
    residual = (homogeneous1 * lines1).sum(dim=1).abs()
    return torch.where(slope > 0, residual / slope, 0.0)


def all_line_distances(
    points0: Float[Tensor, "m 2"], points1: Float[Tensor, "n 2"], fundamental: Float64[Tensor, "3 3"]
) -> Float[Tensor, "m n"]:
    """``symmetric_epipolar_distance`` of every point of image 0 with every point of image 1.

    It is computed in the points' own type, in two m × n buffers. Lines are made in float64, and their distances are no
    matrix product, which may run in TF32 or, under autocast, in half precision: float32 pixels stay exact to about
    0.001.
    """
    _, _, lines0, lines1 = _points_and_lines(points0, points1, fundamental)
    x0, y0 = points0[:, :, None].unbind(dim=1)
    x1, y1 = points1.T[:, None]
    # Half of each distance, so that their sum is the mean.
    a0, b0, c0 = (0.5 * _unit(lines0)).to(points0).T[:, None]
    a1, b1, c1 = (0.5 * _unit(lines1)).to(points0)[:, :, None].unbind(dim=1)
    in_image0 = torch.addcmul(c0, a0, x0).addcmul_(b0, y0).abs_()
    in_image1 = torch.addcmul(c1, a1, x1).addcmul_(b1, y1).abs_()
    return in_image0.add_(in_image1)


def _points_and_lines(
    points0: Float[Tensor, "m 2"], points1: Float[Tensor, "n 2"], fundamental: Float64[Tensor, "3 3"]
) -> tuple[Float64[Tensor, "m 3"], Float64[Tensor, "n 3"], Float64[Tensor, "n 3"], Float64[Tensor, "m 3"]]:
    """Homogeneous points of both images, lines in image 0 (of the points in image 1), lines in image 1."""
    homogeneous0, homogeneous1 = (
        torch.nn.functional.pad(points.double(), (0, 1), value=1.0) for points in (points0, points1)
    )
    fundamental = fundamental.to(points0.device)
    return homogeneous0, homogeneous1, homogeneous1 @ fundamental, homogeneous0 @ fundamental.T


def _unit(lines: Float64[Tensor, "k 3"]) -> Float64[Tensor, "k 3"]:
    """Lines a x + b y + c = 0 with a² + b² = 1, so that |a x + b y + c| is a distance. Zero where there is no line."""
    length = lines[:, :2].norm(dim=1, keepdim=True)
    return torch.where(length > 0, lines / length, 0.0)
