"""Points followed from one frame to the next: KLT, forward and backward."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from photoglue.errors import require

LARGEST_RESIDUAL = 30.0
"""Mean difference of gray values around a point in two frames above which they do not show the same thing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """Where points of one frame are in another."""

    points: Float32[np.ndarray, "n 2"]
    """(x, y) in pixels of the other frame."""
    found: Bool[np.ndarray, " n"]
    """Whether the way back leads to where the point was, within the frame."""
    errors: Float32[np.ndarray, " n"]
    """How far from there it leads, pixels."""


def follow(
    gray0: UInt8[np.ndarray, "h w"],
    gray1: UInt8[np.ndarray, "h w"],
    points: Float32[np.ndarray, "n 2"],
    guesses: Float32[np.ndarray, "n 2"] | None = None,
    *,
    window: int = 15,
    levels: int = 3,
    largest_error: float = 1.0,
) -> Followed:
    """Where points are in the next frame, by the pyramidal Lucas-Kanade method (Bouguet), followed there and back.

    Args:
        gray0: The frame that has the points.
        gray1: The frame where they are looked for, of the same size.
        points: (x, y) in pixels of ``gray0``.
        guesses: Where they may be in ``gray1``; None: where they were.
        window: Side of the square around a point that is compared, pixels.
        levels: Halvings of the frames: motion of about 2 to that power times half a window is found.
        largest_error: How far the way back may miss, pixels.

    Raises:
        MissingExtra: If OpenCV is not installed.
    """
    if not len(points):
        return Followed(points=points.copy(), found=np.zeros(0, dtype=bool), errors=np.zeros(0, dtype=np.float32))
    cv2 = require("cv2", extra="video")
    options = {"winSize": (window, window), "maxLevel": levels, "criteria": (3, 20, 0.03)}
    start = points[:, None]
    if guesses is None:
        there, ok, residual = cv2.calcOpticalFlowPyrLK(gray0, gray1, start, None, **options)
    else:
        there, ok, residual = cv2.calcOpticalFlowPyrLK(gray0, gray1, start, guesses[:, None].copy(), **options, flags=4)
    # The way back begins with the guessed motion, reversed: beginning at the point itself would find it too easily.
    reversed_guesses = None if guesses is None else there - (guesses - points)[:, None]
    flags = 0 if guesses is None else 4
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(gray1, gray0, there, reversed_guesses, **options, flags=flags)
    errors = np.linalg.norm(back - start, axis=2)[:, 0]
    size = np.array(gray1.shape[::-1], dtype=np.float32)
    there = there[:, 0]
    inside = ((there >= 0) & (there <= size - 1)).all(axis=1)
    found = (ok[:, 0] > 0) & (ok_back[:, 0] > 0) & (errors <= largest_error) & inside
    return Followed(points=there, found=found & (residual[:, 0] <= LARGEST_RESIDUAL), errors=errors)


def interpolated(
    points: Float32[np.ndarray, "n 2"],
    known0: Float32[np.ndarray, "k 2"],
    known1: Float32[np.ndarray, "k 2"],
    neighbors: int = 4,
) -> Float32[np.ndarray, "n 2"]:
    """Where points would be if they moved as their nearest neighbours did: guesses for ``follow``.

    Args:
        points: (x, y) in the first frame.
        known0: Points of the first frame whose motion is known; if there are fewer than ``neighbors``, nothing moves.
        known1: Where these are in the second frame.
        neighbors: How many of the nearest are looked at; of their motions the median is taken.
    """
    if len(known0) < neighbors or not len(points):
        return points.copy()
    distances = np.square(points[:, None] - known0[None]).sum(axis=2)
    nearest = np.argpartition(distances, neighbors - 1, axis=1)[:, :neighbors]
    return np.asarray(points + np.median((known1 - known0)[nearest], axis=1), dtype=np.float32)
