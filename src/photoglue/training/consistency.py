"""How the surroundings of a point are turned, scaled and sheared from image to image, and whether two points agree.

Points at one place can be different things: a corner and the blob that it is part of. A network that is told that they
match learns to trust places alone, and then takes whatever is near for the partner that is missing. So labels may ask
that scale and orientation fit too, once the local affine map has changed them.
"""

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from photoglue.limits.subpixel import local_affines
from photoglue.structs import Features

NEIGHBORS = 8
"""Points around one by which its affine map is fitted."""


def homography_affines(points0: Float[Tensor, "k 2"], homography: Float64[Tensor, "3 3"]) -> Float[Tensor, "k 2 2"]:
    """The derivative of a homography at points of image 0: offsets in image 1 = affine · offsets in image 0."""
    points = points0.double()
    homogeneous = torch.cat([points, torch.ones_like(points[:, :1])], dim=1) @ homography.to(points).T
    depth = homogeneous[:, 2, None, None]
    landed = homogeneous[:, :2, None] / depth
    linear = homography.to(points)
    return ((linear[:2, :2] - landed * linear[2:, :2]) / depth).to(points0.dtype)


def nearby_affines(
    points0: Float[Tensor, "k 2"], known0: Float[Tensor, "c 2"], known1: Float[Tensor, "c 2"]
) -> Float[Tensor, "k 2 2"]:
    """The affine map around each point, by the correspondence nearest to it and that one's own neighbours.

    Args:
        points0: Points of image 0, pixels.
        known0: Points of image 0 whose places in image 1 are known.
        known1: These places, pixels of image 1.

    Returns:
        The maps; NaN if there are fewer than three correspondences.
    """
    if len(known0) < 3:
        return torch.full((len(points0), 2, 2), math.nan).to(points0)
    return local_affines(known0, known1, NEIGHBORS)[_nearest(points0, known0)[0]]


def carried(
    points0: Float[Tensor, "m 2"], known0: Float[Tensor, "k 2"], known1: Float[Tensor, "k 2"]
) -> tuple[Float[Tensor, "m 2"], Float[Tensor, "m 2 2"], Float[Tensor, " m"]]:
    """Where points of image 0 land in image 1 if the correspondences nearest to them carry them along.

    Args:
        points0: Points of image 0, pixels.
        known0: Points of image 0 whose places in image 1 are known.
        known1: These places, pixels of image 1.

    Returns:
        Places in image 1, infinitely far away if there are fewer than three correspondences; the affine maps; and how
        far each point is from the nearest correspondence in image 0, pixels.
    """
    if len(known0) < 3:
        nowhere = torch.full_like(points0, math.inf)
        return nowhere, torch.full((len(points0), 2, 2), math.nan).to(points0), nowhere[:, 0]
    row, distance = _nearest(points0, known0)
    affines = local_affines(known0, known1, NEIGHBORS)[row]
    landed = known1[row] + (affines @ (points0 - known0[row])[:, :, None])[:, :, 0]
    return landed, affines, distance


def disagreements(
    features0: Features, features1: Features, affines: Float[Tensor, "k 2 2"]
) -> tuple[Float[Tensor, " k"] | None, Float[Tensor, " k"] | None]:
    """By how many octaves the scales, and by how many degrees the orientations of points differ from their partners'.

    Args:
        features0: Points of image 0.
        features1: Their partners, which have the same numbers.
        affines: Maps of the surroundings in image 0 to those in image 1.

    Returns:
        Octaves (positive if the partner is larger than expected) and degrees in [-180, 180], NaN where the map is; None
        for features that have no scales, or no orientations.
    """
    octaves = degrees = None
    if features0.scales is not None and features1.scales is not None:
        expected = torch.linalg.det(affines.double()).abs().log2() / 2
        octaves = ((features1.scales.double() / features0.scales).log2() - expected).float()
    if features0.orientations is not None and features1.orientations is not None:
        angles = features0.orientations
        ahead = affines @ torch.stack([angles.cos(), angles.sin()], dim=1)[:, :, None]
        off = features1.orientations - torch.atan2(ahead[:, 1, 0], ahead[:, 0, 0])
        degrees = torch.rad2deg(torch.atan2(off.sin(), off.cos()))
    return octaves, degrees


def _nearest(
    points: Float[Tensor, "m 2"], others: Float[Tensor, "k 2"]
) -> tuple[Int64[Tensor, " m"], Float[Tensor, " m"]]:
    """The row of the nearest of the others, and how far it is, pixels."""
    if not len(points):
        return torch.zeros(0, dtype=torch.int64, device=points.device), points[:, 0]
    distance, row = torch.cdist(points, others).min(dim=1)
    return row, distance
