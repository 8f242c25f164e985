"""The tracker: points followed on every frame; keyframes extracted and matched on another thread.

The split is that of many SLAM front ends: optical flow between frames, descriptors only at keyframes, where they find
again what was lost.
"""

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import final

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from photoglue.errors import ShapeError, require
from photoglue.extractors.base import Extractor
from photoglue.geometry.camera import PinholeCamera
from photoglue.image import ImageSource, load_mask
from photoglue.matchers.base import Matcher
from photoglue.video.config import TrackerConfig
from photoglue.video.frames import as_rgb
from photoglue.video.keyframes import (
    NEW,
    Keyframe,
    KeyframeDone,
    KeyframeJob,
    KeyframeWorker,
    remembered,
    vocabulary_for,
)
from photoglue.video.points import Behind, Coming, FollowedPoints, Live
from photoglue.video.results import FrameResult, State, TrackerCounts

STEPS_BEHIND = 12
"""At most so many frames are kept for points to catch up through while a keyframe is worked on."""
FLAT = 4.0
"""Standard deviation of gray values below which a frame is black, or shows nothing."""


@dataclass
class _Flight:
    """The one keyframe that is being worked on."""

    job: Future[KeyframeDone]
    push: int
    """Pushes before its frame."""
    live: Live
    """The tracks of its frame."""
    behind: deque[Behind]
    """Frames since, its own first."""
    stride: int
    age: int = 0

    def remember(self, gray: UInt8[np.ndarray, "h w"], live: Live) -> None:
        """Keep a frame for points to catch up through, or not; the longer it takes, the fewer."""
        if self.behind and self.age % self.stride == 0:
            self.behind.append(Behind(gray=gray, live=live))
            if len(self.behind) > STEPS_BEHIND:
                self.behind = deque(list(self.behind)[::2])
                self.stride *= 2


