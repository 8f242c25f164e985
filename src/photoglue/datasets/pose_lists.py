"""Data sets of posed photos: the plain layouts, and the lists that SuperGlue, LoFTR and glue-factory use.

Camera matrices of COLMAP (MegaDepth's) have the centre of the top-left pixel at (0.5, 0.5): half a pixel comes off.
Others are taken as they are.
"""

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.images import Images, camera_of, image_named, lines_of, scene_of
from photoglue.datasets.truths import Posed, turned_camera, turned_pose
from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera


def cameras_json(folder: Path, images: Images, scene: str, *, all_pairs: bool) -> list[EvaluationPair]:
    """``images/`` and ``cameras.json``: for each image K, T_w2c (cam_from_world) and, if stated, width and height.

    The pairs are those that ``pairs.txt`` lists (two names a line, the rest is ignored), or all.

    Raises:
        ConfigError: If a file is damaged, or a pair names an image without a camera.
        ImageError: If an image is missing.
    """
    path = folder / "cameras.json"
    content = _json_in(path)
    frames: Any = content.get("frames", content) if isinstance(content, dict) else content
    if not isinstance(frames, dict):
        raise ConfigError(f"{str(path)!r} has a {type(frames).__name__} where a camera for each image was wanted.")
    listed = folder / "pairs.txt"
    if all_pairs or not listed.is_file():
        pairs = list(combinations(sorted(frames), 2))
    else:
        pairs = [(words[0], words[1]) for _, words in lines_of(listed) if len(words) > 1]
    _check_known(pairs, frames, listed, path)
    views = {name: _view(folder, name, frames[name], images, path) for name in sorted({n for p in pairs for n in p})}
    return [
        EvaluationPair(
            scene=scene,
            name0=views[name0][0],
            name1=views[name1][0],
            truth=Posed(
                camera0=views[name0][1],
                camera1=views[name1][1],
                cam1_from_cam0=views[name1][2] @ np.linalg.inv(views[name0][2]),
            ),
        )
        for name0, name1 in pairs
    ]


def pairs_json(folder: Path, images: Images, scene: str) -> list[EvaluationPair]:
    """``images/`` and ``pairs.json``: a list of image0, image1, K0, K1 and T_0to1 (cam1_from_cam0).

    Raises:
        ConfigError: If the file is damaged.
        ImageError: If an image is missing.
    """
    path = folder / "pairs.json"
    pairs = []
    rows = _json_in(path)
    if not isinstance(rows, list):
        raise ConfigError(f"{str(path)!r} has a {type(rows).__name__} where a list of pairs was wanted.")
    for number, row in enumerate(rows, start=1):
        try:
            names = [_below(folder, images, str(row[key]), path) for key in ("image0", "image1")]
            cameras = [
                camera_of(row[key], images.size(name, path), f"{name!r} in {str(path)!r}")
                for key, name in zip(("K0", "K1"), names, strict=True)
            ]
            pose = row["T_0to1"]
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"Pair {number} of {str(path)!r} is not complete ({type(error).__name__}: {error}); each has image0, "
                "image1, K0, K1 and T_0to1."
            ) from None
        pairs.append(_posed(scene, (names[0], names[1]), (cameras[0], cameras[1]), pose, path))
    return pairs


def superglue_list(path: Path, folder: Path, images: Images, scene: str) -> tuple[list[EvaluationPair], dict[str, int]]:
    """SuperGlue's ``*_pairs_with_gt.txt``: name0 name1 turn0 turn1 K0 (9) K1 (9) T_0to1 (16), and the turns.

    A turn says how often an image is to be rotated by 90° counter-clockwise to stand upright (``numpy.rot90``). Camera
    and pose of the file belong to the image before that.

    Raises:
        ConfigError: If a line has other columns.
        ImageError: If an image is missing.
    """
    rows = _rows(path, 38, "name0 name1 turn0 turn1 K0 (9 numbers) K1 (9) T_0to1 (16)")
    names = [tuple(_below(folder, images, word, path) for word in words[:2]) for words, _ in rows]
    turns: dict[str, int] = {}
    pairs = []
    for (name0, name1), (_, numbers), where in zip(
        names, rows, scene_of([pair[0] for pair in names], scene), strict=True
    ):
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
    rows = _rows(path, 32, "name0 name1 K0 (9 numbers) K1 (9) R (9) t (3)")
    names = [tuple(_below(folder, images, word, path) for word in words[:2]) for words, _ in rows]
    pairs = []
    for (name0, name1), (_, numbers), where in zip(
        names, rows, scene_of([pair[0] for pair in names], scene), strict=True
    ):
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


