"""Scenes on disk: photos with cameras, poses, depth maps, and how much each two overlap.

Two layouts are read. The plain one, for scenes of one's own:

```
SCENE/images/NAME.jpg     (any format that Pillow reads)
SCENE/depths/NAME.png     16 bit; value / depth_scale = depth along the optical axis, 0 = unknown
SCENE/cameras.json        {"depth_scale": 1000, "frames": {NAME: {"K": 3 × 3, "T_w2c": 4 × 4, "width", "height"}}}
SCENE/pairs.txt           NAME0 NAME1 overlap (0…1), a line each; "#" begins a comment
```

And MegaDepth as D2-Net prepared it: scene_info/0015.npz beside Undistorted_SfM/ and depth_undistorted/.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from photoglue.datasets.photos import PHOTO_SUFFIXES
from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One photo of a scene. Nothing is read before it is used, but the photo's size."""

    name: str
    """Unique in the scene."""
    image_path: Path
    depth_path: Path
    """PNG of 16 bit, or HDF5 with the dataset "depth"."""
    depth_scale: float
    """What a stored depth is divided by."""
    camera: PinholeCamera
    cam_from_world: Float64[Tensor, "4 4"]
    """X_cam = R · X_world + t; in the unit of the depths."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Photos of one place in one frame of reference."""

    name: str
    frames: tuple[Frame, ...]
    pairs: Int64[Tensor, "p 2"]
    """Indices of two frames, the smaller first; each pair once."""
    overlaps: Float64[Tensor, " p"]
    """How much of either photo is seen in the other, in [0, 1]: the smaller of the two directions."""

    def __len__(self) -> int:
        """Photos."""
        return len(self.frames)

    @property
    def fingerprint(self) -> str:
        """Changes with the names, cameras, poses and depth scale of its photos, and the sizes of all files in bytes."""
        digest = hashlib.sha256()
        for frame in self.frames:
            numbers = frame.camera, frame.cam_from_world.tolist(), frame.depth_scale
            sizes = [path.stat().st_size for path in (frame.image_path, frame.depth_path)]
            digest.update(f"{frame.name}\t{numbers}\t{sizes}\n".encode())
        return digest.hexdigest()[:16]


def read_scenes(folder: str | os.PathLike[str], *, only: Sequence[str] = ()) -> list[Scene]:
    """The scenes of the plain layout in a folder, by name.

    Args:
        folder: With a folder for each scene; or a scene itself.
        only: Names of scenes; empty: all.

    Raises:
        ConfigError: If there is none, or one of them is not complete.
    """
    root, found = Path(folder), find_scenes(folder)
    if found == [root]:
        return [read_scene(root)]
    absent = sorted(set(only) - {path.name for path in found})
    if absent:
        raise ConfigError(f"{str(root)!r} has no scene {absent[0]!r}; it has {', '.join(path.name for path in found)}.")
    return [read_scene(path) for path in found if not only or path.name in only]


def read_folders(folders: Sequence[Path], *, only: Sequence[str] = (), also: Sequence[str] = ()) -> list[Scene]:
    """The scenes of some folders, in either layout. Those that are not wanted are not read: they may be incomplete.

    Args:
        folders: Each with scenes, or a scene itself, or MegaDepth.
        only: Names of the wanted ones; empty: all.
        also: Names of others that are wanted.

    Raises:
        ConfigError: If there is none of such a name, or a wanted one is not complete.
    """
    found = [scene for folder in folders for scene in _scenes_of(folder)]
    names = [name for name, _ in found]
    for name in (*only, *also):
        if name not in names:
            raise ConfigError(f"There is no scene {name!r}. There are: {', '.join(names)}.")
    return [read() for name, read in found if not only or name in (*only, *also)]


def _scenes_of(folder: Path) -> list[tuple[str, Callable[[], Scene]]]:
    """The names of a folder's scenes, and what reads them."""
    infos = folder / "scene_info"
    if not infos.is_dir():
        return [(path.name, partial(read_scene, path)) for path in find_scenes(folder)]
    paths = sorted(infos.glob("*.npz"))
    if not paths:
        raise ConfigError(f"{str(infos)!r} holds no scenes: files of MegaDepth, NAME.npz, were wanted.")
    return [(path.stem, partial(read_megadepth_scene, path, folder)) for path in paths]


