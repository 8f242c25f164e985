"""Videos with a known camera path, tracked by several methods in turn, and what came of it as a table."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from photoglue.errors import ConfigError, OutputError, require
from photoglue.evaluation.tracking.methods import Seen, TrackingMethod, method_named
from photoglue.evaluation.tracking.walks import TRAJECTORY, Walk, read_walk, with_cut, with_gap
from photoglue.files import from_json, to_json, write_whole
from photoglue.geometry.epipolar import fundamental_matrix, symmetric_epipolar_distance
from photoglue.geometry.pose import rotation_error_deg, translation_error_deg
from photoglue.solvers import poselib
from photoglue.video.frames import Frame

GAPS = (10, 30, 60)
"""Frames between the two that are compared."""
STEP = 10
"""Every so many frames a comparison begins."""
NEAR_PX = 3.0
RESUMED = 12
"""So many tracks that were there before: the camera is found again."""
COLUMNS = (
    "video", "method", "frames", *(f"{gap}: alive, < 3 px" for gap in GAPS), "30: rotation °", "30: direction °",
    "length", "tracks", "keyframes", "gap", "cut", "CPU ms", "fps, 1 core", "fps, 2 cores", "fps, clock",
)  # fmt: skip
Progress: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class TrackingScore:
    """What was measured."""

    frames: int
    alive: Mapping[str, float]
    """Frames between → the share of a frame's tracks that the later frame has, on average."""
    near: Mapping[str, float]
    """Frames between → of these, the share within 3 px of the true epipolar line (mean of both images)."""
    rotation_deg: float
    """Median error of the rotation between frames 30 apart, by PoseLib from their common tracks; inf: most had none."""
    translation_deg: float
    """Median error of the direction of motion."""
    length: float
    """Frames of a track, on average."""
    tracks: float
    """Tracks of a frame, on average."""
    keyframes: int
    after_gap: float
    """Frames after 60 black ones until 12 of the tracks before are there again; inf: not within 20."""
    after_cut: float
    """Frames after a cut to an earlier view until 12 of its tracks are there again; inf: not within 20."""
    cpu_ms: float
    """CPU milliseconds of a frame, all threads, reading included."""
    fps_one: float
    """Frames a second by CPU time if all threads share one core."""
    fps_two: float
    """Frames a second by CPU time of the busier thread: each has a core."""
    fps_clock: float
    """Frames a second by the clock, on a machine that may have done other things."""


@dataclass(frozen=True, kw_only=True)
class TrackingResult:
    """What one method made of one video."""

    video: str
    method: str
    score: TrackingScore


@dataclass(frozen=True, kw_only=True)
class TrackingResults:
    """The results of a folder, as ``tracking.json`` has them."""

    results: tuple[TrackingResult, ...] = field(default_factory=tuple)


def measure_tracking(
    data: Sequence[Path],
    methods: Sequence[str],
    out: Path,
    *,
    max_frames: int | None = None,
    device: str | None = None,
    progress: Progress = lambda what, done, total: None,  # noqa: ARG005
) -> list[TrackingResult]:
    """Track videos by all methods, and measure the tracks against the known path of the camera.

    Args:
        data: Folders with a video or images/, trajectory_tum.txt and intrinsics.txt or cameras.json, or folders of
            such folders.
        methods: tracker (as ``photoglue track``), tracker:EVERY, klt, orb, aliked+lightglue (both on every frame).
        out: A folder: ``tracking.json`` and ``tracking.md`` have all results, those that it had before among them.
        max_frames: At most so many frames of each video, from the beginning; None: all.
        device: Where networks compute, such as "cpu"; None: on a GPU if there is one.
        progress: Called with how far the work is.

    Returns:
        For each video and method the result, in order.

    Raises:
        ConfigError: If a method does not exist, or a folder holds no video with a known path.
        ImageError: If a video cannot be read.
        OutputError: If a file cannot be written.
        MissingExtra: If OpenCV or PoseLib is not installed.
    """
    require("cv2", extra="video").setNumThreads(1)
    for name in methods:
        method_named(name, 30.0, device).close()
    walks = [read_walk(folder, max_frames) for each in data for folder in _walks_in(each)]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(out)!r} cannot be made: {error.strerror}.") from error
    path = out / "tracking.json"
    before = from_json(TrackingResults, path.read_bytes(), origin=str(path)).results if path.is_file() else ()
    found = {(result.video, result.method): result for result in before}
    results = []
    for walk in walks:
        for name in methods:
            score = _score(walk, name, device, partial(progress, f"{walk.name}: {name}"))
            results.append(TrackingResult(video=walk.name, method=name, score=score))
            found[walk.name, name] = results[-1]
            write_whole(path, to_json(TrackingResults(results=tuple(found.values())), indent=1).encode())
            write_whole(out / "tracking.md", table_of(list(found.values())).encode())
    return results


def _walks_in(folder: Path) -> list[Path]:
    """The folder itself, or those in it that have a trajectory."""
    if (folder / TRAJECTORY).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{TRAJECTORY}"))
    if not found:
        raise ConfigError(f"{str(folder)!r} holds no video with a known path: there is no {TRAJECTORY}.")
    return found


