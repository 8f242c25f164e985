"""Where photos were taken, as known before: ``cameras.json``, a TUM trajectory, or a COLMAP model."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from photoglue.datasets.cameras import checked_pose, read_cameras
from photoglue.datasets.images import lines_of
from photoglue.errors import ConfigError
from photoglue.solvers.colmap import pycolmap

MODEL_FILES = ("images.bin", "images.txt")


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """Some photos and where they were taken; the unit is that of the source."""

    names: tuple[str, ...]
    """Names of the photos, as asked for."""
    centres: Float64[np.ndarray, "n 3"]
    """Centres of the cameras in the world."""
    axes: Float64[np.ndarray, "n 3"]
    """Where the cameras look, unit vectors in the world."""


def known_poses(source: str | os.PathLike[str], names: Sequence[str]) -> Placed:
    """Where photos were taken.

    Args:
        source: A ``cameras.json`` or its folder; a TUM trajectory (timestamp tx ty tz qx qy qz qw, camera to world)
            whose timestamps are names of photos, or with as many lines as there are photos; or the folder of a COLMAP
            model.
        names: Names of the photos; those without a pose are left out. The source may name them without folder or
            ending where that is unique.

    Raises:
        ConfigError: If the source is none of these, or knows none of the photos.
        MissingExtra: If it is a COLMAP model and pycolmap is not installed.
    """
    path = Path(source)
    if is_model(path):
        model = read_model(path)
        stored = {image.name: _matrix(image) for image in model.images.values()}
    elif (path / "cameras.json").is_file() or path.name.endswith(".json"):
        file = read_cameras(path if path.is_dir() else path.parent)
        stored = {
            str(name): checked_pose(frame.get("T_w2c"), f"{name!r} in {str(file.path)!r}")
            for name, frame in file.frames.items()
        }
    elif path.is_file():
        stored = _trajectory(path, names)
    else:
        raise ConfigError(
            f"{str(path)!r} has no poses: a cameras.json, a TUM trajectory, or a folder with a COLMAP model "
            f"({' or '.join(MODEL_FILES)}) was wanted."
        )
    found = named_alike(names, stored)
    if not found:
        raise ConfigError(
            f"{str(path)!r} has poses of {len(stored)} photos, such as {next(iter(stored), 'none')!r}, and none of the "
            f"{len(names)} given, such as {names[0] if names else 'none'!r}."
        )
    poses = np.stack(list(found.values()))
    return Placed(
        names=tuple(found),
        centres=-np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3]),
        axes=poses[:, 2, :3],
    )


def is_model(path: Path) -> bool:
    """Whether a folder holds a COLMAP model."""
    return any((path / name).is_file() for name in MODEL_FILES)


def read_model(path: Path) -> Any:
    """The ``pycolmap.Reconstruction`` in a folder.

    Raises:
        ConfigError: If it has none, or a damaged one.
        MissingExtra: If pycolmap is not installed.
    """
    if not is_model(path):
        raise ConfigError(f"{str(path)!r} is no folder with a COLMAP model ({' or '.join(MODEL_FILES)}).")
    try:
        return pycolmap().Reconstruction(str(path))
    except (ValueError, RuntimeError, IndexError) as error:
        raise ConfigError(f"The COLMAP model in {str(path)!r} cannot be read: {error}.") from error


def shared_points(model: Any) -> tuple[list[str], Iterator[Int64[np.ndarray, " n"]]]:
    """The photos of a COLMAP model, and for each how many 3D points it shares with each of them (0 with itself)."""
    images = sorted(model.images.values(), key=lambda image: image.name)
    seen = [np.unique([point.point3D_id for point in image.points2D if point.has_point3D()]) for image in images]
    ends = np.cumsum([0, *map(len, seen)])
    _, points = np.unique(np.concatenate([*seen, np.zeros(0)]).astype(np.int64), return_inverse=True)
    watchers = np.repeat(np.arange(len(images)), np.diff(ends))[np.argsort(points, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(points))]).astype(np.int64)

    def counts() -> Iterator[Int64[np.ndarray, " n"]]:
        for row in range(len(images)):
            own = points[ends[row] : ends[row + 1]]
            lengths = starts[own + 1] - starts[own]
            offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            shared = np.bincount(watchers[np.repeat(starts[own], lengths) + offsets], minlength=len(images))
            shared[row] = 0
            yield shared

    return [image.name for image in images], counts()


def named_alike(names: Sequence[str], stored: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of each photo, by its name, or by its name without folder or ending where that is unique."""

    def spellings(name: str) -> tuple[str, ...]:
        path = PurePosixPath(name)
        return name, path.name, path.with_suffix("").as_posix(), path.stem

    found: dict[str, Any] = {}
    for level in range(4):
        asked: dict[str, list[str]] = {}
        known: dict[str, list[str]] = {}
        for table, all_names in ((asked, names), (known, list(stored))):
            for name in all_names:
                table.setdefault(spellings(name)[level], []).append(name)
        for spelling, here in asked.items():
            there = known.get(spelling, [])
            if len(here) == len(there) == 1:
                found.setdefault(here[0], stored[there[0]])
    return {name: found[name] for name in names if name in found}


def _matrix(image: Any) -> np.ndarray:
    """cam_from_world of an image of a COLMAP model, 3 × 4; a property before pycolmap 3.12, a method since."""
    pose = image.cam_from_world() if callable(image.cam_from_world) else image.cam_from_world
    return np.asarray(pose.matrix(), dtype=np.float64)


def _trajectory(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    rows = lines_of(path)
    try:
        numbers = np.array([[float(word) for word in words] for _, words in rows], dtype=np.float64).reshape(-1, 8)
    except ValueError as error:
        raise ConfigError(
            f"{str(path)!r} is no TUM trajectory, with timestamp tx ty tz qx qy qz qw in each line: {error}."
        ) from error
    poses = [_cam_from_world(row[1:4], row[4:8]) for row in numbers]
    stems = {_number(PurePosixPath(name).stem): name for name in names}
    by_time = {stems[row[0]]: pose for row, pose in zip(numbers, poses, strict=True) if row[0] in stems}
    if len(by_time) == len(names) or (by_time and len(poses) != len(names)):
        return by_time
    if len(poses) != len(names):
        raise ConfigError(
            f"{str(path)!r} has {len(poses)} poses for {len(names)} photos, and their names are no timestamps of it: "
            "which is whose cannot be told."
        )
    return dict(zip(names, poses, strict=True))


def _cam_from_world(centre: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """The pose, 3 × 4, of a camera at ``centre`` whose rotation to the world is (qx, qy, qz, qw)."""
    length = np.linalg.norm(quaternion)
    x, y, z, w = quaternion / length if length > 0 else (0.0, 0.0, 0.0, 1.0)
    world_from_cam = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return np.hstack([world_from_cam.T, -(world_from_cam.T @ centre)[:, None]])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
