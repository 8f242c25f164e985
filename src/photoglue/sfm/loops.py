"""Pairs of look-alikes: verified, but contradicted by the rotations of many other pairs.

Two walls that look the same give a pair with a fine geometry that is not that of the world. Three photos that are all
pairs tell: the rotations around such a triangle must cancel, and with one wrong pair they do not (Zach, Klopschitz and
Pollefeys, "Disambiguating visual relations using loop constraints", CVPR 2010).
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64

from photoglue.sfm.cameras import Cameras, ColmapCamera
from photoglue.sfm.verified import PairKind, VerifiedPair, VerifiedStore
from photoglue.sfm.verify import stored_points
from photoglue.store import FeatureStore

CANCELS_DEG = 5.0
"""The rotations of a triangle that leave less than this are consistent."""
CONTRADICTS_DEG = 15.0
"""Those that leave more are a contradiction; between the two, a triangle says nothing."""
MANY = 3
"""A pair is dropped if so many triangles of trusted pairs contradict it, and most of all that it is part of."""

Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Contradicted:
    """A pair that is not what it seems."""

    name0: str
    """The photo that sorts first."""
    name1: str
    """The other photo."""
    against: int
    """Triangles that contradict it."""
    for_it: int
    """Triangles that are consistent with it."""

    def __str__(self) -> str:
        return f"{self.name0} and {self.name1} ({self.against} triangles of photos against it, {self.for_it} for it)"


def contradicted_pairs(
    pairs: Iterable[Pair],
    features: str | os.PathLike[str],
    verified: str | os.PathLike[str],
    cameras: Cameras,
) -> tuple[Contradicted, ...]:
    """The verified pairs that the rotations of many other pairs contradict, the worst first: look-alikes, most likely.

    Each time the pair with the most contradictions goes, and the others are judged anew without it. Pairs in no
    triangle, flat scenes and mere turns are left alone. Look-alikes that agree among each other, with nothing that
    connects the two places rightly, cannot be told from the truth and stay.

    Args:
        pairs: The pairs to judge, in either order.
        features: The HDF5 file of features.
        verified: The HDF5 file of ``verify_matches``.
        cameras: Those of all photos of the pairs.

    Raises:
        OutputError: If a file cannot be read.
    """
    rotations: dict[Pair, np.ndarray] = {}
    points: dict[str, np.ndarray] = {}
    with FeatureStore.open(features) as feature_store, VerifiedStore.open(verified) as store:
        for pair in sorted({(min(pair), max(pair)) for pair in pairs}):
            counted = store.counts(*pair)
            if counted is not None and counted[0] in (PairKind.CALIBRATED, PairKind.UNCALIBRATED):
                for name in set(pair) - points.keys():
                    points[name] = stored_points(feature_store[name])
                both = cameras.of(pair[0]), cameras.of(pair[1])
                rotations[pair] = _rotation(store.read(*pair), (points[pair[0]], points[pair[1]]), both)
    return _worst_first(rotations)


def _worst_first(rotations: Mapping[Pair, np.ndarray]) -> tuple[Contradicted, ...]:
    triangles = _triangles(rotations)
    of: dict[Pair, list[tuple[float, tuple[Pair, ...]]]] = {}
    for angle, sides in triangles:
        for side in sides:
            of.setdefault(side, []).append((angle, sides))
    found: list[Contradicted] = []
    gone: set[Pair] = set()
    while True:
        votes = {pair: _votes(mine, gone) for pair, mine in of.items() if pair not in gone}
        trusted = {pair for pair, (yes, no) in votes.items() if yes >= no}
        bad = []
        for pair, (yes, _) in votes.items():
            against = sum(
                angle > CONTRADICTS_DEG and all(side == pair or side in trusted for side in sides)
                for angle, sides in of[pair]
            )
            if against >= MANY and against > 2 * yes:
                bad.append((2 * yes - against, pair, against, yes))
        if not bad:
            return tuple(found)
        _, pair, against, yes = min(bad)
        gone.add(pair)
        found.append(Contradicted(name0=pair[0], name1=pair[1], against=against, for_it=yes))


def _votes(triangles: Iterable[tuple[float, tuple[Pair, ...]]], gone: set[Pair]) -> tuple[int, int]:
    """Triangles that are consistent, and that are not, among those that have lost no side."""
    angles = [angle for angle, sides in triangles if gone.isdisjoint(sides)]
    return sum(angle < CANCELS_DEG for angle in angles), sum(angle > CONTRADICTS_DEG for angle in angles)


def _triangles(rotations: Mapping[Pair, np.ndarray]) -> list[tuple[float, tuple[Pair, Pair, Pair]]]:
    """All three photos a < b < c that are all pairs: degrees that their rotations leave, and the pairs."""
    after: dict[str, set[str]] = {}
    for name0, name1 in rotations:
        after.setdefault(name0, set()).add(name1)
    found = []
    for a, b in rotations:
        for c in sorted(after[a] & after.get(b, set())):
            around = rotations[a, c].T @ rotations[b, c] @ rotations[a, b]
            angle = float(np.rad2deg(np.arccos(np.clip((np.trace(around) - 1) / 2, -1, 1))))
            found.append((angle, ((a, b), (b, c), (a, c))))
    return found


def _rotation(
    found: VerifiedPair, points: tuple[np.ndarray, np.ndarray], cameras: tuple[ColmapCamera, ColmapCamera]
) -> Float64[np.ndarray, "3 3"]:
    """The rotation from camera 0 to camera 1, of the four that fit the one with most points before both cameras."""
    matrices = [camera.pinhole.matrix.numpy() for camera in cameras]
    essential = found.essential
    if essential is None:
        assert found.fundamental is not None
        essential = matrices[1].T @ found.fundamental @ matrices[0]
    rays = []
    for i, camera in enumerate(cameras):
        straight = camera.undistorted(points[i][found.inliers[:, i]])
        rays.append(np.c_[straight, np.ones(len(straight))] @ np.linalg.inv(matrices[i]).T)
    left, _, right = np.linalg.svd(essential)
    left, right = left * np.sign(np.linalg.det(left)), right * np.sign(np.linalg.det(right))
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    tried = [(left @ turn @ right, sign * left[:, 2]) for turn in (quarter, quarter.T) for sign in (1, -1)]
    best: np.ndarray = max(tried, key=lambda pose: _before_both(rays[0] @ pose[0].T, rays[1], pose[1]))[0]
    return best


def _before_both(
    turned: Float64[np.ndarray, "n 3"], rays1: Float64[np.ndarray, "n 3"], translation: Float64[np.ndarray, "3"]
) -> int:
    """How many points lie before both cameras: depth1 · ray1 = depth0 · turned ray0 + translation."""
    normal = np.cross(rays1, turned)
    depth0 = -(np.cross(rays1, translation) * normal).sum(axis=1)
    depth1 = -(np.cross(turned, translation) * normal).sum(axis=1)
    return int(((depth0 > 0) & (depth1 > 0)).sum())
