"""Trackers by name: ours, and what others would do with the same frames."""

import re
from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
from jaxtyping import Float32, Int64

from photoglue.errors import ConfigError, require
from photoglue.pipeline import Pipeline
from photoglue.structs import Features
from photoglue.video import Tracker, TrackerConfig, TrackOptions
from photoglue.video.flow import follow
from photoglue.video.frames import Frame
from photoglue.video.options import pipeline_of

POINTS = 512
NAMES = "tracker, tracker:EVERY (a keyframe every so many frames), klt, orb, aliked+lightglue"
Seen = tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n 2"]]
"""The tracks of a frame, and their points (x, y) in pixels."""


class TrackingMethod(ABC):
    """Follows points through one video."""

    @abstractmethod
    def step(self, frame: Frame) -> Seen:
        """The tracks in the next frame."""

    def other_seconds(self) -> float:
        """CPU seconds of other threads than the calling one."""
        return 0.0

    def keyframes(self) -> int:
        """Keyframes so far; 0 for methods without."""
        return 0

    def close(self) -> None:  # noqa: B027  (most have nothing to close)
        """Ends other threads."""


@final
class OurTracker(TrackingMethod):
    """``photoglue track``, without real time."""

    def __init__(self, every: int | None, fps: float, device: str | None) -> None:
        made = _pipeline(device)
        options = {} if every is None else {"keyframe_every": every}
        self.tracker = Tracker(made.extractor, made.matcher, TrackerConfig(lag=max(1, round(fps / 5)), **options))

    def step(self, frame: Frame) -> Seen:
        """The tracks in the next frame."""
        result = self.tracker.push(frame.image, frame.timestamp, number=frame.number)
        return result.ids, result.points

    def other_seconds(self) -> float:
        """CPU seconds of the thread for keyframes."""
        return self.tracker.counts.seconds["extract"] + self.tracker.counts.seconds["match"]

    def keyframes(self) -> int:
        """Keyframes so far."""
        return self.tracker.counts.keyframes

    def close(self) -> None:
        """Ends the other thread."""
        self.tracker.close()


@final
class FlowAlone(TrackingMethod):
    """KLT with goodFeaturesToTrack, forward and backward; new corners by our tracker's rule for keyframes."""

    def __init__(self) -> None:
        self.cv2: Any = require("cv2", extra="video")
        self.before: np.ndarray | None = None
        self.ids, self.points = np.zeros(0, dtype=np.int64), np.zeros((0, 2), dtype=np.float32)
        self.next = self.since = self.left = 0

    def step(self, frame: Frame) -> Seen:
        """The tracks in the next frame."""
        gray = self.cv2.cvtColor(frame.image, self.cv2.COLOR_RGB2GRAY)
        if self.before is not None:
            found = follow(self.before, gray, self.points)
            self.ids, self.points = self.ids[found.found], found.points[found.found]
        self.before, self.since = gray, self.since + 1
        config = TrackerConfig()
        if self.since >= config.keyframe_every or len(self.ids) < max(1, config.keyframe_share * self.left):
            self._fill(gray)
        return self.ids, self.points

    def _fill(self, gray: np.ndarray) -> None:
        free = np.full(gray.shape, 255, dtype=np.uint8)
        for x, y in self.points.round().astype(int).tolist():
            self.cv2.circle(free, (x, y), 8, 0, -1)
        room = POINTS - len(self.ids)
        corners = self.cv2.goodFeaturesToTrack(gray, room, 0.01, 8, mask=free) if room > 0 else None
        if corners is not None:
            self.points = np.concatenate([self.points, corners.reshape(-1, 2)]).astype(np.float32)
            self.ids = np.concatenate([self.ids, self.next + np.arange(len(corners))])
            self.next += len(corners)
        self.since, self.left = 0, len(self.ids)


@final
class EveryFrame(TrackingMethod):
    """Features of every frame, matched with those of the frame before: a track is a chain of matches."""

    def __init__(self, detector: str, device: str | None = None) -> None:
        self.pipeline = _pipeline(device) if detector == "aliked" else None
        self.cv2: Any = require("cv2", extra="video")
        self.orb: Any = None if self.pipeline is not None else self.cv2.ORB_create(POINTS)
        self.before: Any = None
        self.ids = np.zeros(0, dtype=np.int64)
        self.next = 0

    def step(self, frame: Frame) -> Seen:
        """The tracks in the next frame."""
        found: Any
        if self.pipeline is not None:
            found = self.pipeline.extractor.extract(frame.image)
            points = found.keypoints.cpu().numpy()
        else:
            keypoints, found = self.orb.detectAndCompute(self.cv2.cvtColor(frame.image, self.cv2.COLOR_RGB2GRAY), None)
            points = np.array([each.pt for each in keypoints], dtype=np.float32).reshape(-1, 2)
        ids = np.full(len(points), -1, dtype=np.int64)
        for row0, row1 in self._matches(found):
            ids[row1] = self.ids[row0]
        new = np.flatnonzero(ids < 0)
        ids[new] = self.next + np.arange(len(new))
        self.next += len(new)
        self.ids, self.before = ids, found
        return ids, points

    def _matches(self, found: Any) -> list[tuple[int, int]]:
        if self.before is None or found is None or not len(found) or not len(self.before):
            return []
        if isinstance(found, Features):
            assert self.pipeline is not None
            return [(row0, row1) for row0, row1 in self.pipeline.matcher.match(self.before, found).indices.tolist()]
        brute = self.cv2.BFMatcher(self.cv2.NORM_HAMMING, crossCheck=True)
        return [(match.queryIdx, match.trainIdx) for match in brute.match(self.before, found)]


def method_named(name: str, fps: float, device: str | None = None) -> TrackingMethod:
    """A tracker for one video.

    Args:
        name: tracker, tracker:EVERY, klt, orb or aliked+lightglue.
        fps: Frames a second of the video.
        device: Where networks compute.

    Raises:
        ConfigError: If there is no such method.
    """
    if name == "klt":
        return FlowAlone()
    if name in ("orb", "aliked+lightglue"):
        return EveryFrame(name.partition("+")[0], device)
    if found := re.fullmatch(r"tracker(?::(\d+))?", name):
        return OurTracker(None if found[1] is None else int(found[1]), fps, device)
    raise ConfigError(f"{name!r} is no method of tracking. There are: {NAMES}.")


def _pipeline(device: str | None) -> Pipeline:
    """What ``photoglue track`` takes for keyframes, warm."""
    made = pipeline_of(TrackOptions(max_keypoints=POINTS, device=device))
    warm = made.extractor.extract(np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8))
    made.matcher.match(warm, warm)
    return made
