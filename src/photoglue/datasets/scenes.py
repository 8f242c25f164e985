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
import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from photoglue.datasets.cameras import PosedPhoto, megadepth_photo, read_cameras, read_megadepth
from photoglue.datasets.images import Images
from photoglue.datasets.sparse import SparseDepth
from photoglue.errors import ConfigError, PhotoGlueWarning
from photoglue.geometry.camera import PinholeCamera


@dataclass(frozen=True, kw_only=True)
class DepthFile:
    """Depth at each pixel of a photo, in a file."""

    path: Path
    """PNG of 16 bit, or HDF5 with the dataset "depth"."""
    scale: float
    """What a stored depth is divided by."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One photo of a scene. Nothing is read before it is used, but the photo's size."""

    name: str
    """Unique in the scene."""
    image_path: Path
    depth: DepthFile | SparseDepth
    """Where its depth is known: a file, or points of a model."""
    camera: PinholeCamera
    """Without distortion. If the depth is that of a model, the photo is scaled to its size when it is read."""
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
            known, paths = frame.depth, [frame.image_path]
            if isinstance(known, DepthFile):
                paths.append(known.path)
            depth = known.scale if isinstance(known, DepthFile) else known.fingerprint
            numbers = frame.camera, frame.cam_from_world.tolist(), depth
            sizes = [path.stat().st_size for path in paths]
            digest.update(f"{frame.name}\t{numbers}\t{sizes}\n".encode())
        return digest.hexdigest()[:16]


def read_scenes(folder: str | os.PathLike[str], *, only: Sequence[str] = (), skip_missing: bool = False) -> list[Scene]:
    """The scenes in one folder: ``read_folders`` with one."""
    return read_folders([Path(folder)], only=only, skip_missing=skip_missing)


def read_folders(
    folders: Sequence[Path], *, only: Sequence[str] = (), also: Sequence[str] = (), skip_missing: bool = False
) -> list[Scene]:
    """The scenes of some folders, in either layout. Those that are not wanted are not read: they may be incomplete.

    Args:
        folders: Each with scenes, or a scene itself, or MegaDepth.
        only: Names of the wanted ones; empty: all.
        also: Names of others that are wanted.
        skip_missing: Leave out photos that are missing or whose depth is, and their pairs, with a warning that counts
            them, instead of an error.

    Raises:
        ConfigError: If there is none of such a name, or a wanted one is not complete.
    """
    found = [scene for folder in folders for scene in _scenes_of(folder)]
    names = [name for name, _ in found]
    for name in (*only, *also):
        if name not in names:
            raise ConfigError(f"There is no scene {name!r}. There are: {', '.join(names)}.")
    return [read(skip_missing=skip_missing) for name, read in found if not only or name in (*only, *also)]


def _scenes_of(folder: Path) -> list[tuple[str, Callable[..., Scene]]]:
    """The names of a folder's scenes, and what reads them."""
    infos = folder / "scene_info"
    if not infos.is_dir():
        return [(path.name, partial(read_scene, path)) for path in find_scenes(folder)]
    paths = sorted(infos.glob("*.npz"))
    if not paths:
        raise ConfigError(f"{str(infos)!r} holds no scenes: files of MegaDepth, NAME.npz, were wanted.")
    return [(path.stem, partial(read_megadepth_scene, path, folder)) for path in paths]