def find_scenes(folder: str | os.PathLike[str]) -> list[Path]:
    """The folders of the scenes that ``read_scenes`` reads, by name; none of them is looked into.

    Raises:
        ConfigError: If there is none.
    """
    root = Path(folder)
    if (root / "cameras.json").is_file():
        return [root]
    found = sorted(path.parent for path in root.glob("*/cameras.json"))
    if not found:
        what = "holds no scenes" if root.is_dir() else "does not exist"
        raise ConfigError(f"{str(root)!r} {what}: a folder with SCENE/cameras.json was wanted.")
    return found


def read_scene(folder: str | os.PathLike[str]) -> Scene:
    """One scene of the plain layout.

    Raises:
        ConfigError: If a file is missing or says something impossible; the message names the scene and the photo.
    """
    root = Path(folder)
    described = _read_json(root / "cameras.json")
    entries, scale = described.get("frames"), described.get("depth_scale")
    if not isinstance(entries, Mapping) or not entries:
        raise ConfigError(f'{str(root / "cameras.json")!r} names no photos; it must have "frames": {{NAME: …}}.')
    if not isinstance(scale, int | float) or not scale > 0:
        raise ConfigError(f"{str(root / 'cameras.json')!r} has depth_scale {scale!r}; a positive number was wanted.")
    images = {path.stem: path for path in _files(root / "images") if path.suffix.lower() in PHOTO_SUFFIXES}
    depths = {path.stem: path for path in _files(root / "depths") if path.suffix.lower() == ".png"}
    names = sorted(entries)
    _check_present(root, "images", names, images)
    _check_present(root, "depths", names, depths)
    frames = []
    for name in names:
        try:
            entry = entries[name]
            intrinsics, pose = np.asarray(entry["K"], np.float64), np.asarray(entry["T_w2c"], np.float64)
            stated = int(entry["width"]), int(entry["height"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"Photo {name!r} of {str(root / 'cameras.json')!r} lacks a number or has a wrong one ({error!r}); "
                "it needs K (3 × 3), T_w2c (4 × 4), width and height."
            ) from error
        paths = images[name], depths[name]
        frames.append(_frame(root.name, name, paths, intrinsics, pose, depth_scale=float(scale), stated=stated))
    pairs, overlaps = _read_pairs(root / "pairs.txt", names)
    return Scene(name=root.name, frames=tuple(frames), pairs=pairs, overlaps=overlaps)


def read_megadepth_scene(info: str | os.PathLike[str], root: str | os.PathLike[str]) -> Scene:
    """One scene of MegaDepth.

    Its overlap matrix has a value for each direction; the smaller counts. Photos without depth (None in the file) are
    left out.

    Args:
        info: scene_info/NAME.npz. It holds Python objects, so that reading it can run code: only from a source that
            you trust.
        root: The folder that the paths in it begin at.

    Raises:
        ConfigError: If a file is missing or says something impossible; the message names the scene and the photo.
    """
    info, root = Path(info), Path(root)
    image_paths, depth_paths, intrinsics, poses, overlap = _read_info(info)
    paths = enumerate(zip(image_paths, depth_paths, strict=True))
    rows = [i for i, (image, depth) in paths if image is not None and depth is not None]
    if not rows:
        raise ConfigError(f"The scene {str(info)!r} has no photo with depth: nothing can be learned from it.")
    images = {str(image_paths[i]): root / str(image_paths[i]) for i in rows}
    depths = {str(image_paths[i]): _megadepth_depth(root, info.stem, depth_paths[i], image_paths[i]) for i in rows}
    _check_present(info, "images", list(images), {name: path for name, path in images.items() if path.is_file()})
    _check_present(info, "depths", list(images), {name: path for name, path in depths.items() if path.is_file()})
    # COLMAP's cameras: the centre of the top-left pixel is (0.5, 0.5) there.
    shift = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    frames = tuple(
        _frame(info.stem, path.name, (path, depths[name]), np.asarray(intrinsics[i], np.float64) - shift, poses[i])
        for i, (name, path) in zip(rows, images.items(), strict=True)
    )
    either = np.asarray(overlap, np.float64)[np.ix_(rows, rows)]
    smaller = np.triu(np.nan_to_num(np.minimum(either, either.T)), k=1)
    index0, index1 = np.nonzero(smaller > 0)
    return Scene(
        name=info.stem,
        frames=frames,
        pairs=torch.from_numpy(np.stack([index0, index1], axis=1).astype(np.int64)),
        overlaps=torch.from_numpy(smaller[index0, index1].clip(max=1.0)),
    )


def _frame(
    scene: str,
    name: str,
    paths: tuple[Path, Path],
    intrinsics: np.ndarray,
    pose: np.ndarray,
    *,
    depth_scale: float = 1.0,
    stated: tuple[int, int] | None = None,
) -> Frame:
    """A frame whose numbers make sense, or a ConfigError that names it."""
    where = f"Photo {name!r} of scene {scene!r}"
    image, depth = paths
    try:
        with PIL.Image.open(image) as picture:
            size = picture.size
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ConfigError(f"{where} cannot be read ({str(image)!r}: {error}). Remove it from the scene.") from error
    if stated is not None and stated != size:
        raise ConfigError(
            f"{where} has {size[0]} × {size[1]} pixels, and its camera is for {stated[0]} × {stated[1]}. "
            "Scale K with the photo, or give the photo that it was made for."
        )
    if intrinsics.shape != (3, 3):
        raise ConfigError(f"{where} has a K of shape {intrinsics.shape}; 3 × 3, in pixels, was wanted.")
    pose = np.asarray(pose, np.float64)
    if pose.shape != (4, 4) or not np.allclose(pose[3], [0, 0, 0, 1]) or not _is_rotation(pose[:3, :3]):
        raise ConfigError(f"{where} has a pose that is no rigid motion; a 4 × 4 matrix, world to camera, was wanted.")
    try:
        camera = PinholeCamera.parse(" ".join(repr(float(value)) for value in intrinsics.flat), size)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not (0 < camera.cx < size[0] and 0 < camera.cy < size[1]):
        raise ConfigError(
            f"{where} has its principal point at ({camera.cx:g}, {camera.cy:g}), outside its {size[0]} × {size[1]} "
            "pixels. Does K belong to a photo of another size?"
        )
    return Frame(
        name=name,
        image_path=image,
        depth_path=depth,
        depth_scale=depth_scale,
        camera=camera,
        cam_from_world=torch.from_numpy(pose.copy()),
    )


def _is_rotation(matrix: np.ndarray) -> bool:
    return bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3) and np.linalg.det(matrix) > 0)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{str(path.parent)!r} is no scene: it has no {path.name}.") from None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read as JSON: {error}.") from error


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _check_present(scene: Path, what: str, names: Sequence[str], found: Mapping[str, Path]) -> None:
    absent = [name for name in names if name not in found]
    if absent:
        lack = f"lacks {len(absent)} of {len(names)} {what}" if len(absent) < len(names) else f"has no {what} at all"
        raise ConfigError(
            f"The scene {str(scene)!r} {lack}, such as that of {absent[0]!r}. Add them, or remove these photos "
            "from the scene."
        )


