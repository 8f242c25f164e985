"""Where photos were taken, as known before: ``cameras.json``, a TUM trajectory, or a COLMAP model."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from photoglue.datasets.cameras import checked_pose, read_cameras
from photoglue.datasets.images import lines_of
from photoglue.errors import ConfigError
from photoglue.geometry.pose import rotation_from_quaternion
from photoglue.solvers.colmap_model import read_model


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
        ConfigError: If the source is none of these, is damaged, or knows none of the photos.
        MissingExtra: If it is a COLMAP model as text and pycolmap is not installed.
    """
    path = Path(source)
    if path.suffix == ".json" or (path / "cameras.json").is_file():
        file = read_cameras(path)
        stored = {
            name: checked_pose(
                frame.get("T_w2c") if isinstance(frame, Mapping) else None, f"{name!r} in {str(file.path)!r}"
            )
            for name, frame in file.frames.items()
        }
    elif path.is_file():
        stored = _trajectory(path, names)
    elif path.is_dir():
        stored = {image.name: image.cam_from_world.numpy() for image in read_model(path).images}
    else:
        raise ConfigError(
            f"{str(path)!r} has no poses: a cameras.json, a TUM trajectory, or a folder with a COLMAP model was wanted."
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


def _trajectory(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    rows = lines_of(path)
    try:
        numbers = np.array([[float(word) for word in words] for _, words in rows], dtype=np.float64).reshape(-1, 8)
    except ValueError as error:
        raise ConfigError(
            f"{str(path)!r} is no TUM trajectory, with timestamp tx ty tz qx qy qz qw in each line: {error}."
        ) from error
    if not (np.isfinite(numbers).all() and numbers[:, 4:].any(axis=1).all()):
        raise ConfigError(f"{str(path)!r} has a line whose numbers are not finite, or whose quaternion is 0 0 0 0.")
    world_from_cam = [rotation_from_quaternion(torch.from_numpy(np.roll(row[4:], 1))).numpy() for row in numbers]
    poses = [np.hstack([turn.T, -turn.T @ row[1:4, None]]) for turn, row in zip(world_from_cam, numbers, strict=True)]
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


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
