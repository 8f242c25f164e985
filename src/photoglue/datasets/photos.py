"""The photos that training is made of: found below a folder, and checked before the work begins."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from photoglue.errors import ConfigError
from photoglue.image import read_image, to_rgb

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".ppm", ".pgm"})


@dataclass(frozen=True, kw_only=True)
class SkippedPhoto:
    """A photo that is not used."""

    name: str
    """Path below the folder, with slashes."""
    reason: str
    """For people."""


@dataclass(frozen=True, kw_only=True)
class PhotoFolder:
    """The photos below a folder that can be used."""

    root: Path
    names: tuple[str, ...]
    """Paths below ``root``, with slashes, sorted: the same on every machine."""
    skipped: tuple[SkippedPhoto, ...] = ()
    """Those that cannot be used, sorted by name."""

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """Where a photo is."""
        return self.root / self.names[index]


def find_photos(
    folder: str | os.PathLike[str], *, only: str | os.PathLike[str] | None = None, min_side: int = 160
) -> PhotoFolder:
    """All photos below a folder. Only their headers are read, so damage further on shows when they are used.

    Args:
        folder: Searched with all its subfolders; hidden files and folders are left out.
        only: A text file with a name below the folder in each line, or a table with the names in the first of its
            columns, separated by tabs; blank lines, those that begin with "#" and a heading "file" are passed over.
            Names that are not in the folder are among ``skipped``.
        min_side: A photo with a shorter side is skipped, pixels.

    Raises:
        ConfigError: If the folder or the list does not exist, or no photo is left.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "is a file; a folder of photos was wanted" if root.exists() else "does not exist"
        raise ConfigError(f"The folder {str(root)!r} {what}.")
    wanted = _names_below(root) if only is None else _names_in(Path(only))
    reasons = {name: _problem(root / name, min_side) for name in wanted}
    skipped = tuple(SkippedPhoto(name=name, reason=reason) for name, reason in reasons.items() if reason)
    names = tuple(name for name, reason in reasons.items() if not reason)
    if not names:
        raise ConfigError(_nothing_left(root, skipped))
    return PhotoFolder(root=root, names=names, skipped=skipped)


def read_photo(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "h w 3"]:
    """The photo in a file, upright, RGB.

    Raises:
        ImageError: If it cannot be read.
    """
    image = to_rgb(read_image(path))
    return np.ascontiguousarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def _names_below(root: Path) -> list[str]:
    names = []
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        names += [
            Path(folder, name).relative_to(root).as_posix()
            for name in files
            if Path(name).suffix.lower() in PHOTO_SUFFIXES and not name.startswith(".")
        ]
    return sorted(names)


def _names_in(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The list of photos {str(path)!r} cannot be read as text: {error}.") from error
    names = [line.split("\t")[0].strip() for line in lines if not line.startswith("#")]
    if names and names[0] == "file":
        del names[0]
    if not any(names):
        raise ConfigError(f"The list {str(path)!r} names no photo.")
    return sorted({name for name in names if name})


def _problem(path: Path, min_side: int) -> str:
    """Why a photo cannot be used, as far as its header tells; empty if it can."""
    if not path.is_file():
        return "in the list, but not in the folder"
    try:
        with PIL.Image.open(path) as picture:
            width, height = picture.size
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        return f"unreadable ({type(error).__name__})"
    if min(width, height) < min_side:
        return f"{width} × {height} pixels; the shorter side must have at least {min_side}"
    return ""


def _nothing_left(root: Path, skipped: tuple[SkippedPhoto, ...]) -> str:
    if not skipped:
        return f"There are no photos below {str(root)!r} (files that end in {', '.join(sorted(PHOTO_SUFFIXES))})."
    reasons = "; ".join(f"{photo.name}: {photo.reason}" for photo in skipped[:3])
    more = "; …" if len(skipped) > 3 else ""
    return f"None of the {len(skipped)} photos below {str(root)!r} can be used ({reasons}{more})."
