"""Homographies: what two photos of a plane, or from one place, have in common.

A homography takes homogeneous pixels of image 0 to those of image 1; its scale means nothing. The centre of the
top-left pixel is (0, 0).
"""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from photoglue.errors import ShapeError

MIN_SPREAD = 1e-6
"""Share of their extent within which points count as on a line, and share of the largest singular value below which
others count as zero: about what the rounding of float32 pixels leaves. Real homographies leave above 1e-5 even of four
random points."""


def warp_points(points: Float[Tensor, "k 2"], homography: Float64[Tensor, "3 3"]) -> Float[Tensor, "k 2"]:
    """Points of image 0 taken to image 1 by a homography, pixels, in the points' own type.

    Points that camera 1 cannot see, because it has them behind or beside it, are infinitely far away, at (inf, inf):
    plain division would put them somewhere into the image. Which side of the horizon it sees is told by the sign of the
    determinant, since no photo of a plane mirrors another one of the same side. (Not by where the pixel (0, 0) is: in
    EVD's pair "vin" that one is behind.) Of homographies that do mirror, only affine ones are understood.
    """
    warped: Tensor = _homogeneous(points) @ homography.to(points.device).T
    visible = warped[:, 2:] * _sign(homography) > 0
    return torch.where(visible, warped[:, :2] / warped[:, 2:], math.inf).to(points.dtype)


def scaled_homography(
    homography: Float64[Tensor, "3 3"], scale0: tuple[float, float], scale1: tuple[float, float]
) -> Float64[Tensor, "3 3"]:
    """The homography between the two images after they have been resized.

    Args:
        homography: The homography between the images as they were.
        scale0: New size by old size of image 0, (along x, along y), such as ``Resize.scale``. A pixel's centre moves
            from x to (x + 0.5) · scale - 0.5.
        scale1: New size by old size of image 1, (along x, along y).
    """
    resized0, resized1 = (_resizing(scale).to(homography.device) for scale in (scale0, scale1))
    scaled: Tensor = resized1 @ homography @ torch.linalg.inv(resized0)
    return scaled


def estimate_homography_dlt(
    points0: Float[Tensor, "k 2"], points1: Float[Tensor, "k 2"], weights: Float[Tensor, " k"] | None = None
) -> Float64[Tensor, "3 3"] | None:
    """The homography that fits all matches: the direct linear transform (Hartley & Zisserman, algorithm 4.2).

    It minimises the weighted sum of squared algebraic errors, in float64, after moving the points of each image to
    (weighted) mean 0 and mean length √2. Not robust: one wrong match of weight 1 spoils it, which is why its AUC tells
    how clean matches and their scores are.

    glue-factory calls kornia's version, whose default solver ("lu") fixes the last element to 1 instead of the norm. On
    matches with 1 px noise the two differ by a few hundredths of a pixel.

    Args:
        points0: Points of the matches in image 0, (x, y) in pixels.
        points1: Points of the matches in image 1, (x, y) in pixels.
        weights: Weight of each match, at least 0, such as ``matches.scores``; 0: as if absent. None: all equal.

    Returns:
        The homography with Frobenius norm 1, last element not negative. None if it is not determined: fewer than four
        matches, or three of every four on a line.

    Raises:
        ShapeError: If a point is not finite, or a weight is negative or not finite.
    """
    _check_finite(points0, points1, weights)
    if weights is not None:
        points0, points1, weights = (values[weights > 0] for values in (points0, points1, weights))
    if len(points0) < 4:
        return None
    weights = torch.ones_like(points0[:, 0]) if weights is None else weights
    centred0_from_image0, centred1_from_image1 = _centring(points0, weights), _centring(points1, weights)
    if centred0_from_image0 is None or centred1_from_image1 is None:
        return None
    centred0, centred1 = (
        warp_points(points0.double(), centred0_from_image0),
        warp_points(points1.double(), centred1_from_image1),
    )
    equations = _dlt_equations(centred0, centred1, weights)
    _, singular, right = torch.linalg.svd(equations, full_matrices=False)
    if float(singular[7]) <= MIN_SPREAD * float(singular[0]):
        return None
    centred1_from_centred0 = right[8].reshape(3, 3)
    spread = torch.linalg.svdvals(centred1_from_centred0)
    if float(spread[2]) <= MIN_SPREAD * float(spread[0]):
        return None  # it squeezes the plane into a line
    homography: Tensor = torch.linalg.inv(centred1_from_image1) @ centred1_from_centred0 @ centred0_from_image0
    homography = homography / homography.norm()
    return -homography if float(homography[2, 2]) < 0 else homography


