"""Data sets of planes and of hand-made points: HPatches, Oxford-affine, EVD; WxBS."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.images import Images, image_named, numbers_in
from photoglue.datasets.truths import Marked, Planar
from photoglue.errors import ConfigError

# Homographies of a sequence by their names: in HPatches, and in Oxford-affine as released.
SEQUENCES = {r"H_1_(.+?)(?:\.txt)?": "{}", r"H1to(\d+)p(?:\.txt)?": "img{}"}
"""Pattern of the names of homographies from image 1 → the name of an image by its number."""


def is_sequence(folder: Path) -> bool:
    """Whether a folder has an image 1 and homographies from it, such as ``1.ppm`` and ``H_1_2``."""
    return bool(_sequence_files(folder))


def sequence(folder: Path, images: Images, scene: str) -> list[EvaluationPair]:
    """A sequence of HPatches or Oxford-affine: image 1 with each image k that has a homography.

    The files are ``1.ppm``, ``2.ppm``, … with ``H_1_k``, or ``img1.ppm``, ``img2.ppm``, … with ``H1tokp``. The
    homography takes pixels of image 1 to those of image k.

    Raises:
        ConfigError: If a homography is damaged.
        ImageError: If an image is missing.
    """
    return _pairs([(*files, scene) for files in _sequence_files(folder)], images)


def _sequence_files(folder: Path) -> list[tuple[Path, Path, Path]]:
    """(homography, image 1, image k) for each image k of a sequence."""
    for pattern, name in SEQUENCES.items():
        first = image_named(folder, name.format(1))
        numbered = [(match[1], path) for path in folder.glob("H*1*") if (match := re.fullmatch(pattern, path.name))]
        if first is not None and numbered:
            return [
                (path, first, image_named(folder, name.format(k)) or folder / f"{name.format(k)}{first.suffix}")
                for k, path in sorted(numbered, key=lambda each: (len(each[0]), each[0]))
            ]
    return []


def is_evd(folder: Path) -> bool:
    """Whether a folder has EVD's folders ``1``, ``2`` and ``h``."""
    return all((folder / part).is_dir() for part in ("1", "2")) and any((folder / "h").glob("*.txt"))


def evd(folder: Path, images: Images) -> list[EvaluationPair]:
    """EVD as released: ``1/NAME.png`` and ``2/NAME.png`` for each scene, with a homography ``h/NAME.txt``.

    The homography takes pixels of image 1 to those of image 2.

    Raises:
        ConfigError: If a homography is damaged.
        ImageError: If an image is missing.
    """
    rows = []
    for path in sorted((folder / "h").glob("*.txt")):
        first, second = (image_named(folder / part, path.stem) or folder / part / f"{path.stem}.png" for part in "12")
        rows.append((path, first, second, images.name_of(folder / path.stem)))
    return _pairs(rows, images)


def _pairs(rows: Sequence[tuple[Path, Path, Path, str]], images: Images) -> list[EvaluationPair]:
    """The pairs of (file of a homography, image 0, image 1, scene)."""
    pairs = []
    for row in rows:
        with images.unless_missing():
            pairs.append(_pair(*row, images))
    return pairs


def _pair(path: Path, first: Path, second: Path, scene: str, images: Images) -> EvaluationPair:
    matrix = numbers_in(path, 9).reshape(3, 3)
    if np.linalg.matrix_rank(matrix) < 3:
        raise ConfigError(f"{str(path)!r} is no homography: its matrix cannot be inverted.")
    name0, name1 = images.name_of(first), images.name_of(second)
    for name in (name0, name1):
        images.size(name, path)
    return EvaluationPair(scene=scene, name0=name0, name1=name1, truth=Planar(image1_from_image0=matrix))


def is_marked(folder: Path) -> bool:
    """Whether a folder has correspondences made by hand: WxBS."""
    return (folder / "corrs.txt").is_file()


def marked_pair(folder: Path, images: Images, scene: str) -> list[EvaluationPair]:
    """A pair of WxBS: ``01``, ``02`` and ``corrs.txt`` with x1 y1 x2 y2 a line, pixels.

    Raises:
        ConfigError: If the points are damaged, or lie outside their images.
        ImageError: If an image is missing.
    """
    path = folder / "corrs.txt"
    names = [images.name_of(image_named(folder, stem) or folder / f"{stem}.png") for stem in ("01", "02")]
    try:
        count = len(path.read_text().split())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}.") from None
    points = numbers_in(path, max(4, count // 4 * 4)).reshape(-1, 4)
    pairs = []
    with images.unless_missing():
        for name, there in zip(names, (points[:, :2], points[:, 2:]), strict=True):
            width, height = images.size(name, path)
            if (there < -1).any() or (there > [width, height]).any():
                raise ConfigError(f"{str(path)!r} has points outside {name!r}, which has {width} × {height} pixels.")
        truth = Marked(points0=points[:, :2].copy(), points1=points[:, 2:].copy())
        pairs.append(EvaluationPair(scene=scene, name0=names[0], name1=names[1], truth=truth))
    return pairs
