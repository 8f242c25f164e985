"""The tracker: points followed on every frame; keyframes extracted and matched on another thread.

The split is that of many SLAM front ends: optical flow between frames, descriptors only at keyframes, where they find
again what was lost.
"""

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, TypeAlias, final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8

from photoglue.errors import PhotoGlueError, ShapeError, require
from photoglue.extractors.base import Extractor
from photoglue.geometry.camera import PinholeCamera
from photoglue.image import ImageSource, load_image, load_mask
from photoglue.matchers.base import Matcher
from photoglue.video.config import TrackerConfig
from photoglue.video.flow import follow, interpolated
from photoglue.video.keyframes import (
    NEW,
    Keyframe,
    KeyframeDone,
    KeyframeJob,
    KeyframeWorker,
    Live,
    remembered,
    vocabulary_for,
)

KLT, MATCHED = 0, 1
"""Sources of a position: optical flow, or a keypoint of a keyframe (LightGlue)."""
STEPS_BEHIND = 12
"""At most so many frames are kept for points to catch up through while a keyframe is worked on."""
FLAT = 4.0
"""Standard deviation of gray values below which a frame is black, or shows nothing."""
State: TypeAlias = Literal["starting", "tracking", "lost"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameResult:
    """What is known after a frame."""

    frame: int
    """Its number, as given to ``push``, or counted from 0."""
    timestamp: float
    ids: Int64[np.ndarray, " n"]
    """The track of each point; no number is used twice."""
    points: Float32[np.ndarray, "n 2"]
    """(x, y) in pixels of the frame."""
    ages: Int64[np.ndarray, " n"]
    """Pushes since the track's first frame."""
    scores: Float32[np.ndarray, " n"]
    """In [0, 1]: of a match its score; of flow 1 less the share of the allowed error by which the way back missed."""
    sources: UInt8[np.ndarray, " n"]
    """0: followed (KLT); 1: found by the matcher since the last frame, and followed to here."""
    state: State
    """"lost" while nothing is followed because nothing has been recognised."""
    keyframe: bool
    """Whether this frame was sent to be a keyframe."""
    reason: str | None
    """Why it was, or, if the thread for keyframes was busy, would have been; None: it need not be one."""
    finished: Keyframe | None
    """A keyframe, of this frame or an earlier one, whose work was taken over now."""
    right_points: Float32[np.ndarray, "n 2"] | None = None
    """After ``push_stereo``: each point in the right picture; nan where it was not found."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class TrackerCounts:
    """What a tracker has done so far."""

    frames: int = 0
    keyframes: int = 0
    skipped: int = 0
    """Frames that should have become keyframes while another one was worked on, and were passed over."""
    tracks: int = 0
    """Tracks that began."""
    refound: int = 0
    """Times that a track that had ended went on."""
    lost: int = 0
    """Times that the camera was lost."""
    seconds: dict[str, float] = field(default_factory=lambda: {"flow": 0.0, "extract": 0.0, "match": 0.0, "wait": 0.0})
    """CPU seconds of "flow" (the calling thread), "extract" and "match" (the other one); and those of the clock that
    ``push`` waited for the other thread."""


@dataclass(frozen=True, eq=False)
class _Behind:
    """A frame that points of a keyframe catch up through."""

    gray: UInt8[np.ndarray, "h w"]
    live: Live


@final
class Tracker:
    """Follows points through a video, frame by frame. Close it at the end, or use it as a context manager.

    ```
    with Tracker(pipeline.extractor, pipeline.matcher) as tracker:
        for frame in frames:
            result = tracker.push(frame.image, frame.timestamp)
    ```

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
        self.config = config or TrackerConfig()
        self.counts = TrackerCounts()
        self._worker = KeyframeWorker(
            extractor, matcher, camera, self.config.spacing_px, self.config.min_tracks, vocabulary_for(extractor)
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keyframes")
        self._known: list[Keyframe] = []
        self._live = Live.none()
        self._scores, self._sources = np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.uint8)
        self._disparities = np.zeros((0, 2), dtype=np.float32)
        self._gray: np.ndarray | None = None
        self._mask: np.ndarray | None = None
        self._size = (0, 0)
        self._state: State = "starting"
        self._since = self._after = 0  # pushes since the last keyframe was sent; tracks that it left
        self._job: Future[KeyframeDone] | None = None
        self._job_age = 0
        self._job_lost = False
        self._behind: deque[_Behind] = deque()
        self._stride = 1

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
            number: Its number, larger than the last one's; None: counted from 0.
            mask: Nothing is followed where it is black, such as on people; it has the size of the frame.
            keyframe: Make it a keyframe in any case, if none is being worked on.

        Raises:
            ImageError: If it is no image.
            ShapeError: If the mask has another size.
        """
        return self._push(frame, timestamp, number, mask, keyframe, None)

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
            number: Its number, larger than the last one's; None: counted from 0.
            mask: Of the left picture; see ``push``.
            keyframe: Make it a keyframe in any case.

        Raises:
            ImageError: If one is no image.
            ShapeError: If sizes differ.
        """
        other = _as_rgb(right)
        if other.shape != _as_rgb(left).shape:
            raise ShapeError(f"The right picture has the shape {other.shape}, the left one another; give two of a size.")
        return self._push(left, timestamp, number, mask, keyframe, other)

    def finish(self) -> Keyframe | None:
        """Wait for the keyframe that is being worked on, which no later frame will take over; None: there is none."""
        return None if self._job is None else self._take_over(self._behind[0].live if self._behind else self._live)

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
        frame: ImageSource,
        timestamp: float | None,
        number: int | None,
        mask: ImageSource | None,
        asked: bool,
        right: np.ndarray | None,
    ) -> FrameResult:
        start, waited = time.thread_time(), self.counts.seconds["wait"]
        image = _as_rgb(frame)
        self._number = self.counts.frames if number is None else number
        self._timestamp = self._next_time(timestamp)
        self._mask = None if mask is None else load_mask(mask).numpy()
        if self._mask is not None and self._mask.shape != image.shape[:2]:
            raise ShapeError(f"The mask has the shape {self._mask.shape}, the frame {image.shape[:2]}.")
        gray = self._flow_gray(image)
        resized = self._gray is not None and (image.shape[1], image.shape[0]) != self._size
        if resized:
            self._restart()
        self._size = (image.shape[1], image.shape[0])
        self._sources = np.full(len(self._live.ids), KLT, dtype=np.uint8)
        if self._gray is not None:
            self._follow(self._gray, gray)
        self._gray = gray
        self._since += 1
        finished = self._collect()
        reason = self._reason(gray, asked, resized)
        sent = reason is not None and self._job is None
        if reason is not None:
            self._send(image, reason, right) if sent else self._skip()
        if sent and self._state != "tracking" and self.config.lag is not None:  # nothing to follow meanwhile
            finished = self._collect(at_once=True) or finished
        self.counts.frames += 1
        self.counts.seconds["flow"] += time.thread_time() - start
        assert waited <= self.counts.seconds["wait"]
        return self._result(sent, reason, finished, None if right is None else self._in_right(right))

    def _next_time(self, timestamp: float | None) -> float:
        if timestamp is not None:
            return float(timestamp)
        return self._timestamp + 1 / 30 if self.counts.frames else 0.0

    def _restart(self) -> None:
        """Frames of another size: nothing can be followed to them."""
        self._drop_all()
        if self._job is not None:
            self._take_over(None)
        self._gray = None

    def _flow_gray(self, image: np.ndarray) -> np.ndarray:
        cv2 = require("cv2", extra="video")
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        height, width = gray.shape
        side = self.config.flow_size
        if side is not None and max(width, height) > side:
            self._shrink = side / max(width, height)
            size = max(1, round(width * self._shrink)), max(1, round(height * self._shrink))
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        self._scale = np.array([gray.shape[1] / width, gray.shape[0] / height], dtype=np.float32)
        return np.asarray(gray)

    def _moved(
        self, gray0: np.ndarray, gray1: np.ndarray, live: Live, guesses: np.ndarray | None = None
    ) -> tuple[Live, np.ndarray, np.ndarray]:
        """Tracks in the next frame, which of them are there, and how sure that is."""
        limit = self.config.flow_error_px * max(1.0, max(gray0.shape) / 640)
        found = follow(
            gray0, gray1, self._to_flow(live.points), None if guesses is None else self._to_flow(guesses),
            window=self.config.flow_window, largest_error=limit,
        )  # fmt: skip
        points = (found.points + 0.5) / self._scale - 0.5
        ok = found.found
        if self._mask is not None and len(points):
            column, row = np.clip(points.round(), 0, np.array(self._size) - 1).astype(int).T
            ok = ok & self._mask[row, column]
        moved = Live(ids=live.ids, points=points.astype(np.float32), born=live.born)
        return moved, ok, np.clip(1 - found.errors / limit, 0, 1)

    def _to_flow(self, points: np.ndarray) -> np.ndarray:
        return ((points + 0.5) * self._scale - 0.5).astype(np.float32)

    def _follow(self, gray0: np.ndarray, gray1: np.ndarray) -> None:
        moved, ok, scores = self._moved(gray0, gray1, self._live)
        before = len(ok)
        if before >= self.config.min_tracks and ok.sum() < self.config.cut_share * before:
            ok[:] = False
        self._keep(moved, ok, scores)
        if self._state == "tracking" and len(self._live.ids) < self.config.min_tracks:
            self._drop_all()
            self.counts.lost += 1

    def _keep(self, live: Live, rows: np.ndarray, scores: np.ndarray) -> None:
        self._live, self._scores = live.select(rows), scores[rows].astype(np.float32)
        self._sources, self._disparities = self._sources[rows], self._disparities[rows]

    def _drop_all(self) -> None:
        self._state = "lost" if self._state != "starting" else "starting"
        self._keep(self._live, np.zeros(len(self._live.ids), dtype=bool), self._scores)
        self._behind.clear()

    def _reason(self, gray: np.ndarray, asked: bool, resized: bool) -> str | None:
        """Why this frame should become a keyframe; None: it need not."""
        if self._state != "tracking":
            if float(gray.std()) < FLAT:
                return None
            return "size" if resized else "first" if self._state == "starting" else "lost"
        if asked:
            return "asked"
        last = self._known[-1]
        _, rows0, rows1 = np.intersect1d(last.ids, self._live.ids, return_indices=True)
        motion = self._live.points[rows1] - last.features.keypoints.numpy()[rows0]
        moved = float(np.median(np.linalg.norm(motion, axis=1))) / max(self._size) if len(rows0) else 1.0
        if self._job is None and len(self._live.ids) < self.config.keyframe_share * self._after:
            return "few tracks"
        if moved > self.config.keyframe_motion:
            return "motion"
        still = moved * 640 < 1 and len(self._live.ids) > 0.9 * self._after
        return "interval" if self._since >= self.config.keyframe_every and not still else None

    def _skip(self) -> None:
        self.counts.skipped += 1

    def _send(self, image: np.ndarray, reason: str, right: np.ndarray | None) -> None:
        assert self._gray is not None
        lost = self._state != "tracking"
        job = KeyframeJob(
            frame=self._number, timestamp=self._timestamp, reason=reason, image=image, mask=self._mask,
            live=self._live, lost=lost, known=tuple(self._known), right=right,
        )  # fmt: skip
        self._job, self._job_age, self._job_lost = self._thread.submit(self._worker.run, job), 0, lost
        self._job_push = self.counts.frames
        self._behind, self._stride = deque([_Behind(self._gray, self._live)]), 1 if lost else 2
        self._since = 0

    def _collect(self, at_once: bool = False) -> Keyframe | None:
        """Take over the work on a keyframe if it is time."""
        if self._job is None:
            return None
        if not at_once:
            self._job_age += 1
            if self.config.lag is None:
                due = self._job.done()
            else:
                due = self._job_age >= self.config.lag or self._job_lost
            if not due:
                self._remember_behind()
                return None
        behind = self._behind
        return self._take_over(behind[0].live if behind else None)

    def _remember_behind(self) -> None:
        assert self._gray is not None
        if self._behind and self._job_age % self._stride == 0:
            self._behind.append(_Behind(self._gray, self._live))
            if len(self._behind) > STEPS_BEHIND:
                self._behind = deque(list(self._behind)[::2])
                self._stride *= 2

    def _take_over(self, then: Live | None) -> Keyframe | None:
        """The keyframe whose work is done, with its tracks brought to this frame; ``then``: the tracks it had seen."""
        assert self._job is not None
        job, self._job = self._job, None
        begin = time.perf_counter()
        try:
            done = job.result()
        except PhotoGlueError:
            raise
        finally:
            self.counts.seconds["wait"] += time.perf_counter() - begin
        for name, seconds in done.seconds.items():
            self.counts.seconds[name] += seconds
        keyframe = done.keyframe
        if len(keyframe.ids) < self.config.min_tracks:
            self._behind.clear()
            return None
        numbered = self._numbered(keyframe, len(self._live.ids), () if then is None else then.ids)
        if then is not None and self._behind:
            self._bring_here(numbered, done)
        self._behind.clear()
        self._remember(numbered)
        if len(self._live.ids) >= self.config.min_tracks:
            self._state = "tracking"
        self._after = len(self._live.ids)
        self.counts.keyframes += 1
        self.counts.refound += numbered.refound
        return numbered

    def _numbered(self, keyframe: Keyframe, now: int, then: "np.ndarray | tuple[()]") -> Keyframe:
        """The keyframe with numbers for its new tracks, the best points first if not all can be followed."""
        ids, born = keyframe.ids.copy(), keyframe.born.copy()
        refound = ids[(ids >= 0) & ~np.isin(ids, np.asarray(then, dtype=np.int64))]
        new = np.flatnonzero(ids == NEW)
        order = keyframe.features.scores.numpy()[new].argsort(kind="stable")[::-1]
        new = np.sort(new[order][: max(0, self.config.max_tracks - now - len(refound))])
        ids[ids == NEW] = -1
        ids[new] = self.counts.tracks + np.arange(len(new))
        born[new] = self._job_push
        self.counts.tracks += len(new)
        return replace(keyframe, ids=ids, born=born, refound=len(refound), new=len(new))

    def _bring_here(self, keyframe: Keyframe, done: KeyframeDone) -> None:
        """Follow what is new, found again or was corrected from the keyframe to this frame, and join it to the rest."""
        assert self._gray is not None
        keep = ~np.isin(self._live.ids, done.wrong)
        self._keep(self._live, keep, self._scores)
        rows = np.flatnonzero((keyframe.ids >= 0) & ~np.isin(keyframe.ids, done.wrong))
        at_keyframe = Live(
            ids=keyframe.ids[rows], points=keyframe.features.keypoints.numpy()[rows], born=keyframe.born[rows]
        )
        seen = dict(zip(self._behind[0].live.ids.tolist(), self._behind[0].live.points, strict=True))
        here = set(self._live.ids.tolist())
        limit = self._worker.spacing_px * max(self._size) / 640 / 2
        carried = np.array(
            [
                track not in here or bool(np.linalg.norm(seen[track] - point) > limit)
                for track, point in zip(at_keyframe.ids.tolist(), at_keyframe.points, strict=True)
                if track not in here or track in seen
            ],
            dtype=bool,
        )
        if not carried.any():
            return
        coming, scores = at_keyframe.select(carried), done.scores[rows][carried]
        disparities = None if done.disparities is None else done.disparities[rows][carried]
        steps = [*self._behind, _Behind(self._gray, self._live)]
        for step, following in zip(steps, steps[1:], strict=False):
            if step.gray is following.gray:
                continue
            _, rows0, rows1 = np.intersect1d(step.live.ids, following.live.ids, return_indices=True)
            guesses = interpolated(coming.points, step.live.points[rows0], following.live.points[rows1])
            coming, ok, _ = self._moved(step.gray, following.gray, coming, guesses)
            coming, scores = coming.select(ok), scores[ok]
            disparities = None if disparities is None else disparities[ok]
        self._join(coming, scores, disparities)

    def _join(self, coming: Live, scores: np.ndarray, disparities: np.ndarray | None) -> None:
        stay = ~np.isin(self._live.ids, coming.ids)  # those that had drifted are replaced
        self._keep(self._live, stay, self._scores)
        self._live = self._live.joined(coming)
        self._scores = np.concatenate([self._scores, scores]).astype(np.float32)
        self._sources = np.concatenate([self._sources, np.full(len(coming.ids), MATCHED, dtype=np.uint8)])
        if disparities is None:
            disparities = np.full((len(coming.ids), 2), np.nan, dtype=np.float32)
        self._disparities = np.concatenate([self._disparities, disparities])

    def _remember(self, keyframe: Keyframe) -> None:
        self._known.append(remembered(keyframe))
        if len(self._known) > self.config.keyframes_kept:
            half = len(self._known) // 2
            self._known = [*self._known[:half:2], *self._known[half:]]

    def _in_right(self, right: np.ndarray) -> np.ndarray:
        """Where the tracks are in the right picture, beginning at the last disparity of each, or of its neighbours."""
        assert self._gray is not None
        gray, points, known = self._flow_gray(right), self._live.points, np.isfinite(self._disparities).all(axis=1)
        there = points + np.where(known[:, None], self._disparities, 0)
        guesses = interpolated(points, points[known], there[known])
        guesses[known] = there[known]
        mask, self._mask = self._mask, None
        moved, ok, _ = self._moved(self._gray, gray, self._live, guesses.astype(np.float32))
        self._mask = mask
        found: np.ndarray = np.where(ok[:, None], moved.points, np.nan).astype(np.float32)
        self._disparities = np.where(ok[:, None], found - points, self._disparities).astype(np.float32)
        return found

    def _result(
        self, sent: bool, reason: str | None, finished: Keyframe | None, right: np.ndarray | None
    ) -> FrameResult:
        return FrameResult(
            frame=self._number, timestamp=self._timestamp, ids=self._live.ids, points=self._live.points,
            ages=self.counts.frames - 1 - self._live.born, scores=self._scores, sources=self._sources,
            state=self._state, keyframe=sent, reason=reason, finished=finished, right_points=right,
        )  # fmt: skip


def _as_rgb(frame: ImageSource) -> UInt8[np.ndarray, "h w 3"]:
    """A frame as three channels of uint8."""
    if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3:
        return np.ascontiguousarray(frame)
    if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 2:
        return np.repeat(frame[:, :, None], 3, axis=2)
    image = load_image(frame).cpu()
    values: torch.Tensor = (image.expand(3, -1, -1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(values.permute(1, 2, 0).numpy())