def corner_error_px(
    estimated: Float64[Tensor, "3 3"] | None, true: Float64[Tensor, "3 3"], image_size: tuple[int, int]
) -> float:
    """Mean distance in image 1 between the corners of image 0 and where they belong, pixels.

    This is glue-factory's rule for HPatches: the corners are (0, 0), (W, 0), (W, H), (0, H), and each is projected by
    plain division, whichever side of the horizon it is on.

    Args:
        estimated: The estimated homography; None: there is none, and the error is infinite.
        true: The true homography.
        image_size: (width, height) of image 0.
    """
    if estimated is None:
        return math.inf
    width, height = image_size
    corners = torch.tensor([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], dtype=torch.float64)
    landed, belonging = (corners @ matrix.cpu().T for matrix in (estimated, true))
    error = (landed[:, :2] / landed[:, 2:] - belonging[:, :2] / belonging[:, 2:]).norm(dim=1).mean()
    return float(error) if bool(torch.isfinite(error)) else math.inf


def _sign(homography: Float64[Tensor, "3 3"]) -> float:
    """The sign that makes the third coordinate of points that camera 1 sees positive."""
    affine = not bool(homography[2, :2].any())
    return math.copysign(1.0, float(homography[2, 2] if affine else torch.linalg.det(homography)))


def _homogeneous(points: Float[Tensor, "k 2"]) -> Float64[Tensor, "k 3"]:
    return torch.nn.functional.pad(points.double(), (0, 1), value=1.0)


def _resizing(scale: tuple[float, float]) -> Float64[Tensor, "3 3"]:
    x, y = scale
    rows = [[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2], [0.0, 0.0, 1.0]]
    return torch.tensor(rows, dtype=torch.float64)


def _centring(points: Float[Tensor, "k 2"], weights: Float[Tensor, " k"]) -> Float64[Tensor, "3 3"] | None:
    """The matrix that moves points to mean 0 and mean length √2; None if they are all in one place."""
    points, shares = points.double(), (weights / weights.sum()).double()
    centre = shares @ points
    length = float(shares @ (points - centre).norm(dim=1))
    if length <= MIN_SPREAD * float(centre.norm()):
        return None
    scale = 2**0.5 / length
    similarity = torch.diag(points.new_tensor([scale, scale, 1.0]))
    similarity[:2, 2] = -scale * centre
    return similarity


def _dlt_equations(
    points0: Float64[Tensor, "k 2"], points1: Float64[Tensor, "k 2"], weights: Float[Tensor, " k"]
) -> Float64[Tensor, "rows 9"]:
    """Two rows a match, scaled by the root of its weight, and one row of zeros: four matches alone have only eight, and
    the solution is the ninth right singular vector."""  # noqa: D205, D209
    homogeneous = _homogeneous(points0)
    zeros = torch.zeros_like(homogeneous)
    u, v = points1.T[:, :, None]
    along_x = torch.cat([homogeneous, zeros, -u * homogeneous], dim=1)
    along_y = torch.cat([zeros, homogeneous, -v * homogeneous], dim=1)
    roots = weights.double().sqrt()[:, None]
    return torch.cat([roots * along_x, roots * along_y, zeros.new_zeros(1, 9)])


def _check_finite(points0: Tensor, points1: Tensor, weights: Tensor | None) -> None:
    if not (bool(torch.isfinite(points0).all()) and bool(torch.isfinite(points1).all())):
        raise ShapeError("points0 or points1 have values that are not finite; they must be (x, y) in pixels.")
    if weights is not None and not bool((torch.isfinite(weights) & (weights >= 0)).all()):
        raise ShapeError("weights have values that are negative or not finite; pass matches.scores, in [0, 1].")