def without_half_pixel(matrix: Any) -> np.ndarray:
    """COLMAP's camera matrix for pixels whose centres are whole numbers."""
    moved = np.array(matrix, dtype=np.float64).reshape(3, 3)
    moved[:2, 2] -= 0.5
    return moved


def checked_pose(matrix: Any, what: str) -> np.ndarray:
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
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.01 or np.linalg.det(rotation) < 0:
        raise ConfigError(
            f"The pose of {what} has no rotation in its first three rows and columns, which may not be scaled or "
            "mirrored."
        )
    if np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise ConfigError(f"The pose of {what} has the last row {pose[3].tolist()}, not 0 0 0 1. Is it transposed?")
    return pose


def _posed(
    scene: str, names: tuple[str, str], cameras: tuple[PinholeCamera, PinholeCamera], pose: Any, path: Path
) -> EvaluationPair:
    """A pair, if its pose is one."""
    checked = checked_pose(pose, f"{names[0]!r} and {names[1]!r} in {str(path)!r}")
    truth = Posed(camera0=cameras[0], camera1=cameras[1], cam1_from_cam0=checked)
    return EvaluationPair(scene=scene, name0=names[0], name1=names[1], truth=truth)


def _rows(path: Path, columns: int, wanted: str) -> list[tuple[list[str], np.ndarray]]:
    """(words, the numbers after the two names) of each line."""
    rows = []
    for number, words in lines_of(path):
        if len(words) != columns:
            raise ConfigError(
                f"Line {number} of {str(path)!r} has {len(words)} columns; {columns} were wanted: {wanted}."
            )
        try:
            rows.append((words, np.array(words[2:], dtype=np.float64)))
        except ValueError as error:
            raise ConfigError(f"Line {number} of {str(path)!r}: {error}.") from None
    return rows


def _view(
    folder: Path, name: str, frame: Mapping[str, Any], images: Images, path: Path
) -> tuple[str, PinholeCamera, np.ndarray]:
    """(name below the data set's folder, camera, cam_from_world) of one entry of ``cameras.json``."""
    below = _below(folder, images, name, path)
    what = f"{below!r} in {str(path)!r}"
    try:
        stated = (int(frame["width"]), int(frame["height"])) if "width" in frame else None
        camera = camera_of(frame["K"], images.size(below, path), what, stated_size=stated)
        pose = frame["T_w2c"]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"The camera of {what} is not complete ({error}); it has K, T_w2c and, if any, width and height in pixels."
        ) from None
    return below, camera, checked_pose(pose, what)


def _below(folder: Path, images: Images, name: str, named_by: Path) -> str:
    """The name below the data set's folder of an image that a list names: in ``images/``, or beside the list."""
    if Path(name).is_absolute():
        raise ConfigError(
            f"{str(named_by)!r} names {name!r}; names must be relative to its folder, or to images/ there."
        )
    candidates = [folder / "images" / name, folder / name]
    found = next((path for path in candidates if path.is_file()), None) or image_named(folder / "images", name)
    chosen = found or candidates[0]
    below = images.name_of(chosen)
    images.size(below, named_by)  # speaks if it is missing
    return below


def _check_known(pairs: list[tuple[str, str]], frames: Mapping[str, Any], listed: Path, path: Path) -> None:
    for name in (name for pair in pairs for name in pair):
        if name not in frames:
            raise ConfigError(
                f"{str(listed)!r} names {name!r}, and {str(path)!r} has no camera of it. It has {len(frames)}, such as "
                f"{next(iter(frames), 'none')!r}."
            )


def _json_in(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}.") from None
