"""Videos whose camera path is known."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from photoglue.datasets.images import lines_of
from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.pose import rotation_from_quaternion
from photoglue.video.frames import Frame, open_frames
from photoglue.video.options import camera_of_text

TRAJECTORY = "trajectory_tum.txt"
CAMERAS = ("intrinsics.txt", "cameras.json")
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm")
BLACK = 60
"""Frames of the gap, black, after which tracks have to go on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk:
    """A video, and where its camera was."""

    name: str
    source: Path
    camera: PinholeCamera
    fps: float
    cams_from_world: dict[int, Float64[np.ndarray, "4 4"]]
    """By number of the frame, for those with a known pose."""
    max_frames: int | None

    def frames(self) -> Iterator[Frame]:
        """The frames, read anew."""
        with open_frames(self.source, fps=self.fps) as opened:
            yield from itertools.islice(opened, self.max_frames)

    def relative(self, frame0: int, frame1: int) -> Float64[torch.Tensor, "4 4"]:
        """``cam1_from_cam0`` of two frames with known poses."""
        pose = self.cams_from_world[frame1] @ np.linalg.inv(self.cams_from_world[frame0])
        return torch.from_numpy(pose)


def read_walk(folder: Path, max_frames: int | None = None) -> Walk:
    """A video or images/, trajectory_tum.txt (timestamp tx ty tz qx qy qz qw, camera to world), and the camera.

    The camera is in intrinsics.txt (fx fy cx cy) or cameras.json.

    Raises:
        ConfigError: If something is missing or makes no sense.
        ImageError: If the video cannot be read.
    """
    if max_frames is not None and max_frames < 2:
        raise ConfigError(f"max_frames is {max_frames}; at least 2 were wanted.")
    videos = sorted(path for path in folder.glob("*") if path.suffix.lower() in VIDEOS)
    source = videos[0] if videos else folder / "images"
    cameras = [folder / name for name in CAMERAS if (folder / name).is_file()]
    path = folder / TRAJECTORY
    if not source.exists() or not cameras or not path.is_file():
        raise ConfigError(
            f"{str(folder)!r} is no video with a known path: it needs a video or images/, {TRAJECTORY}, and "
            f"{' or '.join(CAMERAS)}."
        )
    rows = [words for _, words in lines_of(path)]
    try:
        numbers = np.array([[float(word) for word in words] for words in rows], dtype=np.float64).reshape(-1, 8)
    except ValueError as error:
        raise ConfigError(f"{str(path)!r} is no TUM trajectory: {error}.") from error
    if len(numbers) < 2:
        raise ConfigError(f"{str(path)!r} has {len(numbers)} poses; a path has at least 2.")
    fps = float(1 / np.median(np.diff(numbers[:, 0])))
    with open_frames(source, fps=None if videos else fps) as opened:
        times = [(frame.number, frame.timestamp, frame.image.shape) for frame in opened]
        rate = opened.fps
    size = times[0][2][1], times[0][2][0]
    return Walk(
        name=folder.resolve().name,
        source=source,
        camera=camera_of_text(str(cameras[0]), size),
        fps=rate,
        cams_from_world=_nearest([(number, time) for number, time, _ in times], numbers, rate),
        max_frames=max_frames,
    )


def _nearest(
    times: Sequence[tuple[int, float]], rows: Float64[np.ndarray, "n 8"], fps: float
) -> dict[int, Float64[np.ndarray, "4 4"]]:
    """The pose of each frame that has one within half a frame's time."""
    found = {}
    for number, time in times:
        row = rows[np.abs(rows[:, 0] - rows[0, 0] - time).argmin()]
        if abs(row[0] - rows[0, 0] - time) <= 0.5 / fps:
            pose = np.eye(4)
            pose[:3, :3] = rotation_from_quaternion(torch.from_numpy(np.roll(row[4:], 1))).numpy()
            pose[:3, 3] = row[1:4]
            found[number] = np.linalg.inv(pose)
    return found


def with_gap(images: Sequence[Frame]) -> tuple[list[Frame], int, int]:
    """A video whose first 60 frames are followed by as many black ones, and then goes on.

    Returns:
        The frames, numbered anew; the number of the last one before the gap; and that of the first one after it.
    """
    last = min(60, len(images) * 2 // 3)
    black = Frame(number=0, timestamp=0.0, image=np.zeros_like(images[0].image), name="")
    return _renumbered([*images[:last], *[black] * BLACK, *images[last : last + 20]]), last - 1, last + BLACK


def with_cut(images: Sequence[Frame]) -> tuple[list[Frame], int, int]:
    """A video that is cut, at its end or after 200 frames, and goes on with its frames from the tenth on.

    Returns:
        The frames, numbered anew; the number of the frame that is seen again; and that of the first one after the cut.
    """
    last, again = min(200, len(images) - 1), min(10, len(images) // 4)
    return _renumbered([*images[:last], *images[again : again + 20]]), again, last


def _renumbered(frames: Sequence[Frame]) -> list[Frame]:
    return [
        Frame(number=number, timestamp=number / 30, image=frame.image, name=f"{number:06d}")
        for number, frame in enumerate(frames)
    ]