def find_scenes(folder: str | os.PathLike[str]) -> list[Path]:
    """The folders of the scenes of the plain layout in a folder, by name; none of them is looked into.

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


def read_scene(folder: str | os.PathLike[str], *, skip_missing: bool = False) -> Scene:
    """One scene of the plain layout.

    Args:
        folder: With ``cameras.json``, ``pairs.txt``, photos and ``depths/``.
        skip_missing: As for ``read_folders``.

    Raises:
        ConfigError: If a file is missing or says something impossible; the message names the file and the photo.
        ImageError: If a photo is missing or cannot be read.
    """
    root = Path(folder)
    cameras = read_cameras(root)
    scale = cameras.depth_scale
    if not cameras.frames:
        raise ConfigError(f'{str(cameras.path)!r} names no photos; it must have "frames": {{NAME: …}}.')
    if not isinstance(scale, int | float) or not scale > 0:
        raise ConfigError(f"{str(cameras.path)!r} has depth_scale {scale!r}; a positive number was wanted.")
    images = Images(folder=root, skip_missing=skip_missing)
    names = sorted(cameras.frames)
    frames: dict[int, Frame] = {}
    for i, name in enumerate(names):
        with images.unless_missing():
            photo = cameras.photo(name, images)
            frames[i] = _frame(name, photo, root, root / "depths" / f"{Path(photo.name).stem}.png", float(scale))
    pairs, overlaps = _read_pairs(root / "pairs.txt", names)
    return _scene(root.name, images, frames, len(names), pairs, overlaps)


def read_megadepth_scene(
    info: str | os.PathLike[str], root: str | os.PathLike[str], *, skip_missing: bool = False
) -> Scene:
    """One scene of MegaDepth.

    Its overlap matrix has a value for each direction; the smaller counts. Photos without depth (None in the file) are
    left out.

    Args:
        info: scene_info/NAME.npz. It holds Python objects, so that reading it can run code: only from a source that
            you trust.
        root: The folder that the paths in it begin at.
        skip_missing: As for ``read_folders``.

    Raises:
        ConfigError: If a file is missing or says something impossible; the message names the file and the photo.
        ImageError: If a photo is missing or cannot be read.
    """
    info, root = Path(info), Path(root)
    arrays = read_megadepth(info, ("depth_paths", "overlap_matrix"))
    stated = zip(arrays["image_paths"], arrays["depth_paths"], strict=True)
    rows = [i for i, (image, depth) in enumerate(stated) if image is not None and depth is not None]
    if not rows:
        raise ConfigError(f"The scene {str(info)!r} has no photo with depth: nothing can be learned from it.")
    images = Images(folder=root, skip_missing=skip_missing)
    frames: dict[int, Frame] = {}
    for number, i in enumerate(rows):
        with images.unless_missing():
            photo = megadepth_photo(info, arrays, i, images)
            depth = _megadepth_depth(root, info.stem, arrays["depth_paths"][i], photo.name)
            frames[number] = _frame(Path(photo.name).name, photo, root, depth, 1.0)
    overlap = np.asarray(arrays["overlap_matrix"], np.float64)[np.ix_(rows, rows)]
    smaller = np.triu(np.nan_to_num(np.minimum(overlap, overlap.T)), k=1)
    index0, index1 = np.nonzero(smaller > 0)
    pairs = torch.from_numpy(np.stack([index0, index1], axis=1).astype(np.int64))
    overlaps = torch.from_numpy(smaller[index0, index1].clip(max=1.0))
    return _scene(info.stem, images, frames, len(rows), pairs, overlaps)


def _frame(name: str, photo: PosedPhoto, root: Path, depth: Path, depth_scale: float) -> Frame:
    return Frame(
        name=name,
        image_path=root / photo.name,
        depth=DepthFile(path=depth, scale=depth_scale),
        camera=photo.camera,
        cam_from_world=torch.from_numpy(photo.cam_from_world),
    )


def _scene(
    name: str,
    images: Images,
    frames: dict[int, Frame],
    count: int,
    pairs: Int64[Tensor, "p 2"],
    overlaps: Float64[Tensor, " p"],
) -> Scene:
    """The scene of those of ``count`` frames that are there and have a depth; ``pairs`` has the numbers of all."""
    root = images.folder
    depths = {number: root / frame.depth.path for number, frame in frames.items() if isinstance(frame.depth, DepthFile)}
    absent = [path for path in depths.values() if not path.is_file()]
    if absent and not images.skip_missing:
        raise ConfigError(
            f"The scene in {str(root)!r} lacks {len(absent)} of {count} depths, such as {str(absent[0])!r}. "
            "Add them, remove these photos from the scene, or leave them out: --skip-missing (skip_missing=True)."
        )
    there = {number: frame for number, frame in sorted(frames.items()) if depths[number] not in absent}
    known = torch.tensor([number in there for number in range(count)])
    usable = known[pairs].all(dim=1)
    if len(there) < count:
        warnings.warn(
            f"Scene {name!r}: {count - len(there)} of {count} photos are left out, because they or their "
            f"depths are missing, such as {[*images.left_out, *map(str, absent)][0]!r}, and with them "
            f"{int((~usable).sum())} of {len(pairs)} pairs.",
            PhotoGlueWarning,
            stacklevel=3,
        )
    if len(there) < count and not usable.any():
        raise ConfigError(f"The scene in {str(root)!r} has no pair of photos with depth.")
    numbers = known.cumsum(0) - 1
    return Scene(name=name, frames=tuple(there.values()), pairs=numbers[pairs[usable]], overlaps=overlaps[usable])


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


def _megadepth_depth(root: Path, scene: str, stated: str, image: str) -> Path:
    """The depth of a photo: where the file says, or where the published archive has it."""
    path = root / str(stated)
    return path if path.is_file() else root / "depth_undistorted" / scene / f"{Path(image).stem}.h5"
