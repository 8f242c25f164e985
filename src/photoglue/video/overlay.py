"""A video with the tracks drawn on it: trails, numbers, frames a second."""

import colorsys
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import numpy as np
from jaxtyping import UInt8

from photoglue.errors import ConfigError, OutputError, require
from photoglue.files import check_output
from photoglue.video.frames import quiet
from photoglue.video.results import FrameResult

CODECS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {".mp4": ("mp4v", "avc1"), ".avi": ("MJPG", "XVID"), ".mkv": ("mp4v", "MJPG"), ".webm": ("VP80", "VP90")}
)
"""Codecs to try for each ending, in this order."""
TRAIL = 15
"""Frames that a trail goes back."""
LABEL_CELL = 64
"""The longest track of each square of so many pixels, in a frame 640 pixels long, shows its number."""


def codecs_here(suffixes: Iterable[str] = CODECS) -> dict[str, str]:
    """The endings of video files that OpenCV can write on this machine, each with the codec that is used.

    Args:
        suffixes: Those to try, of ``CODECS``.

    Raises:
        MissingExtra: If OpenCV is not installed.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in suffixes:
            for codec in CODECS[suffix]:
                writer = _writer(Path(folder) / f"try{suffix}", codec, 30.0, (64, 48))
                if writer is not None:
                    writer.write(np.zeros((48, 64, 3), dtype=np.uint8))
                    writer.release()
                    found[suffix] = codec
                    break
    return found


def _writer(path: Path, codec: str, fps: float, size: tuple[int, int]) -> Any:
    """OpenCV's writer; None if it has no such codec."""
    cv2 = require("cv2", extra="video")
    with quiet(cv2):
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, size)
    return writer if writer.isOpened() else None


@final
class OverlayWriter:
    """Writes frames with their tracks into a video file, which appears when this is closed.

    Args:
        path: Of the video; its ending chooses the container, the first codec that is there is used.
        fps: Frames a second of the video.

    Raises:
        ConfigError: If the ending is none of a video, or there is no codec for it; the message says which there are.
        OutputError: If the folder does not exist.
        MissingExtra: If OpenCV is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        self.cv2 = require("cv2", extra="video")
        self.path, self.fps = Path(path), fps
        check_output(self.path, tuple(CODECS))
        here = codecs_here([self.path.suffix.lower()])
        if not here:
            here = codecs_here()
            listed = ", ".join(f"{suffix} ({codec})" for suffix, codec in here.items()) or "none at all"
            raise ConfigError(
                f"OpenCV has no codec for {self.path.suffix} here. It can write: {listed}. Give another ending."
            )
        self._codec = here[self.path.suffix.lower()]
        self._partial = self.path.with_name(f"{self.path.stem}.partial{self.path.suffix}")
        self._writer: Any = None
        self._size = (0, 0)
        self._trails: dict[int, deque[tuple[float, float]]] = {}

    def add(self, image: UInt8[np.ndarray, "h w 3"], result: FrameResult, line: str) -> None:
        """Draw the tracks of a frame on it, and a line of text.

        Args:
            image: RGB; frames of another size than the first are made as large.
            result: Its tracks.
            line: Such as the frames a second.

        Raises:
            OutputError: If the file cannot be written.
        """
        picture = self.drawn(image, result, line)
        if self._writer is None:
            height, width = picture.shape[:2]
            self._size = (width - width % 2, height - height % 2)  # codecs want even sides
            self._writer = _writer(self._partial, self._codec, self.fps, self._size)
            if self._writer is None:
                raise OutputError(f"{str(self.path)!r} cannot be written as {self._codec}, {width} × {height} pixels.")
        if picture.shape[1::-1] != self._size:
            rest = picture.shape[1] - self._size[0], picture.shape[0] - self._size[1]
            odd = all(each in (0, 1) for each in rest)  # the first frame's own size
            cut = picture[: self._size[1], : self._size[0]] if odd else self.cv2.resize(picture, self._size)
            picture = np.ascontiguousarray(cut)
        self._writer.write(picture)

    def drawn(self, image: UInt8[np.ndarray, "h w 3"], result: FrameResult, line: str) -> UInt8[np.ndarray, "h w 3"]:
        """The frame with its tracks, BGR."""
        cv2, scale = self.cv2, max(image.shape) / 640
        picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        thick = max(1, round(scale))
        self._trails = {
            track: self._trails.get(track) or deque(maxlen=TRAIL) for track in result.ids.tolist()
        }  # those that ended are forgotten
        for track, point in zip(result.ids.tolist(), result.points.tolist(), strict=True):
            trail = self._trails[track]
            trail.append((point[0], point[1]))
            colour = _colour(track)
            corners = np.array([trail]) * 16  # in sixteenths of a pixel
            cv2.polylines(picture, [corners.round().astype(np.int32)], False, colour, thick, cv2.LINE_AA, shift=4)
            cv2.circle(
                picture, (round(point[0] * 16), round(point[1] * 16)), round(32 * scale), colour, -1, cv2.LINE_AA, 4
            )
        labelled: dict[tuple[int, int], tuple[int, int]] = {}
        for row, age in enumerate(result.ages.tolist()):
            cell = (
                int(result.points[row, 0] // (LABEL_CELL * scale)),
                int(result.points[row, 1] // (LABEL_CELL * scale)),
            )
            labelled[cell] = max(labelled.get(cell, (-1, -1)), (age, row))
        for age, row in labelled.values():
            if age >= TRAIL:
                x, y = result.points[row].tolist()
                self._text(picture, str(int(result.ids[row])), (x + 4 * scale, y - 4 * scale), 0.33 * scale)
        if result.keyframe:
            cv2.rectangle(picture, (0, 0), (picture.shape[1] - 1, picture.shape[0] - 1), (0, 190, 255), 2 * thick)
        self._text(picture, line, (6 * scale, picture.shape[0] - 8 * scale), 0.45 * scale)
        return picture  # type: ignore[no-any-return]

    def _text(self, picture: np.ndarray, text: str, place: tuple[float, float], size: float) -> None:
        """White with a black shadow on all sides, legible on anything; OpenCV sets thicker text wider."""
        x, y, thick = round(place[0]), round(place[1]), max(1, round(size * 2))
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)):
            colour = (255, 255, 255) if dx == dy == 0 else (0, 0, 0)
            where = (x + dx * thick, y + dy * thick)
            self.cv2.putText(picture, text, where, self.cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, self.cv2.LINE_AA)

    def close(self) -> None:
        """Puts the file in place, if there was a frame.

        Raises:
            OutputError: If it cannot be written.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            self._partial.replace(self.path)
        except OSError as error:
            raise OutputError(f"{str(self.path)!r} cannot be written: {error.strerror}.") from error


def _colour(track: int) -> tuple[int, int, int]:
    """A bright colour of a track, BGR; numbers that follow each other have very different ones."""
    red, green, blue = colorsys.hsv_to_rgb(track * 0.61803398875 % 1, 0.85, 1)
    return round(255 * blue), round(255 * green), round(255 * red)