def _score(walk: Walk, name: str, device: str | None, told: Callable[[int, int], None]) -> TrackingScore:
    method = method_named(name, walk.fps, device)
    frames: list[Frame] = []
    seen: dict[int, Seen] = {}
    start, clock, thread = time.process_time(), time.perf_counter(), time.thread_time()
    for frame in walk.frames():
        seen[frame.number] = method.step(frame)
        frames.append(frame)
        told(len(frames), len(walk.cams_from_world))
    thread, clock = time.thread_time() - thread, time.perf_counter() - clock
    cpu = time.process_time() - start
    other, keyframes = method.other_seconds(), method.keyframes()
    method.close()
    lengths = np.unique(np.concatenate([ids for ids, _ in seen.values()]), return_counts=True)[1]
    pairs = {gap: _pairs(walk, seen, gap) for gap in GAPS}
    errors = [_pose_errors(walk, *pair) for pair in pairs[30]]
    return TrackingScore(
        frames=len(frames),
        alive={str(gap): _mean([len(pair[2]) / max(1, pair[4]) for pair in pairs[gap]]) for gap in GAPS},
        near={str(gap): _mean([_near(walk, *pair[:4]) for pair in pairs[gap]]) for gap in GAPS},
        rotation_deg=float(np.median([error[0] for error in errors])) if errors else math.nan,
        translation_deg=float(np.median([error[1] for error in errors])) if errors else math.nan,
        length=float(lengths.mean()) if len(lengths) else 0.0,
        tracks=_mean([float(len(ids)) for ids, _ in seen.values()]),
        keyframes=keyframes,
        after_gap=_resumed(method_named(name, walk.fps, device), *with_gap(frames)),
        after_cut=_resumed(method_named(name, walk.fps, device), *with_cut(frames)),
        cpu_ms=1000 * cpu / len(frames),
        fps_one=len(frames) / cpu,
        fps_two=len(frames) / max(thread, other) if other else len(frames) / cpu,
        fps_clock=len(frames) / clock,
    )


Pair: TypeAlias = tuple[int, int, np.ndarray, np.ndarray, int]
"""Two frames, the points of their common tracks in both, and how many tracks the first has."""


def _pairs(walk: Walk, seen: Mapping[int, Seen], gap: int) -> list[Pair]:
    pairs = []
    for first in range(0, max(seen) + 1, STEP):
        if not {first, first + gap} <= seen.keys() & walk.cams_from_world.keys():
            continue
        (ids0, points0), (ids1, points1) = seen[first], seen[first + gap]
        _, rows0, rows1 = np.intersect1d(ids0, ids1, return_indices=True)
        pairs.append((first, first + gap, points0[rows0], points1[rows1], len(ids0)))
    return pairs


def _near(walk: Walk, frame0: int, frame1: int, points0: np.ndarray, points1: np.ndarray) -> float:
    if not len(points0):
        return math.nan
    fundamental = fundamental_matrix(walk.relative(frame0, frame1), walk.camera, walk.camera)
    distances = symmetric_epipolar_distance(torch.from_numpy(points0), torch.from_numpy(points1), fundamental)
    return float((distances < NEAR_PX).float().mean())


def _pose_errors(
    walk: Walk, frame0: int, frame1: int, points0: np.ndarray, points1: np.ndarray, _: int
) -> tuple[float, float]:
    """Errors of rotation and direction, degrees; infinite without a pose."""
    if len(points0) < 8:
        return math.inf, math.inf
    found = poselib.verify(
        torch.from_numpy(points0), torch.from_numpy(points1), "essential", camera0=walk.camera, camera1=walk.camera
    )
    if found.rotation is None or found.translation is None:
        return math.inf, math.inf
    true = walk.relative(frame0, frame1)
    return (
        rotation_error_deg(found.rotation, true[:3, :3]),
        translation_error_deg(found.translation, true[:3, 3]),
    )


def _resumed(method: TrackingMethod, frames: Iterable[Frame], before: int, after: int) -> float:
    """Frames from ``after`` on until tracks of the frame ``before`` are there again, that one included."""
    known = np.zeros(0, dtype=np.int64)
    try:
        for frame in frames:
            ids, _ = method.step(frame)
            if frame.number == before:
                known = ids
            if frame.number >= after and len(np.intersect1d(known, ids)) >= RESUMED:
                return float(frame.number - after + 1)
    finally:
        method.close()
    return math.inf


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def row_of(result: TrackingResult) -> tuple[str, ...]:
    """A result as a row of the table, under ``COLUMNS``."""
    score = result.score
    shares = [f"{_percent(score.alive[str(gap)])}, {_percent(score.near[str(gap)])}" for gap in GAPS]
    resumed = ["–" if math.isinf(value) else f"{value:.0f}" for value in (score.after_gap, score.after_cut)]
    rates = [f"{value:.1f}" for value in (score.fps_one, score.fps_two, score.fps_clock)]
    return (
        result.video, result.method, str(score.frames), *shares, f"{score.rotation_deg:.2f}",
        f"{score.translation_deg:.1f}", f"{score.length:.1f}", f"{score.tracks:.0f}", str(score.keyframes), *resumed,
        f"{score.cpu_ms:.1f}", *rates,
    )  # fmt: skip


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def table_of(results: Sequence[TrackingResult]) -> str:
    """The results as a table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---" + "|---:" * (len(COLUMNS) - 2) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row_of(result)) + " |" for result in results]) + "\n"
