"""The images of a data set: found, measured, and checked against the cameras that come with them."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from photoglue.datasets.photos import PHOTO_SUFFIXES
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning
from photoglue.geometry.camera import PinholeCamera
from photoglue.image import read_image_size

MIDDLE = (0.35, 0.65)
"""Where principal points lie, as shares of the width and height. The camera of an image of half the size, or of another
two thirds, is outside."""


class MissingImageError(ImageError):
    """A data set names an image that is not there."""

    def __init__(self, path: Path, named_by: Path | str) -> None:
        super().__init__(
            f"There is no image {str(path)!r}, which {str(named_by)!r} names. Was the data set unpacked whole, and is "
            "this its folder? Single missing files can be left out: --skip-missing (skip_missing=True)."
        )
        self.path = str(path)


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images below a folder, each opened once for its size."""

    folder: Path
    """What names are relative to."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """(width, height) of those asked for, pixels, upright as their EXIF tag says."""
    skip_missing: bool = False
    """Leave out what needs an image that is missing, instead of an error."""
    left_out: list[str] = field(default_factory=list)
    """The missing image of each pair or photo that was left out."""

    @contextmanager
    def unless_missing(self) -> Iterator[None]:
        """A block that makes one pair or photo; with ``skip_missing``, a missing image ends it without an error."""
        try:
            yield
        except MissingImageError as error:
            if not self.skip_missing:
                raise
            self.left_out.append(error.path)

    def name_of(self, path: Path) -> str:
        """The path below the folder, with slashes."""
        return path.relative_to(self.folder).as_posix()

    def size(self, name: str, named_by: Path | str) -> tuple[int, int]:
        """(width, height) of an image in pixels, without reading all of it.

        Args:
            name: Its path below the folder.
            named_by: The file that says that there is this image, for messages.

        Raises:
            MissingImageError: If it is not there.
            ImageError: If it is no image.
        """
        if name not in self.sizes:
            path = self.folder / name
            if not path.is_file():
                raise MissingImageError(path, named_by)
            self.sizes[name] = read_image_size(path)
        return self.sizes[name]


def image_named(folder: Path, stem: str) -> Path | None:
    """The image of that name in a folder, whatever its ending; None if there is none."""
    endings = [*PHOTO_SUFFIXES, *(suffix.upper() for suffix in PHOTO_SUFFIXES)]
    return next((path for ending in endings if (path := folder / f"{stem}{ending}").is_file()), None)


def camera_of(
    matrix: Any, image_size: tuple[int, int], what: str, *, stated_size: tuple[int, int] | None = None
) -> PinholeCamera:
    """The camera of an image, if it can be one.

    Args:
        matrix: Nine numbers row by row, or three rows of three; pixels, the centre of the top-left pixel is (0, 0).
        image_size: (width, height) of the image file, pixels.
        what: Whose camera this is, for messages.
        stated_size: The size of the image that the data set says it belongs to.

    Raises:
        ConfigError: If it is no camera matrix, or does not fit the size of the image.
    """
    width, height = image_size
    if stated_size is not None and stated_size != image_size:
        raise ConfigError(
            f"The camera of {what} belongs to an image of {stated_size[0]} × {stated_size[1]} pixels, and the file has "
            f"{width} × {height}. Was it resized? Scale the camera with it."
        )
    try:
        numbers = np.asarray(matrix, dtype=np.float64).reshape(9)
        camera = PinholeCamera.parse(" ".join(repr(float(number)) for number in numbers), image_size)
    except (ConfigError, ValueError, TypeError) as error:
        raise ConfigError(f"The camera of {what} is not valid: {error}") from None
    if not (0 <= camera.cx < width and 0 <= camera.cy < height):
        raise ConfigError(
            f"The camera of {what} has its principal point at ({camera.cx:.0f}, {camera.cy:.0f}), outside its image of "
            f"{width} × {height} pixels. It must be that of an image of another size."
        )
    low, high = MIDDLE
    if not (low * width <= camera.cx <= high * width and low * height <= camera.cy <= high * height):
        warnings.warn(
            f"The camera of {what} has its principal point at ({camera.cx:.0f}, {camera.cy:.0f}), far from the middle "
            f"of its image of {width} × {height} pixels. Is it that of an image of another size?",
            PhotoGlueWarning,
            stacklevel=2,
        )
    return camera


def numbers_in(path: Path, count: int) -> np.ndarray:
    """So many numbers from a text file.

    Raises:
        ConfigError: If it holds anything else.
    """
    try:
        numbers = np.array(path.read_text().split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read as numbers: {error}.") from None
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ConfigError(f"{str(path)!r} has {len(numbers)} numbers; {count} finite ones were wanted.")
    return numbers


def lines_of(path: Path) -> list[tuple[int, list[str]]]:
    """(number from 1, words) of the lines of a text file that are not empty and no comment.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}.") from None
    rows = [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1)]
    return [(number, words) for number, words in rows if words and not words[0].startswith("#")]


def scene_of(names: Sequence[str], default: str) -> list[str]:
    """The scene of each image: the first folder on its path in which they differ; ``default`` if none do."""
    folders = [name.split("/")[:-1] for name in names]
    for level in range(min(map(len, folders), default=0)):
        found = [parts[level] for parts in folders]
        if len(set(found)) > 1:
            return found
    return [default] * len(names)
