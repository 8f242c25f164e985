"""Photos with cameras and poses, as ``cameras.json`` and MegaDepth's .npz files have them: one reader for each.

``cameras.json`` has for each photo ``K`` (3 × 3, pixels; the centre of the top-left pixel is (0, 0)), ``T_w2c``
(4 × 4), and ``width`` and ``height`` if it states the size. Its photos are all entries, or those of the entry
``"frames"``, which has ``"depth_scale"`` beside it.

MegaDepth's files hold Python objects, which NumPy reads with pickle: reading them runs whatever their author put in. It
is allowed for them alone, after a look at the names of their arrays.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from photoglue.datasets.images import Images, camera_of, image_named
from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedPhoto:
    """A photo, its camera, and where it was taken."""

    name: str
    """Path below the folder of its ``Images``."""
    camera: PinholeCamera
    """The camera of the photo as read."""
    cam_from_world: Float64[np.ndarray, "4 4"]
    """X_cam = R · X_world + t; the unit is that of the data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraFile:
    """What a ``cameras.json`` says; its photos are looked at one by one."""

    path: Path
    """The file."""
    frames: Mapping[str, Any]
    """What it says of each photo, by name."""
    depth_scale: Any
    """What it says that depths are to be divided by; None: nothing."""
    unit: str
    """What it says of the unit of its poses, such as "metres"; empty: nothing."""

    def photo(self, name: str, images: Images) -> PosedPhoto:
        """A photo of the file, with its camera and pose.

        Raises:
            ConfigError: If its numbers are missing, impossible, or belong to an image of another size.
            ImageError: If the photo is missing or cannot be read.
        """
        below = located(self.path.parent, images, name, self.path)
        what = f"{below!r} in {str(self.path)!r}"
        frame = self.frames[name]
        try:
            stated = (int(frame["width"]), int(frame["height"])) if "width" in frame else None
            matrix, pose = frame["K"], frame["T_w2c"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"The camera of {what} is not complete ({error}); it has K, T_w2c and, if any, width and height in "
                "pixels."
            ) from None
        camera = camera_of(matrix, images.size(below, self.path), what, stated_size=stated)
        return PosedPhoto(name=below, camera=camera, cam_from_world=checked_pose(pose, what))


def read_cameras(source: Path) -> CameraFile:
    """The ``cameras.json`` in a folder, or a file like it of another name.

    Raises:
        ConfigError: If it cannot be read, or is no list of cameras.
    """
    path = source if source.suffix == ".json" and not source.is_dir() else source / "cameras.json"
    content = json_in(path)
    frames = content.get("frames", content) if isinstance(content, dict) else content
    if not isinstance(frames, dict):
        raise ConfigError(f"{str(path)!r} has a {type(frames).__name__} where a camera for each image was wanted.")
    return CameraFile(
        path=path, frames=frames, depth_scale=content.get("depth_scale"), unit=str(content.get("unit", ""))
    )


def read_megadepth(path: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of one of MegaDepth's scene files: image_paths, intrinsics, poses, and those wanted besides.

    Raises:
        ConfigError: If it lacks one of them or cannot be read.
    """
    names = ("image_paths", "intrinsics", "poses", *wanted)
    try:
        with np.load(path) as content:
            missing = sorted(set(names) - set(content.files))
        if missing:  # before anything in it is run
            raise KeyError(*missing)
        with np.load(path, allow_pickle=True) as content:
            return {name: content[name] for name in names}
    except Exception as error:  # unpickling raises anything
        raise ConfigError(
            f"{str(path)!r} is no scene file of MegaDepth ({type(error).__name__}: {error}); it must hold "
            f"{', '.join(names)}."
        ) from error


def megadepth_photo(path: Path, arrays: Mapping[str, np.ndarray], number: int, images: Images) -> PosedPhoto:
    """A photo of one of MegaDepth's scene files. Half a pixel comes off its camera, which is COLMAP's.

    Args:
        path: The scene file.
        arrays: What ``read_megadepth`` read from it.
        number: Which photo, from 0.
        images: Where the paths in the file begin: there, or below ``images/`` or ``test/``.

    Raises:
        ConfigError: If its numbers are impossible or belong to an image of another size.
        ImageError: If the photo is missing or cannot be read.
    """
    name = below_folder(str(arrays["image_paths"][number]), images)
    what = f"{name!r} in {str(path)!r}"
    size = images.size(name, path)
    camera = camera_of(without_half_pixel(arrays["intrinsics"][number]), size, what)
    return PosedPhoto(name=name, camera=camera, cam_from_world=checked_pose(arrays["poses"][number], what))


def without_half_pixel(matrix: Any) -> np.ndarray:
    """COLMAP's camera matrix for pixels whose centres are whole numbers: in COLMAP the top-left one is (0.5, 0.5)."""
    moved = np.array(matrix, dtype=np.float64).reshape(3, 3)
    moved[:2, 2] -= 0.5
    return moved


def checked_pose(matrix: Any, what: str) -> Float64[np.ndarray, "4 4"]:
    """A pose as 4 × 4 float64, if it is one.

    Args:
        matrix: Rotation and translation over a row 0 0 0 1. ScanNet writes -inf where its tracking was lost.
        what: Whose pose this is, for messages.

    Raises:
        ConfigError: If it is none; also if it is scaled, mirrored or transposed, which would be a wrong truth.
    """
    try:
        pose = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.zeros(0)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ConfigError(f"The pose of {what} is not a 4 × 4 matrix of finite numbers.")
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise ConfigError(
            f"The pose of {what} has no rotation in its first three rows and columns, which may not be scaled or "
            "mirrored."
        )
    if np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise ConfigError(f"The pose of {what} has the last row {pose[3].tolist()}, not 0 0 0 1. Is it transposed?")
    return pose


def located(folder: Path, images: Images, name: str, named_by: Path) -> str:
    """The path below ``images.folder`` of a photo that a list names: in ``images/``, or beside the list.

    Args:
        folder: The folder of the list.
        images: Where the data set lies.
        name: As the list has it, with or without its ending.
        named_by: The list, for messages.

    Raises:
        ConfigError: If the name is an absolute path.
        ImageError: If the photo is missing or cannot be read.
    """
    if Path(name).is_absolute():
        raise ConfigError(
            f"{str(named_by)!r} names {name!r}; names must be relative to its folder, or to images/ there."
        )
    candidates = [folder / "images" / name, folder / name]
    found = next((path for path in candidates if path.is_file()), None) or image_named(folder / "images", name)
    below = images.name_of(found or candidates[0])
    images.size(below, named_by)  # speaks if it is missing
    return below


def below_folder(name: str, images: Images) -> str:
    """Where an image lies: below the folder of the data set, or below ``images/`` or ``test/`` there."""
    candidates = (name, f"images/{name}", f"test/{name}")
    return next((place for place in candidates if (images.folder / place).is_file()), name)


def json_in(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}.") from None
