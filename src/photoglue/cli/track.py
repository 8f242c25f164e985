"""`photoglue track VIDEO`: points followed through a video, in real time; keyframes, trajectory, overlay."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import tyro
from rich.console import Console
from rich.live import Live
from rich.text import Text

from photoglue.cli.match import FeaturesName, PresetName
from photoglue.geometry.camera import PinholeCamera
from photoglue.video import FrameResult, TrackerConfig, TrackerCounts, TrackOptions, TrackOutputs, track_video
from photoglue.video.track import Progress


@final
@dataclass(frozen=True, kw_only=True)
class Track:
    """Follow points through a video, a folder of pictures or a camera, and find them again at keyframes.

    Optical flow follows them from frame to frame; LightGlue matches keyframes on another thread. Ctrl-C ends it, with
    whole files of what there was until then.
    """

    video: tyro.conf.Positional[str]
    """A video file; a folder of pictures, in the order of the numbers in their names; or a camera: 0 is the first."""
    out: Path | None = None
    """Write all tracks to this HDF5 file: id, frame, x, y, score, source."""
    overlay: Path | None = None
    """Write a video with the tracks drawn on it: .mp4, .avi, .mkv or .webm."""
    keyframes: Path | None = None
    """A new folder for keyframes, with their features and matches, from which `photoglue map` goes on."""
    trajectory: Path | None = None
    """Write where the camera was in each frame, as a TUM trajectory, .txt; needs --intrinsics."""
    intrinsics: str | None = None
    """The camera: "f" or "fx,fy,cx,cy" in pixels of the upright frame, a text file with them, or a cameras.json."""
    masks: Path | None = None
    """A folder with masks of frames: NAME.png for a picture NAME.jpg, 000012.png for frame 12 of a video. Nothing is
    followed where a mask is black."""
    realtime: bool = False
    """Play at the video's speed, never wait for keyframes, and count late frames."""
    fps: float | None = None
    """Frames a second, instead of what the video says; of a folder 30."""
    max_frames: int | None = None
    """Stop after so many frames; None: at the end."""
    keyframe_every: int = 30
    """Frames after which there is a keyframe in any case, unless nothing moved."""
    keyframe_share: float = 0.6
    """A keyframe when fewer than this share of the last one's tracks are left; more is better, and slower."""
    max_tracks: int = 512
    """At most so many points are followed at a time."""
    features: FeaturesName = "aliked"
    """Local features of keyframes; or a class of your own, as path/file.py:Class."""
    max_keypoints: int = 512
    """At most so many points of a keyframe, the best."""
    resize: int = 640
    """Length of the longer side that the extractor sees, in pixels."""
    preset: PresetName = "realtime"
    """How early LightGlue may exit and drop points; see `photoglue match`."""
    device: str | None = None
    """Device to compute on, such as cpu or cuda:0; None: a GPU if there is one."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially."""

    def run(self, console: Console) -> int:
        """Track the video, with a line that tells how it goes, and print a summary."""
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong with a file is said by us, once
        with _line(console) as progress:
            summary = track_video(self.video, self.outputs, self.options, progress=progress)
        for line in summary.lines():
            console.print(line, soft_wrap=True)
        named = {"tracks": self.out, "overlay": self.overlay, "keyframes": self.keyframes, "poses": self.trajectory}
        for name, path in named.items():
            if path is not None:
                console.print(f"{name:9} → {path}", soft_wrap=True)
        if self.keyframes is not None:
            console.print(
                f"3D model: photoglue map {self.keyframes / 'images'} {self._map_options(summary.camera)}",
                soft_wrap=True,
            )
        return 0

    @property
    def outputs(self) -> TrackOutputs:
        """What is written."""
        return TrackOutputs(tracks=self.out, overlay=self.overlay, keyframes=self.keyframes, trajectory=self.trajectory)

    @property
    def options(self) -> TrackOptions:
        """All options as Python takes them."""
        given = {name: getattr(self, name) for name in vars(TrackOptions()) if hasattr(self, name)}
        config = replace(
            TrackerConfig(),
            keyframe_every=self.keyframe_every,
            keyframe_share=self.keyframe_share,
            max_tracks=self.max_tracks,
        )
        return TrackOptions(**{**given, "config": config})

    def _map_options(self, camera: PinholeCamera | None) -> str:
        """Options with which `photoglue map` takes features and matches as they are."""
        words = ["--out", str(self.keyframes), "--single-camera", "--preset", self.preset]
        words += ["--max-keypoints", str(self.max_keypoints), "--resize", str(self.resize)]
        words += ["--features", self.features] * (self.features != "aliked")
        words += ["--masks", f"{self.keyframes}/masks"] * (self.masks is not None)
        if camera is not None:
            words += ["--intrinsics", f"{camera.fx:g},{camera.fy:g},{camera.cx:g},{camera.cy:g}"]
        return " ".join(words)


@contextmanager
def _line(console: Console) -> Iterator[Progress | None]:
    """One line of the terminal that tells how it goes, ten times a second; nothing where there is no terminal."""
    if not console.is_terminal:
        yield None
        return
    with Live(console=console, refresh_per_second=10, transient=True) as live:
        last = 0.0

        def show(result: FrameResult, counts: TrackerCounts, fps: float) -> None:
            nonlocal last
            if time.monotonic() - last > 0.1:
                last = time.monotonic()
                words = f"frame {result.frame}  {fps:.1f} fps  {len(result)} tracks  {counts.keyframes} keyframes"
                live.update(Text(f"{words}  {result.state}"))

        yield show
