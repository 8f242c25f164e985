"""Data sets of planes and of hand-made points: HPatches, Oxford-affine, EVD; WxBS."""

from pathlib import Path

import numpy as np

from photoglue.datasets.base import EvaluationPair
from photoglue.datasets.images import Images, image_named, numbers_in
from photoglue.datasets.truths import Marked, Planar
from photoglue.errors import ConfigError


def is_sequence(folder: Path) -> bool:
    """Whether a folder has an image 1 and homographies from it, such as ``H_1_2``."""
    return image_named(folder, "1") is not None and any(folder.glob("H_1_*"))


def sequence(folder: Path, images: Images, scene: str) -> list[EvaluationPair]:
    """A sequence of HPatches, Oxford-affine or EVD: image 1 with each image k that has a homography ``H_1_k``.

    The homography takes pixels of image 1 to those of image k.

    Raises:
        ConfigError: If a homography is damaged.
        ImageError: If an image is missing.
    """
    first = image_named(folder, "1")
    assert first is not None
    pairs = []
    for path in sorted(folder.glob("H_1_*"), key=lambda path: (len(path.name), path.name)):
        number = path.name.removeprefix("H_1_").removesuffix(".txt")
        second = image_named(folder, number) or folder / f"{number}{first.suffix}"
        matrix = numbers_in(path, 9).reshape(3, 3)
        if np.linalg.matrix_rank(matrix) < 3:
            raise ConfigError(f"{str(path)!r} is no homography: its matrix cannot be inverted.")
        for image in (first, second):
            images.size(images.name_of(image), path)
        pairs.append(
            EvaluationPair(
                scene=scene,
                name0=images.name_of(first),
                name1=images.name_of(second),
                truth=Planar(image1_from_image0=matrix),
            )
        )
    return pairs


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
    for name, there in zip(names, (points[:, :2], points[:, 2:]), strict=True):
        width, height = images.size(name, path)
        if (there < -1).any() or (there > [width, height]).any():
            raise ConfigError(f"{str(path)!r} has points outside {name!r}, which has {width} × {height} pixels.")
    truth = Marked(points0=points[:, :2].copy(), points1=points[:, 2:].copy())
    return [EvaluationPair(scene=scene, name0=names[0], name1=names[1], truth=truth)]
