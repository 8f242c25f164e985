"""The part that two photos share, and how much larger it is in one of them, as far as their matches tell."""

import cmath
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from photoglue.geometry.rough import rough_similarity
from photoglue.limits.views import Box, Size
from photoglue.structs import Matches

EXTREMES = 0.02
"""Share of the agreeing matches, on each side, that the common part leaves out."""
MARGIN = 0.15
"""What is added to it on each side, as a share of its size."""


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
    z0, z1 = (each[:, 0] + 1j * each[:, 1] for each in points)
    found = rough_similarity(z0, z1, weights, (float(np.hypot(*sizes[0])), float(np.hypot(*sizes[1]))))
    if found is None:
        return None
    box0, box1 = (_box(each[found.agreeing], size) for each, size in zip(points, sizes, strict=True))
    agreeing = int(found.agreeing.sum())
    return Common(turn=found.turn, shift=found.shift, agreeing=agreeing, box0=box0, box1=box1)


def _box(points: Float64[np.ndarray, "k 2"], size: Size) -> Box:
    low, high = np.quantile(points, (EXTREMES, 1 - EXTREMES), axis=0)
    margin = np.maximum(MARGIN * (high - low), 8.0)
    left, top = (int(value) for value in np.maximum(np.floor(low - margin), 0))
    right, bottom = (int(value) for value in np.minimum(np.ceil(high + margin) + 1, size))
    return left, top, max(right, left + 1), max(bottom, top + 1)