@final
class Tracker:
    """Follows points through a video, frame by frame. Close it at the end, or use it as a context manager.

    ```
    with Tracker(pipeline.extractor, pipeline.matcher) as tracker:
        for frame in frames:
            result = tracker.push(frame.image, frame.timestamp)
    ```

    Args:
        extractor: Finds the points of keyframes, such as ALIKED with 512 points at 640 pixels.
        matcher: Matches keyframes, such as LightGlue with ``LightGlueConfig.realtime()``.
        config: None: the defaults.
        camera: The camera of the frames, if it is known: matches are then verified by it, and the relative pose of
            keyframes is known.

    Raises:
        MissingExtra: If OpenCV or PoseLib is not installed.
    """

    def __init__(
        self,
        extractor: Extractor,
        matcher: Matcher,
        config: TrackerConfig | None = None,
        *,
        camera: PinholeCamera | None = None,
    ) -> None:
        for package in ("cv2", "poselib"):
            require(package, extra="video")
        self.config, self.camera = config or TrackerConfig(), camera
        self.counts = TrackerCounts()
        spacing, least = self.config.spacing_px, self.config.min_tracks
        self._worker = KeyframeWorker(extractor, matcher, camera, spacing, least, vocabulary_for(extractor))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keyframes")
        self._known: list[Keyframe] = []
        self._points = FollowedPoints(self.config)
        self._state: State = "starting"
        self._since = 0  # pushes since the last keyframe was sent
        self._last = Live.none()  # its tracks
        self._flight: _Flight | None = None
        self._number, self._timestamp = -1, 0.0

    def push(
        self,
        frame: ImageSource,
        timestamp: float | None = None,
        *,
        number: int | None = None,
        mask: ImageSource | None = None,
        keyframe: bool = False,
    ) -> FrameResult:
        """Follow all points into the next frame.

        With ``config.lag=None`` it never waits for the work on keyframes.

        Args:
            frame: The picture; a uint8 array (h × w × 3, RGB, or h × w) is taken as it is.
            timestamp: Seconds; None: a thirtieth of a second after the last one.
            number: Its number, larger than the last one's; None: one more.
            mask: Nothing is followed where it is black, such as on people; it has the size of the frame.
            keyframe: Make it a keyframe in any case, if none is being worked on.

        Raises:
            ImageError: If it is no image.
            ShapeError: If the mask has another size.
        """
        return self._push(as_rgb(frame), None, (timestamp, number), mask, keyframe)

    def push_stereo(
        self,
        left: ImageSource,
        right: ImageSource,
        timestamp: float | None = None,
        *,
        number: int | None = None,
        mask: ImageSource | None = None,
        keyframe: bool = False,
    ) -> FrameResult:
        """Follow all points into the next left picture, and from there into the right one of the same moment.

        Args:
            left: The picture with the points; see ``push``.
            right: The other picture of the pair, of the same size. It need not be rectified.
            timestamp: Seconds; None: a thirtieth of a second after the last one.
            number: Its number, larger than the last one's; None: one more.
            mask: Of the left picture; see ``push``.
            keyframe: Make it a keyframe in any case, if none is being worked on.

        Raises:
            ImageError: If one is no image.
            ShapeError: If sizes differ.
        """
        pair = as_rgb(left), as_rgb(right)
        if pair[0].shape != pair[1].shape:
            shapes = " and ".join(f"{each.shape[1]} × {each.shape[0]}" for each in pair)
            raise ShapeError(f"The pictures of a stereo pair have {shapes} pixels; give two of one size.")
        return self._push(*pair, (timestamp, number), mask, keyframe)

    def finish(self) -> Keyframe | None:
        """Wait for the keyframe that is being worked on, after the last frame; None: there is none."""
        return None if self._flight is None else self._take_over()

    def close(self) -> None:
        """Ends the other thread; more than once does no harm."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _push(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        right: UInt8[np.ndarray, "h w 3"] | None,
        when: tuple[float | None, int | None],
        mask: ImageSource | None,
        asked: bool,
    ) -> FrameResult:
        start = time.thread_time()
        wanted = None if mask is None else load_mask(mask).numpy()
        if wanted is not None and wanted.shape != image.shape[:2]:
            raise ShapeError(
                f"The mask has the shape {wanted.shape}, and the frame {image.shape[:2]}: give one as large."
            )
        self._timestamp = self._timestamp + (self._number >= 0) / 30 if when[0] is None else float(when[0])
        self._number = self._number + 1 if when[1] is None else when[1]
        finished = None
        resized = self._points.gray is not None and self._points.size != (image.shape[1], image.shape[0])
        if resized:
            finished = self._restart()
        self._points.advance(image, wanted)
        if self._state == "tracking" and len(self._points) < self.config.min_tracks:
            self._lose()
        self._since += 1
        finished = self._collect() or finished
        reason = self._reason(asked, resized)
        sent = reason is not None and self._flight is None and finished is None  # one keyframe finishes at a time
        if reason is not None and sent:
            self._send(image, wanted, reason, right)
            idle = self._state != "tracking"  # nothing could be followed meanwhile
            if self.config.lag == 0 or (idle and self.config.lag is not None):
                finished = self._take_over()
        elif reason is not None:
            self.counts.skipped += 1
        self.counts.frames += 1
        in_right = None if right is None else self._points.in_right(right)
        self.counts.seconds["flow"] += time.thread_time() - start
        return self._result(sent, reason, finished, in_right)

    def _restart(self) -> Keyframe | None:
        """Frames of another size: nothing can be followed to them."""
        self._lose()
        finished = None if self._flight is None else self._take_over()
        self._lose()
        self._points.gray = None
        return finished

    def _lose(self) -> None:
        """End all tracks."""
        self.counts.lost += self._state == "tracking"
        self._state = "starting" if self._state == "starting" else "lost"
        self._points.keep(np.zeros(len(self._points), dtype=bool))
        if self._flight is not None:  # what it finds cannot be followed to here
            self._flight.behind.clear()

    def _reason(self, asked: bool, resized: bool) -> str | None:
        """Why this frame should become a keyframe; None: it need not."""
        points = self._points
        if self._state != "tracking":
            if points.gray is None or float(points.gray.std()) < FLAT:
                return None
            return "size" if resized else "first" if self._state == "starting" else "lost"
        if asked:
            return "asked"
        _, rows0, rows1 = np.intersect1d(self._last.ids, points.live.ids, return_indices=True)
        motion = np.linalg.norm(points.live.points[rows1] - self._last.points[rows0], axis=1)
        moved = float(np.median(motion)) / max(points.size) if len(rows0) else 1.0
        if len(points) < self.config.keyframe_share * len(self._last.ids):
            return "few tracks"
        if moved > self.config.keyframe_motion:
            return "motion"
        still = moved * 640 < 1 and len(points) > 0.9 * len(self._last.ids)
        return "interval" if self._since >= self.config.keyframe_every and not still else None

    def _send(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        mask: Bool[np.ndarray, "h w"] | None,
        reason: str,
        right: UInt8[np.ndarray, "h w 3"] | None,
    ) -> None:
        gray, live, lost = self._points.gray, self._points.live, self._state != "tracking"
        assert gray is not None
        job = KeyframeJob(
            frame=self._number, timestamp=self._timestamp, reason=reason, image=image, mask=mask, live=live, lost=lost,
            known=tuple(self._known), right=right,
        )  # fmt: skip
        future = self._thread.submit(self._worker.run, job)
        behind = deque([Behind(gray=gray, live=live)])
        self._flight = _Flight(future, self.counts.frames, live, behind, stride=1 if lost else 3)
        self._since, self._last = 0, live

    def _collect(self) -> Keyframe | None:
        """Take over the work on a keyframe if it is time."""
        if self._flight is None:
            return None
        self._flight.age += 1
        lag = self.config.lag
        lost = self._state == "lost"  # then nothing is followed that the work could be waited for with
        if self._flight.job.done() if lag is None else lost or self._flight.age >= lag:
            return self._take_over()
        assert self._points.gray is not None
        self._flight.remember(self._points.gray, self._points.live)
        return None

    def _take_over(self) -> Keyframe | None:
        """The keyframe whose work is done, with its tracks brought to this frame; None: it shows too little."""
        flight, self._flight = self._flight, None
        assert flight is not None
        begin = time.perf_counter()
        done = flight.job.result()
        self.counts.seconds["wait"] += time.perf_counter() - begin
        for name, seconds in done.seconds.items():
            self.counts.seconds[name] += seconds
        if len(done.keyframe.ids) < self.config.min_tracks:
            return None
        keyframe = self._numbered(done.keyframe, flight)
        if flight.behind:
            self._bring_here(keyframe, done, list(flight.behind))
        self._known.append(remembered(keyframe))
        if len(self._known) > self.config.keyframes_kept:
            half = len(self._known) // 2
            self._known = [*self._known[:half:2], *self._known[half:]]
        if len(self._points) >= self.config.min_tracks:
            self._state = "tracking"
        tracks = Live(ids=keyframe.ids, points=keyframe.points, born=keyframe.born)
        self._last = tracks.select(keyframe.ids >= 0)
        self.counts.keyframes += 1
        self.counts.refound += keyframe.refound
        return keyframe

    def _numbered(self, keyframe: Keyframe, flight: _Flight) -> Keyframe:
        """The keyframe with numbers for its new tracks, the best points first if not all can be followed."""
        ids, born = keyframe.ids.copy(), keyframe.born.copy()
        refound = int(((ids >= 0) & ~np.isin(ids, flight.live.ids)).sum())
        new = np.flatnonzero(ids == NEW)
        best = keyframe.features.scores.numpy()[new].argsort(kind="stable")[::-1]
        new = np.sort(new[best[: max(0, self.config.max_tracks - len(self._points) - refound)]])
        ids[ids == NEW] = -1
        ids[new] = self.counts.tracks + np.arange(len(new))
        born[new] = flight.push
        self.counts.tracks += len(new)
        return replace(keyframe, ids=ids, born=born, refound=refound, new=len(new))

    def _bring_here(self, keyframe: Keyframe, done: KeyframeDone, behind: list[Behind]) -> None:
        """End tracks that were wrong; bring here what is new, was found again, or had drifted."""
        self._points.keep(~np.isin(self._points.live.ids, done.wrong))
        then = behind[0].live
        seen = dict(zip(then.ids.tolist(), then.points, strict=True))
        here = set(self._points.live.ids.tolist())
        positions = keyframe.points
        drift = self.config.spacing_px * max(self._points.size) / 640 / 2
        carried = (keyframe.ids >= 0) & ~np.isin(keyframe.ids, done.wrong)
        for row in np.flatnonzero(carried).tolist():
            track = int(keyframe.ids[row])
            if track in here:
                carried[row] = track in seen and float(np.linalg.norm(seen[track] - positions[row])) > drift
        rows = np.flatnonzero(carried)
        unknown = np.full((len(positions), 2), np.nan, dtype=np.float32)
        coming = Coming(
            live=Live(ids=keyframe.ids[rows], points=positions[rows], born=keyframe.born[rows]),
            scores=done.scores[rows],
            disparities=(unknown if done.disparities is None else done.disparities)[rows],
        )
        self._points.bring_here(coming, behind)

    def _result(
        self, sent: bool, reason: str | None, finished: Keyframe | None, in_right: Float32[np.ndarray, "n 2"] | None
    ) -> FrameResult:
        live = self._points.live
        return FrameResult(
            frame=self._number, timestamp=self._timestamp, ids=live.ids, points=live.points,
            ages=self.counts.frames - 1 - live.born, scores=self._points.scores, sources=self._points.sources,
            state=self._state, keyframe=sent, reason=reason, finished=finished, right_points=in_right,
        )  # fmt: skip
