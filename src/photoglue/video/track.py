"""A whole video in one call: read, tracked, written."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import UInt8

from photoglue.errors import ImageError, require
from photoglue.extractors.base import Extractor
from photoglue.files import as_json
from photoglue.geometry.camera import PinholeCamera
from photoglue.matchers.base import Matcher
from photoglue.store.undo import uninterrupted
from photoglue.video.frames import Frame, Frames, VideoSource, open_frames
from photoglue.video.keyframe_folder import KeyframeFolder
from photoglue.video.keyframes import Keyframe
from photoglue.video.odometry import CameraPose, Odometry, write_trajectory
from photoglue.video.options import (
    TrackOptions,
    TrackOutputs,
    TrackSummary,
    camera_of_text,
    check_options,
    config_of,
    pipeline_of,
)
from photoglue.video.overlay import OverlayWriter
from photoglue.video.results import FrameResult, TrackerCounts
from photoglue.video.tracker import Tracker
from photoglue.video.writers import TrackWriter

FPS_OVER = 30
"""Frames that the shown rate is of."""


Progress = Callable[[FrameResult, TrackerCounts, float], None]
"""Is told each frame, what was counted so far, and the frames a second of late."""


def track_video(
    source: VideoSource,
    outputs: TrackOutputs | None = None,
    options: TrackOptions | None = None,
    *,
    extractor: Extractor | None = None,
    matcher: Matcher | None = None,
    progress: Progress | None = None,
) -> TrackSummary:
    """Track a video, a folder of pictures or a camera, as ``photoglue track`` does.

    Without ``realtime`` the same video gives the same tracks each time. Memory does not grow with its length, but for a
    line for each pose. Ctrl-C ends it: all outputs are closed and whole, with what there was until then; for a camera
    that is the way to end it, and the summary is returned.

    Args:
        source: A video file, a folder of pictures, or the number of a camera.
        outputs: What to write; None: nothing.
        options: How; None: the defaults.
        extractor: An extractor to use as it is, instead of the one that ``options`` name.
        matcher: A matcher to use as it is, instead of LightGlue.
        progress: Called after each frame with its result, the counts, and the frames a second.

    Raises:
        ConfigError: If an option makes no sense, a folder for keyframes is not empty, or there is no codec.
        ImageError: If the source cannot be opened, or has no frame.
        OutputError: If a file cannot be written.
        WeightsError: If weights cannot be had.
        MissingExtra: If OpenCV, PoseLib or h5py is not installed.
    """
    outputs, options = outputs or TrackOutputs(), options or TrackOptions()
    check_options(outputs, options)
    with ExitStack() as stack:
        frames = stack.enter_context(open_frames(source, fps=options.fps))
        iterator = iter(frames)
        first = next(iterator, None)
        if first is None:
            raise ImageError(f"{str(source)!r} has no frame that can be read. {' '.join(frames.notes)}")
        if extractor is None or matcher is None:
            made = pipeline_of(options)
            extractor, matcher = extractor or made.extractor, matcher or made.matcher
        size = (first.image.shape[1], first.image.shape[0])
        camera = None if options.intrinsics is None else camera_of_text(options.intrinsics, size)
        stack.enter_context(_shared_cores())
        warm = extractor.extract(first.image)
        matcher.match(warm, warm)
        tracker = stack.enter_context(Tracker(extractor, matcher, config_of(options, frames.fps), camera=camera))
        writers = _Writers(outputs, str(source), frames.fps, (extractor, matcher), camera, stack)
        run = _Run(tracker, writers, options, frames, progress)
        try:
            run.all(first, iterator)
        except KeyboardInterrupt:
            run.finish()
            if not frames.live:
                raise
        return run.summary(str(source))


@contextmanager
def _shared_cores() -> Iterator[None]:
    """One core for the frame loop, the others for keyframes: where both took all, each would wait for the other."""
    cv2 = require("cv2", extra="video")
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(before[1], cores - 1)))
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


@final
class _Writers:
    """All outputs that were asked for."""

    def __init__(
        self,
        outputs: TrackOutputs,
        source: str,
        fps: float,
        models: tuple[Extractor, Matcher],
        camera: PinholeCamera | None,
        stack: ExitStack,
    ) -> None:
        self.overlay = self.tracks = self.keyframes = self.odometry = None
        self.poses: list[CameraPose] = []
        about: dict[str, Any] = {"source": source, "fps": fps, "camera": None if camera is None else asdict(camera)}
        if outputs.overlay is not None:
            self.overlay = OverlayWriter(outputs.overlay, fps)
            stack.callback(self.overlay.close)
        if outputs.keyframes is not None:
            self.keyframes = KeyframeFolder(outputs.keyframes, *models, source=source)
            stack.callback(self.keyframes.close)
        if outputs.tracks is not None:
            self.tracks = TrackWriter(outputs.tracks, as_json(about))
            stack.callback(self.tracks.close)
        if outputs.trajectory is not None and camera is not None:
            self.odometry, path = Odometry(camera), outputs.trajectory
            stack.callback(lambda: write_trajectory(self.poses, path))

    def add(self, image: UInt8[np.ndarray, "h w 3"], result: FrameResult, line: str) -> None:
        """Write what is known after a frame."""
        size = (image.shape[1], image.shape[0])
        if self.tracks is not None:
            self.tracks.add(result, size)
        if result.finished is not None:
            self.add_keyframe(result.finished)
        if self.odometry is not None and size == self.odometry.camera.image_size:
            self.poses += self.odometry.add(result)
        if self.overlay is not None:
            self.overlay.add(image, result, line)

    def add_keyframe(self, keyframe: Keyframe) -> None:
        """Write a keyframe whose work is done."""
        if self.tracks is not None:
            self.tracks.add_keyframe(keyframe)
        if self.keyframes is not None:
            self.keyframes.add(keyframe)


@final
class _Run:
    """The frame loop."""

    def __init__(
        self, tracker: Tracker, writers: _Writers, options: TrackOptions, frames: Frames, progress: Progress | None
    ) -> None:
        self.tracker, self.writers, self.options, self.frames = tracker, writers, options, frames
        self.progress = progress
        self.seconds = {"read": 0.0, "write": 0.0}
        self.late = self.sum_tracks = 0
        self.ends: deque[float] = deque(maxlen=FPS_OVER)
        self.start, self.cpu = time.perf_counter(), time.process_time()
        self.sizes: set[tuple[int, int]] = set()

    def all(self, first: Frame, rest: Iterator[Frame]) -> None:
        """Every frame, from the first to the last."""
        frame: Frame | None = first
        while frame is not None and self.tracker.counts.frames != self.options.max_frames:
            due = self.start + frame.timestamp - first.timestamp
            if self.options.realtime and not self.frames.live:
                time.sleep(max(0.0, due - time.perf_counter()))
            with uninterrupted():
                self._one(frame)
                self.late += self.options.realtime and self._is_late(due)
            begin = time.thread_time()
            frame = next(rest, None)
            self.seconds["read"] += time.thread_time() - begin
        self.finish()

    def _is_late(self, due: float) -> bool:
        """Whether a frame was done only after the next one was due; a camera waits, and its frames are late by then."""
        begin = self.ends[-2] if self.frames.live and len(self.ends) > 1 else due
        return self.ends[-1] > begin + (2 if self.frames.live else 1) / self.frames.fps

    def _one(self, frame: Frame) -> None:
        result = self.tracker.push(frame.image, frame.timestamp, number=frame.number, mask=self._mask(frame))
        begin = time.thread_time()
        self.sum_tracks += len(result)
        self.sizes.add((frame.image.shape[1], frame.image.shape[0]))
        counts, rate = self.tracker.counts, self._rate()
        line = f"{rate:5.1f} fps  {len(result)} tracks  {counts.keyframes} keyframes  {result.state}"
        self.writers.add(frame.image, result, line)
        self.seconds["write"] += time.thread_time() - begin
        if self.progress is not None:
            self.progress(result, counts, rate)
        self.ends.append(time.perf_counter())

    def _rate(self) -> float:
        """Frames a second of late."""
        return len(self.ends) / max(1e-9, time.perf_counter() - self.ends[0]) if self.ends else 0.0

    def _mask(self, frame: Frame) -> Path | None:
        if self.options.masks is None:
            return None
        stem = Path(frame.name).stem
        names = (f"{frame.name}.png", f"{stem}.png")
        return next((path for path in (self.options.masks / name for name in names) if path.is_file()), None)

    def finish(self) -> None:
        """Take over the keyframe that is still being worked on."""
        with uninterrupted():
            self.elapsed = time.perf_counter() - self.start
            keyframe = self.tracker.finish()
            if keyframe is not None:
                self.writers.add_keyframe(keyframe)

    def summary(self, source: str) -> TrackSummary:
        """What came of it."""
        counts = self.tracker.counts
        notes = list(self.frames.notes)
        if len(self.sizes) > 1:
            shown = ", ".join(f"{width} × {height}" for width, height in sorted(self.sizes))
            notes.append(f"frames have {len(self.sizes)} sizes ({shown}): tracks end where it changes")
        cpu = {"read": self.seconds["read"], **counts.seconds, "write": self.seconds["write"]}
        cpu["all"] = time.process_time() - self.cpu
        return TrackSummary(
            source=source, frames=counts.frames, seconds=self.elapsed, keyframes=counts.keyframes, tracks=counts.tracks,
            mean_tracks=self.sum_tracks / max(1, counts.frames), refound=counts.refound, lost=counts.lost,
            skipped=counts.skipped, late=self.late, camera=self.tracker.camera, cpu_seconds=cpu, notes=tuple(notes),
            placed=None if self.writers.odometry is None else len(self.writers.poses),
        )  # fmt: skip
