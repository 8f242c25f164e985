"""The part that two photos share, and how much larger it is in one of them, as far as their matches tell."""

import cmath
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex128, Float64

from photoglue.limits.views import Box, Size
from photoglue.structs import Matches

SAMPLES = 300
"""Pairs of matches that a similarity is tried of."""
VOTERS = 300
"""Matches, the best ones, that are asked which similarity is best."""
TOLERANCE = 0.1
"""Matches agree with a similarity if they are off by less than this share of the diagonals: scenes are not flat."""
EXTREMES = 0.02
"""Share of the agreeing matches, on each side, that the common part leaves out."""
MARGIN = 0.15
"""What is added to it on each side, as a share of its size."""
LARGEST_SCALE = 16.0
"""Similarities that enlarge or shrink more are those of wrong matches."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """The part that two photos share."""

    turn: complex
    """A step z = x + iy in image 0 is about turn · z in image 1, pixels."""
    shift: complex
    """The origin of image 0 is about there in image 1, pixels."""
    agreeing: int
    """Matches that say so."""
    box0: Box
    """Where it is in image 0."""
    box1: Box
    """Where it is in image 1."""

    @property
    def scale(self) -> float:
        """Pixels of image 1 for a length of one pixel in image 0."""
        return abs(self.turn)

    @property
    def angle_deg(self) -> float:
        """By how much image 1 is turned against image 0, clockwise as seen, in [-180, 180]."""
        return math.degrees(cmath.phase(self.turn))

    def box_in_1(self, box: Box) -> tuple[float, float, float, float]:
        """The smallest box of image 1, pixels, that a box of image 0 fits into; it may reach beyond the image."""
        left, top, right, bottom = box
        corners = np.array([left + 1j * top, right + 1j * top, left + 1j * bottom, right + 1j * bottom])
        there = self.turn * corners + self.shift
        return there.real.min(), there.imag.min(), there.real.max(), there.imag.max()


def common_part(matches: Matches, sizes: tuple[Size, Size]) -> Common | None:
    """The part that two photos share: that of the matches which agree, roughly, with the best similarity.

    The same matches give the same answer each time.

    Args:
        matches: Of the two photos, in pixels.
        sizes: Of the photos.

    Returns:
        None if there are fewer than three matches that agree.
    """
    points = [each.double().cpu().numpy() for each in (matches.points0, matches.points1)]
    weights = matches.scores.double().cpu().numpy()
    if len(weights) < 3:
        return None
    z0, z1 = (each[:, 0] + 1j * each[:, 1] for each in points)
    diagonals = [float(np.hypot(*size)) for size in sizes]
    asked = np.argsort(-weights, kind="stable")[:VOTERS]
    turns, shifts = _samples(z0[asked], z1[asked], weights[asked])
    best = int(np.argmax(_agreeing(z0[asked], z1[asked], turns, shifts, diagonals) @ weights[asked]))
    turn, shift = complex(turns[best]), complex(shifts[best])
    for _ in range(3):
        inliers = _agreeing(z0, z1, np.array([turn]), np.array([shift]), diagonals)[0]
        if inliers.sum() < 3:
            return None
        turn, shift = _fit(z0[inliers], z1[inliers])
    box0, box1 = (_box(each[inliers], size) for each, size in zip(points, sizes, strict=True))
    return Common(turn=turn, shift=shift, agreeing=int(inliers.sum()), box0=box0, box1=box1)


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


def _agreeing(
    z0: Complex128[np.ndarray, " k"],
    z1: Complex128[np.ndarray, " k"],
    turns: Complex128[np.ndarray, " s"],
    shifts: Complex128[np.ndarray, " s"],
    diagonals: list[float],
) -> Bool[np.ndarray, "s k"]:
    misses = np.abs(turns[:, None] * z0 + shifts[:, None] - z1)
    limits = TOLERANCE * np.minimum(np.abs(turns) * diagonals[0], diagonals[1])
    return np.asarray(misses < limits[:, None])


def _fit(z0: Complex128[np.ndarray, " k"], z1: Complex128[np.ndarray, " k"]) -> tuple[complex, complex]:
    """The similarity of least squares."""
    d0, d1 = z0 - z0.mean(), z1 - z1.mean()
    turn = np.vdot(d0, d1) / max(np.vdot(d0, d0).real, 1e-9)
    return complex(turn), complex(z1.mean() - turn * z0.mean())


def _box(points: Float64[np.ndarray, "k 2"], size: Size) -> Box:
    low, high = np.quantile(points, (EXTREMES, 1 - EXTREMES), axis=0)
    margin = np.maximum(MARGIN * (high - low), 8.0)
    left, top = (int(value) for value in np.maximum(np.floor(low - margin), 0))
    right, bottom = (int(value) for value in np.minimum(np.ceil(high + margin) + 1, size))
    return left, top, max(right, left + 1), max(bottom, top + 1)
