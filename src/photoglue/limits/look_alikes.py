"""Different things that look alike: matches that agree, among points that should have partners and have none.

Of a scene that both photos show, most points between the matches have a partner, in that photo at least in which fewer
points are hidden or out of focus. Between two parts of a façade that only look alike, matches agree too, but fewer of
the points among them have a partner. ``benchmarks/look_alikes.py`` measures it.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from photoglue.structs import Features, Matches

LEAST_SHARE = 0.5
"""Share of the points among the inliers that have a partner, below which photos may show different things."""
LEAST_INLIERS = 8
"""With fewer, the share says nothing."""


def partnered_share(
    features0: Features, features1: Features, matches: Matches, inliers: Bool[Tensor, " k"]
) -> float | None:
    """How many of the points inside the convex hull of the inliers are inliers, in [0, 1]; the photo with more counts.

    Args:
        features0: All points of photo 0.
        features1: All points of photo 1.
        matches: Their matches.
        inliers: For each match whether it agrees with the geometry of the photos.

    Returns:
        None if there are fewer than eight inliers, or the photos were matched in tiles, of which many points are left
        out.
    """
    good = matches.select(inliers)
    if len(good) < LEAST_INLIERS or (matches.remedies is not None and matches.remedies.tiles):
        return None
    counts = [
        int(inside_hull(features.keypoints.cpu(), points.cpu()).sum())
        for features, points in ((features0, good.points0), (features1, good.points1))
    ]
    return min(1.0, len(good) / max(1, min(counts)))


def inside_hull(points: Float[Tensor, "n 2"], corners: Float[Tensor, "k 2"]) -> Bool[Tensor, " n"]:
    """Which points are inside the convex hull of others, or on its border."""
    hull = _hull(corners.double().numpy())
    edges = np.roll(hull, -1, axis=0) - hull
    offsets = points.double().numpy()[:, None] - hull
    turn = edges[:, 0] * offsets[..., 1] - edges[:, 1] * offsets[..., 0]
    return torch.from_numpy((turn >= -1e-6).all(axis=1))


def _hull(points: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "h 2"]:
    """The corners of the convex hull, one way round (Andrew's monotone chain, 1979)."""
    ordered = np.unique(points, axis=0)
    if len(ordered) < 3:
        return ordered
    halves = []
    for line in (ordered, ordered[::-1]):
        kept: list[np.ndarray] = []
        for point in line:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], point) <= 0:
                kept.pop()
            kept.append(point)
        halves += kept[:-1]
    return np.array(halves)


def _turn(a: Float64[np.ndarray, "2"], b: Float64[np.ndarray, "2"], c: Float64[np.ndarray, "2"]) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
