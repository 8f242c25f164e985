"""The points that are followed: where they are now, and how they get into the next frame."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from photoglue.errors import require
from photoglue.video.config import TrackerConfig
from photoglue.video.flow import follow, interpolated

KLT, MATCHED = 0, 1
"""Sources of a position: optical flow, or a keypoint of a keyframe (LightGlue)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Live:
    """The tracks of one frame."""

    ids: Int64[np.ndarray, " n"]
    points: Float32[np.ndarray, "n 2"]
    """(x, y) in pixels of the frame."""
    born: Int64[np.ndarray, " n"]
    """The number of pushes before each track's first frame."""

    @classmethod
    def none(cls) -> "Live":
        """No track."""
        empty = np.zeros(0, dtype=np.int64)
        return cls(ids=empty, points=np.zeros((0, 2), dtype=np.float32), born=empty)

    def select(self, rows: Bool[np.ndarray, " n"] | Int64[np.ndarray, " k"]) -> "Live":
        """Some of the tracks."""
        return Live(ids=self.ids[rows], points=self.points[rows], born=self.born[rows])

    def joined(self, other: "Live") -> "Live":
        """These tracks and others."""
        names = ("ids", "points", "born")
        return Live(**{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names})


@dataclass(frozen=True, kw_only=True, eq=False)
class Behind:
    """A frame that points of a keyframe catch up through."""

    gray: UInt8[np.ndarray, "h w"]
    live: Live


@dataclass(frozen=True, kw_only=True, eq=False)
class Coming:
    """Points of a keyframe on their way to the present frame."""

    live: Live
    scores: Float32[np.ndarray, " n"]
    disparities: Float32[np.ndarray, "n 2"]
    """To the right picture of a stereo pair; nan where unknown."""

    def select(self, rows: Bool[np.ndarray, " n"]) -> "Coming":
        """Some of them."""
        return Coming(live=self.live.select(rows), scores=self.scores[rows], disparities=self.disparities[rows])


class FollowedPoints:
    """The tracks of the present frame."""

    def __init__(self, config: TrackerConfig) -> None:
        self.config = config
        self.live = Live.none()
        self.scores, self.sources = np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.uint8)
        self.disparities = np.zeros((0, 2), dtype=np.float32)
        self.gray: np.ndarray | None = None
        """What the points are followed in; None: there has been no frame of this size."""
        self.mask: np.ndarray | None = None
        self.size = (0, 0)
        """(width, height) of the frame, pixels."""

    def __len__(self) -> int:
        return len(self.live.ids)

    def advance(self, image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"] | None) -> None:
        """Follow all points into the next frame, which has the same size; at a cut all end."""
        self.mask, self.size = mask, (image.shape[1], image.shape[0])
        gray = self.flow_gray(image)
        self.sources = np.full(len(self), KLT, dtype=np.uint8)
        if self.gray is not None:
            moved, ok, scores = self.moved(self.gray, gray, self.live)
            if len(ok) >= self.config.min_tracks and ok.sum() < self.config.cut_share * len(ok):
                ok[:] = False
            self.live, self.scores = moved, scores
            self.keep(ok)
        self.gray = gray

    def flow_gray(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2"]:
        """The frame that points are followed in: gray, and made smaller if it is large."""
        cv2: Any = require("cv2", extra="video")
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        height, width = gray.shape
        side = self.config.flow_size
        if side is not None and max(width, height) > side:
            size = (max(1, round(length * side / max(width, height))) for length in (width, height))
            gray = cv2.resize(gray, tuple(size), interpolation=cv2.INTER_AREA)
        self.scale = np.array([gray.shape[1] / width, gray.shape[0] / height], dtype=np.float32)
        return np.asarray(gray)

    def moved(
        self,
        gray0: UInt8[np.ndarray, "h w"],
        gray1: UInt8[np.ndarray, "h w"],
        live: Live,
        guesses: Float32[np.ndarray, "n 2"] | None = None,
    ) -> tuple[Live, Bool[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """Tracks in another frame, which of them are there and not masked, and how sure that is."""
        limit = self.config.flow_error_px
        start = self._to_flow(live.points)
        guessed = None if guesses is None else self._to_flow(guesses)
        found = follow(gray0, gray1, start, guessed, window=self.config.flow_window, largest_error=limit)
        points = ((found.points + 0.5) / self.scale - 0.5).astype(np.float32)
        ok = found.found
        if self.mask is not None and len(points):
            column, row = np.clip(points.round(), 0, np.array(self.size) - 1).astype(int).T
            ok = ok & self.mask[row, column]
        scores = np.clip(1 - found.errors / limit, 0, 1).astype(np.float32)
        return Live(ids=live.ids, points=points, born=live.born), ok, scores

    def keep(self, rows: Bool[np.ndarray, " n"]) -> None:
        """End all other tracks."""
        self.live, self.scores = self.live.select(rows), self.scores[rows]
        self.sources, self.disparities = self.sources[rows], self.disparities[rows]

    def bring_here(self, coming: Coming, behind: list[Behind]) -> None:
        """Follow points of a keyframe through the frames since to this one, and join them to the rest.

        Those of tracks that are here already take their place.
        """
        assert self.gray is not None
        steps = [*behind, Behind(gray=self.gray, live=self.live)]
        for step, following in itertools.pairwise(steps):
            if step.gray is following.gray:
                continue
            _, rows0, rows1 = np.intersect1d(step.live.ids, following.live.ids, return_indices=True)
            guesses = interpolated(coming.live.points, step.live.points[rows0], following.live.points[rows1])
            live, ok, _ = self.moved(step.gray, following.gray, coming.live, guesses)
            coming = Coming(live=live, scores=coming.scores, disparities=coming.disparities).select(ok)
        self.keep(~np.isin(self.live.ids, coming.live.ids))
        self.live = self.live.joined(coming.live)
        self.scores = np.concatenate([self.scores, coming.scores]).astype(np.float32)
        self.sources = np.concatenate([self.sources, np.full(len(coming.live.ids), MATCHED, dtype=np.uint8)])
        self.disparities = np.concatenate([self.disparities, coming.disparities])

    def in_right(self, right: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "n 2"]:
        """Where the tracks are in the right picture; the search begins at their last disparity, or their neighbours'.

        nan where they are not found.
        """
        assert self.gray is not None
        points, known = self.live.points, np.isfinite(self.disparities).all(axis=1)
        there = points + self.disparities
        guesses = interpolated(points, points[known], there[known])
        guesses[known] = there[known]
        mask, self.mask = self.mask, None
        moved, ok, _ = self.moved(self.gray, self.flow_gray(right), self.live, guesses.astype(np.float32))
        self.mask = mask
        self.disparities = np.where(ok[:, None], moved.points - points, self.disparities).astype(np.float32)
        return np.where(ok[:, None], moved.points, np.nan).astype(np.float32)

    def _to_flow(self, points: Float32[np.ndarray, "n 2"]) -> Float32[np.ndarray, "n 2"]:
        return ((points + 0.5) * self.scale - 0.5).astype(np.float32)
