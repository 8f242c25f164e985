"""How fast `photoglue track` is by the clock, whether frames are late in real time, and whether memory grows.

    python benchmarks/tracking.py VIDEO
    python benchmarks/tracking.py VIDEO --memory 10000 --side 320

The first plays the video in real time, then runs it as fast as it can, three times in turn: for a machine that does
nothing else. The second loops the video for so many frames, writes all tracks, and prints the memory on the way.
"""

import argparse
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from photoglue.errors import require
from photoglue.video import (
    TrackerConfig,
    TrackOptions,
    TrackOutputs,
    TrackSummary,
    TrackWriter,
    open_frames,
    track_video,
)
from photoglue.video.options import pipeline_of
from photoglue.video.tracker import Tracker


def timed(video: str, rounds: int, fps: float | None) -> list[tuple[str, TrackSummary]]:
    """Each way of running in turn."""
    ways = {
        "real time": TrackOptions(realtime=True, fps=fps),
        "as fast as it can": TrackOptions(fps=fps),
        "and a keyframe every 10": TrackOptions(config=TrackerConfig(keyframe_every=10), fps=fps),
    }
    return [(name, track_video(video, TrackOutputs(), ways[name])) for _ in range(rounds) for name in ways]


def looped(video: str, count: int, side: int) -> Iterator[np.ndarray]:
    """So many frames: the video forward and backward, again and again, with the longer side made so long."""
    cv2 = require("cv2", extra="video")
    with open_frames(video) as frames:
        images = [frame.image for frame in frames]
    scale = side / max(images[0].shape)
    size = round(images[0].shape[1] * scale), round(images[0].shape[0] * scale)
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    del images
    walk = [*small, *small[::-1]]
    for number in range(count):
        yield walk[number % len(walk)]


def memory(video: str, count: int, side: int) -> list[tuple[int, float, int, int]]:
    """(frames, MB in use, keyframes, tracks so far), ten times on the way."""
    made = pipeline_of(TrackOptions())
    rows = []
    with tempfile.TemporaryDirectory() as folder, Tracker(made.extractor, made.matcher) as tracker:
        writer = TrackWriter(Path(folder) / "tracks.h5")
        for number, image in enumerate(looped(video, count, side), start=1):
            result = tracker.push(image)
            assert len(np.unique(result.ids)) == len(result)
            writer.add(result, (image.shape[1], image.shape[0]))
            if result.finished is not None:
                writer.add_keyframe(result.finished)
            if number % max(1, count // 10) == 0:
                rows.append((number, resident_mb(), tracker.counts.keyframes, tracker.counts.tracks))
        writer.close()
    return rows


def resident_mb() -> float:
    """Memory of this process that is in use; its peak where the system does not tell."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fps", type=float)
    parser.add_argument("--memory", type=int, help="loop for so many frames instead")
    parser.add_argument("--side", type=int, default=320)
    given = parser.parse_args()
    if given.memory is not None:
        for number, megabytes, keyframes, tracks in memory(given.video, given.memory, given.side):
            print(f"{number:6} frames  {megabytes:7.1f} MB  {keyframes} keyframes  {tracks} tracks", flush=True)
        return
    for name, summary in timed(given.video, given.rounds, given.fps):
        cpu = ", ".join(f"{key} {1000 * seconds / summary.frames:.1f}" for key, seconds in summary.cpu_seconds.items())
        late = f"{summary.late} late" if name == "real time" else f"{summary.fps:.1f} fps"
        print(f"{name:24} {late:10} {summary.keyframes} keyframes, {summary.skipped} skipped; ms a frame: {cpu}")


if __name__ == "__main__":
    main()
