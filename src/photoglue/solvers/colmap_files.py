"""COLMAP's binary model files, read and checked without COLMAP, which waits for ever on one that is cut off.

The layout of ``cameras.bin``, ``images.bin`` and ``points3D.bin`` is the same in all versions (COLMAP's documentation,
output format). Names of image files are UTF-8, numbers little-endian.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from photoglue.errors import ConfigError

CAMERA_MODELS: dict[int, tuple[str, int]] = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    12: ("SIMPLE_DIVISION", 4),
    13: ("DIVISION", 5),
    14: ("SIMPLE_FISHEYE", 3),
    15: ("FISHEYE", 4),
    16: ("EUCM", 6),
    17: ("EQUIRECTANGULAR", 2),
}
"""Number of a camera model → its name, and how many parameters it has."""

_OBSERVATION = np.dtype([("xy", "<f8", 2), ("point_id", "<i8")])
_POINT = np.dtype([("id", "<i8"), ("xyz", "<f8", 3), ("colour", "u1", 3), ("error", "<f8"), ("track", "<i8")])


@dataclass(frozen=True, kw_only=True)
class CameraRecord:
    """A camera as it is stored."""

    camera_id: int
    model: str
    """COLMAP's name, such as SIMPLE_RADIAL."""
    image_size: tuple[int, int]
    """(width, height), stored pixels."""
    parameters: tuple[float, ...]
    """COLMAP's, its half pixel included."""


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """A registered image as it is stored."""

    image_id: int
    camera_id: int
    name: str
    quaternion: tuple[float, float, float, float]
    """(w, x, y, z) of the rotation from the world to the camera."""
    translation: tuple[float, float, float]
    xy: Float64[np.ndarray, "n 2"]
    """All keypoints, COLMAP's pixels."""
    point_ids: Int64[np.ndarray, " n"]
    """The point that each belongs to; -1: none."""
    span: tuple[int, int]
    """Where the record begins and ends in the file."""


@dataclass(frozen=True, kw_only=True)
class PointRecords:
    """All points as they are stored."""

    ids: Int64[np.ndarray, " m"]
    xyz: Float64[np.ndarray, "m 3"]
    colours: UInt8[np.ndarray, "m 3"]
    errors: Float64[np.ndarray, " m"]
    track_lengths: Int64[np.ndarray, " m"]


class _Bytes:
    """A file and how far it has been read."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.at = path, path.read_bytes(), 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        """The next numbers."""
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def count(self, smallest: int) -> int:
        """The next number, of so many records that can be in the rest of the file."""
        (count,) = self.numbers("Q")
        if count * smallest > len(self.data) - self.at:
            raise ValueError(f"{count} records, more than can be in it")
        return int(count)

    def text(self) -> str:
        """The text up to the next zero."""
        end = self.data.index(b"\0", self.at)
        text, self.at = self.data[self.at : end].decode(), end + 1
        return text

    def array(self, kind: np.dtype, count: int) -> np.ndarray:
        """The next so many records."""
        records = np.frombuffer(self.data, kind, count, self.at)
        self.at += records.nbytes
        return records

    def skip(self, count: int) -> None:
        """Go on, but not beyond the end."""
        self.at += count
        if self.at > len(self.data):
            raise ValueError("the end is missing")


def read_cameras(path: Path) -> list[CameraRecord]:
    """The cameras of ``cameras.bin``.

    Raises:
        ConfigError: If it is cut off, damaged, or of an unknown camera model.
    """
    return _read(path, _cameras)


def read_images(path: Path) -> list[ImageRecord]:
    """The images of ``images.bin``, in its order.

    Raises:
        ConfigError: If it is cut off or damaged.
    """
    return _read(path, _images)


def read_points(path: Path) -> PointRecords:
    """The points of ``points3D.bin``, in its order.

    Raises:
        ConfigError: If it is cut off or damaged.
    """
    points: PointRecords = _read(path, _points)[0]
    return points


def images_without(path: Path, names: set[str]) -> bytes:
    """The content of ``images.bin`` with the records of these images left out.

    Raises:
        ConfigError: If it is cut off or damaged.
    """
    kept = [image for image in read_images(path) if image.name not in names]
    data = path.read_bytes()
    return struct.pack("<Q", len(kept)) + b"".join(data[slice(*image.span)] for image in kept)


def _read(path: Path, parse: Callable[[_Bytes], Iterator[Any]]) -> list[Any]:
    file = _Bytes(path)
    try:
        records = list(parse(file))
        if file.at != len(file.data):
            raise ValueError(f"{len(file.data) - file.at} bytes are left over")
    except (struct.error, ValueError, IndexError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{str(path)!r} is cut off or damaged ({reason}); copy the model again, or let it be written again."
        ) from error
    return records


def _cameras(file: _Bytes) -> Iterator[CameraRecord]:
    for _ in range(file.count(24)):
        camera_id, number, width, height = file.numbers("IiQQ")
        if number not in CAMERA_MODELS:
            raise ValueError(f"camera model {number}, which is unknown")
        model, parameters = CAMERA_MODELS[number]
        values = file.numbers(f"{parameters}d")
        yield CameraRecord(camera_id=camera_id, model=model, image_size=(width, height), parameters=values)


def _images(file: _Bytes) -> Iterator[ImageRecord]:
    for _ in range(file.count(73)):
        start = file.at
        image_id, *pose, camera_id = file.numbers("I7dI")
        name = file.text()
        keypoints = file.array(_OBSERVATION, file.count(_OBSERVATION.itemsize))
        yield ImageRecord(
            image_id=image_id,
            camera_id=camera_id,
            name=name,
            quaternion=(pose[0], pose[1], pose[2], pose[3]),
            translation=(pose[4], pose[5], pose[6]),
            xy=keypoints["xy"].astype(np.float64),
            point_ids=keypoints["point_id"].astype(np.int64),
            span=(start, file.at),
        )


def _points(file: _Bytes) -> Iterator[PointRecords]:
    starts = []
    for _ in range(file.count(_POINT.itemsize)):
        starts.append(file.at)
        file.skip(_POINT.itemsize)
        (track,) = struct.unpack_from("<Q", file.data, file.at - 8)
        file.skip(8 * track)
    places = np.array(starts, dtype=np.int64)[:, None] + np.arange(_POINT.itemsize)
    raw = np.frombuffer(file.data, np.uint8)[places].reshape(-1)
    records = raw.view(_POINT) if len(raw) else np.empty(0, _POINT)
    yield PointRecords(
        ids=records["id"].astype(np.int64),
        xyz=records["xyz"].astype(np.float64),
        colours=records["colour"].copy(),
        errors=records["error"].astype(np.float64),
        track_lengths=records["track"].astype(np.int64),
    )
