"""Data sets of posed photos: the plain layouts, and the lists that SuperGlue, LoFTR and glue-factory use.

Camera matrices of COLMAP (MegaDepth's) have the centre of the top-left pixel at (0.5, 0.5): half a pixel comes off.
Others are taken as they are.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.cameras import PosedPhoto, checked_pose, json_in, located, read_cameras, without_half_pixel
from photoglue.datasets.images import Images, camera_of, lines_of, scene_of
from photoglue.datasets.truths import Posed, turned_camera, turned_pose
from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera

Key = TypeVar("Key", str, int)


def cameras_json(folder: Path, images: Images, scene: str, *, all_pairs: bool) -> list[EvaluationPair]:
    """``images/`` and ``cameras.json``; the pairs are those that ``pairs.txt`` lists (two names a line), or all.

    Raises:
        ConfigError: If a file is damaged, or a pair names an image without a camera.
        ImageError: If an image is missing.
    """
    cameras = read_cameras(folder)
    listed = folder / "pairs.txt"
    if all_pairs or not listed.is_file():
        pairs = list(combinations(sorted(cameras.frames), 2))
    else:
        pairs = [(words[0], words[1]) for _, words in lines_of(listed) if len(words) > 1]
    names = sorted({name for pair in pairs for name in pair})
    for name in names:
        if name not in cameras.frames:
            raise ConfigError(
                f"{str(listed)!r} names {name!r}, and {str(cameras.path)!r} has no camera of it. It has "
                f"{len(cameras.frames)}, such as {next(iter(cameras.frames), 'none')!r}."
            )
    return posed_pairs([(scene, *pair) for pair in pairs], lambda name: cameras.photo(name, images), images)


def posed_pairs(
    rows: Sequence[tuple[str, Key, Key]], photo: Callable[[Key], PosedPhoto], images: Images
) -> list[EvaluationPair]:
    """The pairs of (scene, photo 0, photo 1).

    Args:
        rows: With whatever ``photo`` knows photos by.
        photo: Reads a photo; called once for each that is there.
        images: Where the photos are.
    """
    known = cache(photo)
    pairs = []
    for scene, key0, key1 in rows:
        with images.unless_missing():
            pairs.append(posed_pair(scene, known(key0), known(key1)))
    return pairs


def posed_pair(scene: str, photo0: PosedPhoto, photo1: PosedPhoto) -> EvaluationPair:
    """The pair of two photos whose poses are in one frame of reference."""
    pose = photo1.cam_from_world @ np.linalg.inv(photo0.cam_from_world)
    truth = Posed(
        camera0=photo0.camera, camera1=photo1.camera, cam1_from_cam0=pose, cam0_from_world=photo0.cam_from_world
    )
    return EvaluationPair(scene=scene, name0=photo0.name, name1=photo1.name, truth=truth)


def pairs_json(folder: Path, images: Images, scene: str) -> list[EvaluationPair]:
    """``images/`` and ``pairs.json``: a list of image0, image1, K0, K1 and T_0to1 (cam1_from_cam0).

    Raises:
        ConfigError: If the file is damaged.
        ImageError: If an image is missing.
    """
    path = folder / "pairs.json"
    pairs = []
    rows = json_in(path)
    if not isinstance(rows, list):
        raise ConfigError(f"{str(path)!r} has a {type(rows).__name__} where a list of pairs was wanted.")
    for number, row in enumerate(rows, start=1):
        try:
            with images.unless_missing():
                names = [located(folder, images, str(row[key]), path) for key in ("image0", "image1")]
                cameras = [
                    camera_of(row[key], images.size(name, path), f"{name!r} in {str(path)!r}")
                    for key, name in zip(("K0", "K1"), names, strict=True)
                ]
                pairs.append(_posed(scene, (names[0], names[1]), (cameras[0], cameras[1]), row["T_0to1"], path))
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"Pair {number} of {str(path)!r} is not complete ({type(error).__name__}: {error}); each has image0, "
                "image1, K0, K1 and T_0to1."
            ) from None
    return pairs


def superglue_list(path: Path, folder: Path, images: Images, scene: str) -> tuple[list[EvaluationPair], dict[str, int]]:
    """SuperGlue's ``*_pairs_with_gt.txt``: name0 name1 turn0 turn1 K0 (9) K1 (9) T_0to1 (16), and the turns.

    A turn says how often an image is to be rotated by 90° counter-clockwise to stand upright (``numpy.rot90``). Camera
    and pose of the file belong to the image before that.

    Raises:
        ConfigError: If a line has other columns.
        ImageError: If an image is missing.
    """
    rows = _rows(path, 38, "name0 name1 turn0 turn1 K0 (9 numbers) K1 (9) T_0to1 (16)", folder, images)
    turns: dict[str, int] = {}
    pairs = []
    for (name0, name1, numbers), where in zip(rows, scene_of([row[0] for row in rows], scene), strict=True):
        turn0, turn1 = int(numbers[0]) % 4, int(numbers[1]) % 4
        for name, turn in ((name0, turn0), (name1, turn1)):
            if turns.setdefault(name, turn) != turn:
                raise ConfigError(f"{str(path)!r} turns {name!r} by {turn} quarters in one line, {turns[name]} before.")
        cameras = [
            turned_camera(camera_of(matrix, images.size(name, path), f"{name!r} in {str(path)!r}"), turn)
            for matrix, name, turn in ((numbers[2:11], name0, turn0), (numbers[11:20], name1, turn1))
        ]
        pose = turned_pose(numbers[20:36].reshape(4, 4), turn0, turn1)
        pairs.append(_posed(where, (name0, name1), (cameras[0], cameras[1]), pose, path))
    return pairs, {name: turn for name, turn in turns.items() if turn}


def gluefactory_list(folder: Path, images: Images, scene: str) -> list[EvaluationPair]:
    """glue-factory's MegaDepth-1500: ``images/`` and ``pairs_calibrated.txt``: name0 name1 K0 (9) K1 (9) R (9) t (3).

    Raises:
        ConfigError: If a line has other columns.
        ImageError: If an image is missing.
    """
    path = folder / "pairs_calibrated.txt"
    rows = _rows(path, 32, "name0 name1 K0 (9 numbers) K1 (9) R (9) t (3)", folder, images)
    pairs = []
    for (name0, name1, numbers), where in zip(rows, scene_of([row[0] for row in rows], scene), strict=True):
        cameras = [
            camera_of(
                without_half_pixel(numbers[first : first + 9]), images.size(name, path), f"{name!r} in {str(path)!r}"
            )
            for first, name in ((0, name0), (9, name1))
        ]
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = numbers[18:27].reshape(3, 3), numbers[27:30]
        pairs.append(_posed(where, (name0, name1), (cameras[0], cameras[1]), pose, path))
    return pairs


def _posed(
    scene: str, names: tuple[str, str], cameras: tuple[PinholeCamera, PinholeCamera], pose: Any, path: Path
) -> EvaluationPair:
    """A pair, if its pose is one."""
    checked = checked_pose(pose, f"{names[0]!r} and {names[1]!r} in {str(path)!r}")
    truth = Posed(camera0=cameras[0], camera1=cameras[1], cam1_from_cam0=checked)
    return EvaluationPair(scene=scene, name0=names[0], name1=names[1], truth=truth)


def _rows(path: Path, columns: int, wanted: str, folder: Path, images: Images) -> list[tuple[str, str, np.ndarray]]:
    """(image 0, image 1, the numbers after them) of each line."""
    rows = []
    for number, words in lines_of(path):
        if len(words) != columns:
            raise ConfigError(
                f"Line {number} of {str(path)!r} has {len(words)} columns; {columns} were wanted: {wanted}."
            )
        try:
            numbers = np.array(words[2:], dtype=np.float64)
        except ValueError as error:
            raise ConfigError(f"Line {number} of {str(path)!r}: {error}.") from None
        with images.unless_missing():
            rows.append((located(folder, images, words[0], path), located(folder, images, words[1], path), numbers))
    return rows