def _read_pairs(path: Path, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Frames by index, and overlaps."""
    index = {name: i for i, name in enumerate(names)}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The scene's pairs {str(path)!r} cannot be read: {error}.") from error
    found: dict[tuple[int, int], float] = {}
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            name0, name1, overlap = words
            first, second = sorted((index[name0], index[name1]))
            if first == second:
                raise ValueError
            # Listed in both directions, the smaller counts.
            found[first, second] = min(float(overlap), found.get((first, second), math.inf))
        except (ValueError, KeyError) as error:
            raise ConfigError(
                f"Line {number} of {str(path)!r} is {line!r}; two different photos of the scene and their overlap were "
                "wanted."
            ) from error
    if not found:
        raise ConfigError(f"{str(path)!r} has no pairs; a line for each was wanted: NAME0 NAME1 overlap.")
    return torch.tensor(list(found), dtype=torch.int64), torch.tensor(list(found.values()), dtype=torch.float64)


def _read_info(path: Path) -> tuple[Any, ...]:
    keys = "image_paths", "depth_paths", "intrinsics", "poses", "overlap_matrix"
    try:
        # The paths are an array of Python objects.
        with np.load(path, allow_pickle=True) as file:
            return tuple(file[key] for key in keys)
    except KeyError as error:
        raise ConfigError(
            f"{str(path)!r} is no scene_info file of MegaDepth ({error}); it must hold {', '.join(keys)}."
        ) from error
    except Exception as error:  # unpickling raises anything
        raise ConfigError(f"{str(path)!r} cannot be read as a scene_info file of MegaDepth: {error}.") from error


def _megadepth_depth(root: Path, scene: str, stated: Any, image: Any) -> Path:
    """Where the file says, or where the published archive has it."""
    path = root / str(stated)
    return path if path.is_file() else root / "depth_undistorted" / scene / f"{Path(str(image)).stem}.h5"
