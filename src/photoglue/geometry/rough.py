"""How a photo was turned, scaled and moved against another one, roughly, as far as their matches tell.

Scenes are not flat and cameras go round them, so that a similarity of the plane is wrong everywhere by a little: it
says which part the photos share, and how much larger it is in one of them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex128, Float64

SAMPLES = 300
"""Pairs of matches that a similarity is tried of."""
VOTERS = 300
"""Matches, the best ones, that are asked which similarity is best."""
TOLERANCE = 0.1
"""Matches agree with a similarity if they are off by less than this share of the diagonals: scenes are not flat."""
LARGEST_SCALE = 16.0
"""Similarities that enlarge or shrink more are those of wrong matches."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RoughSimilarity:
    """A point z = x + iy of image 0 is about at turn · z + shift in image 1, pixels."""

    turn: complex
    shift: complex
    agreeing: Bool[np.ndarray, " k"]
    """Which of the matches agree with it."""


def rough_similarity(
    z0: Complex128[np.ndarray, " k"],
    z1: Complex128[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
    diagonals: tuple[float, float],
) -> RoughSimilarity | None:
    """The similarity that the matches with the largest sum of weights agree with, the same each time.

    Args:
        z0: Points x + iy of the matches in image 0, pixels.
        z1: Points of the matches in image 1.
        weights: How sure the matches are, above 0.
        diagonals: Lengths of the diagonals of the images, or of what is seen of them, pixels.

    Returns:
        None if fewer than three matches agree.
    """
    if len(weights) < 3:
        return None
    asked = np.argsort(-weights, kind="stable")[:VOTERS]
    turns, shifts = _samples(z0[asked], z1[asked], weights[asked])
    best = int(np.argmax(agreeing(z0[asked], z1[asked], turns, shifts, diagonals) @ weights[asked]))
    turn, shift = complex(turns[best]), complex(shifts[best])
    for _ in range(3):
        inliers = agreeing(z0, z1, np.array([turn]), np.array([shift]), diagonals)[0]
        if inliers.sum() < 3:
            return None
        turn, shift = _fit(z0[inliers], z1[inliers])
    return RoughSimilarity(turn=turn, shift=shift, agreeing=inliers)


def agreeing(
    z0: Complex128[np.ndarray, " k"],
    z1: Complex128[np.ndarray, " k"],
    turns: Complex128[np.ndarray, " s"],
    shifts: Complex128[np.ndarray, " s"],
    diagonals: tuple[float, float],
) -> Bool[np.ndarray, "s k"]:
    """Which matches agree with which similarities."""
    misses = np.abs(turns[:, None] * z0 + shifts[:, None] - z1)
    limits = TOLERANCE * np.minimum(np.abs(turns) * diagonals[0], diagonals[1])
    return np.asarray(misses < limits[:, None])


def _samples(
    z0: Complex128[np.ndarray, " k"], z1: Complex128[np.ndarray, " k"], weights: Float64[np.ndarray, " k"]
) -> tuple[Complex128[np.ndarray, " s"], Complex128[np.ndarray, " s"]]:
    """Similarities z1 = turn · z0 + shift of random pairs of matches, sure ones more often than others."""
    chance = np.random.default_rng(0)
    i, j = chance.choice(len(z0), (2, SAMPLES), p=weights / weights.sum())
    far = np.abs(z0[i] - z0[j]) > 1
    turns = (z1[i[far]] - z1[j[far]]) / (z0[i[far]] - z0[j[far]])
    fine = (np.abs(turns) < LARGEST_SCALE) & (np.abs(turns) > 1 / LARGEST_SCALE)
    turns = np.append(turns[fine], 1.0)  # one, at least
    return turns, z1[np.append(i[far][fine], 0)] - turns * z0[np.append(i[far][fine], 0)]


def _fit(z0: Complex128[np.ndarray, " k"], z1: Complex128[np.ndarray, " k"]) -> tuple[complex, complex]:
    """The similarity of least squares."""
    d0, d1 = z0 - z0.mean(), z1 - z1.mean()
    turn = np.vdot(d0, d1) / max(np.vdot(d0, d0).real, 1e-9)
    return complex(turn), complex(z1.mean() - turn * z0.mean())
