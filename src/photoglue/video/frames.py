"""Frames of a video, a folder of pictures or a camera, each with its number and its time."""

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, final

import numpy as np
import torch
from jaxtyping import UInt8

from photoglue.datasets.photos import PHOTO_SUFFIXES
from photoglue.errors import ConfigError, ImageError, require
from photoglue.image import ImageSource, load_image

VideoSource: TypeAlias = str | os.PathLike[str] | int
"""A video file, a folder of pictures, or the number of a camera (0 is the first)."""
Image: TypeAlias = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One picture of a video."""

    number: int
    """Counts from 0; of a folder: the number in the file's name, if all names have one."""
    timestamp: float
    """Seconds since the beginning of the video, or since the camera was opened."""
    image: Image
    """RGB, upright."""
    name: str
    """The file's name in a folder, else the number with six digits."""


class Frames(ABC):
    """Something that gives frames once, in their order; a context manager."""

    fps: float
    """Frames a second, as the source says; a camera's may be wrong."""
    count: int | None
    """How many frames there should be; None: unknown, as for a camera."""
    live: bool
    """Whether frames come as they are taken."""
    notes: list[str]
    """What is wrong with the source, in sentences; complete after the last frame."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """The frames, once."""

    def close(self) -> None:  # noqa: B027  (a folder has nothing to close)
        """Gives the file or camera back."""

    def __enter__(self) -> "Frames":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_frames(source: VideoSource, *, fps: float | None = None) -> Frames:
    """The frames of a video file, a folder of pictures, or a camera.

    Args:
        source: A file in any container that OpenCV's FFmpeg opens; a folder, whose pictures are taken in the order of
            the numbers in their names; or a camera: its number, also as text, such as "0".
        fps: Frames a second; None: what the file says, and 30 for a folder. Times within a file are its own, so that
            a variable frame rate is kept, unless this is given.

    Raises:
        ConfigError: If ``fps`` is not positive.
        ImageError: If there is no such file, folder or camera, or it has no frame that can be read.
        MissingExtra: If OpenCV is not installed.
    """
    if fps is not None and not 0 < fps < 1e6:
        raise ConfigError(f"fps is {fps}; frames a second are a positive number.")
    if isinstance(source, int) or (str(source).isdecimal() and not Path(source).exists()):
        return _Capture(int(str(source)), fps)
    path = Path(source)
    if path.is_dir():
        return _Folder(path, fps or 30.0)
    if not path.is_file():
        raise ImageError(f"There is no video or folder {str(path)!r}. A camera is given by its number, such as 0.")
    return _Capture(path, fps)


@final
class _Folder(Frames):
    """Pictures by the last number in their names."""

    live = False

    def __init__(self, path: Path, fps: float) -> None:
        self.fps, self.notes = fps, list[str]()
        pictures = [each for each in path.iterdir() if each.suffix.lower() in PHOTO_SUFFIXES]
        pictures = [each for each in pictures if not each.name.startswith(".")]
        if not pictures:
            raise ImageError(f"The folder {str(path)!r} has no pictures ({', '.join(PHOTO_SUFFIXES)}).")
        found = {each: re.findall(r"\d+", each.stem) for each in pictures}
        numbers = {each: int(digits[-1]) if digits else -1 for each, digits in found.items()}
        if min(numbers.values()) < 0 or len(set(numbers.values())) < len(numbers):
            self.files = list(enumerate(sorted(pictures)))
        else:
            self.files = sorted((number, each) for each, number in numbers.items())
            missing = self.files[-1][0] - self.files[0][0] + 1 - len(self.files)
            if missing:
                gap = next(a for (a, _), (b, _) in zip(self.files, self.files[1:], strict=False) if b > a + 1)
                self.notes.append(f"{missing} numbers are missing in the folder, the first after {gap}: gaps in time")
        self.count: int | None = len(self.files)

    def __iter__(self) -> Iterator[Frame]:
        first = self.files[0][0]
        for number, path in self.files:
            try:
                image = load_image(path)
            except ImageError as error:
                self.notes.append(f"left out: {error}")
                continue
            yield Frame(number=number, timestamp=(number - first) / self.fps, image=as_rgb(image), name=path.name)


@final
class _Capture(Frames):
    """A file or camera that OpenCV reads; it turns the frames as the container's rotation flag says."""

    def __init__(self, source: Path | int, fps: float | None) -> None:
        self.cv2 = require("cv2", extra="video")
        self.notes: list[str] = []
        self.live = isinstance(source, int)
        self.shown = f"The camera {source}" if self.live else repr(str(source))
        self.given_fps = fps
        with quiet(self.cv2):
            self.capture = self.cv2.VideoCapture(source if self.live else str(source))
            opened = self.capture.isOpened()
            self.capture.set(self.cv2.CAP_PROP_ORIENTATION_AUTO, 1)
            self.first = self.capture.read()[1] if opened else None
        if self.first is None:
            self.capture.release()
            hint = "Is it connected, and free?" if self.live else "Is it a video, whole, and in a known codec?"
            raise ImageError(f"{self.shown} {'gives no frame' if opened else 'cannot be opened as a video'}. {hint}")
        told = float(self.capture.get(self.cv2.CAP_PROP_FPS))
        self.fps = fps or (told if 0 < told < 1000 else 30.0)
        count = int(self.capture.get(self.cv2.CAP_PROP_FRAME_COUNT))
        self.count = count if count > 0 and not self.live else None

    def __iter__(self) -> Iterator[Frame]:
        start, number, before, image = time.perf_counter(), 0, -1.0, self.first
        self.first = None
        while image is not None:
            told = float(self.capture.get(self.cv2.CAP_PROP_POS_MSEC)) / 1000
            stamp = time.perf_counter() - start if self.live else told
            if self.given_fps is not None and not self.live:
                stamp = number / self.fps
            elif not stamp > before:  # a container without times
                stamp = before + 1 / self.fps if number else 0.0
            rgb = self.cv2.cvtColor(image, self.cv2.COLOR_BGR2RGB)
            yield Frame(number=number, timestamp=stamp, image=rgb, name=f"{number:06d}")
            before, number = stamp, number + 1
            with quiet(self.cv2):
                image = self.capture.read()[1]
        if self.live:
            self.notes.append(f"{self.shown} gave no more frames after {number}: it was switched off or taken away")
        elif self.count is not None and number < self.count:
            self.notes.append(f"{number} of {self.count} frames could be read: the file is cut off or damaged there")

    def close(self) -> None:
        """Gives the file or camera back."""
        self.capture.release()


def as_rgb(frame: ImageSource) -> UInt8[np.ndarray, "h w 3"]:
    """A frame as three channels of uint8."""
    if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3:
        return np.ascontiguousarray(frame)
    if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 2:
        return np.repeat(frame[:, :, None], 3, axis=2)
    image = load_image(frame).cpu()
    values: torch.Tensor = (image.expand(3, -1, -1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(values.permute(1, 2, 0).numpy())


@contextmanager
def quiet(cv2: Any) -> Iterator[None]:
    """OpenCV's own log, which it writes past Python, is off inside."""
    log = cv2.utils.logging
    before = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(before)
