"""The photos of a folder: one list of endings and one search, for extraction, evaluation, training and mapping."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from photoglue.errors import ConfigError, ImageError
from photoglue.files import write_whole
from photoglue.image import Resize, read_image, read_image_size, to_rgb

PHOTO_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif", ".avif",
)  # fmt: skip
"""Endings of photos, in lower case; a file's may have capitals."""
NO_PHOTOS_INSIDE = frozenset({"@eaDir", "@Recycle", "#recycle", "$RECYCLE.BIN", "__MACOSX"})
"""Folders in which storage servers and archives keep thumbnails, metadata and what was deleted."""


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
    hidden: int = 0
    """How many hidden files and folders were left out, such as ``._IMG_1.JPG``, ``.thumbnails`` and ``@eaDir``."""

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """Where a photo is."""
        return self.root / self.names[index]


def photos_below(folder: str | os.PathLike[str]) -> PhotoFolder:
    """All files below a folder that have a photo's ending; none is opened.

    Hidden files and folders are left out and counted. Files whose names are not UTF-8, which no store can hold, pipes,
    devices, broken links and folders that cannot be listed are among ``skipped``.
    """
    root = Path(folder)
    names: list[str] = []
    skipped: list[SkippedPhoto] = []
    hidden = 0
    seen: set[str] = set()

    def unlisted(error: OSError) -> None:
        skipped.append(SkippedPhoto(name=_printable(error.filename), reason=f"cannot be listed: {error.strerror}"))

    for place, subfolders, files in os.walk(root, onerror=unlisted, followlinks=True):
        seen.add(os.path.realpath(place))
        visible = [name for name in subfolders if not name.startswith(".") and name not in NO_PHOTOS_INSIDE]
        photos = [name for name in files if Path(name).suffix.lower() in PHOTO_SUFFIXES]
        shown = [name for name in photos if not name.startswith(".")]
        hidden += len(subfolders) - len(visible) + len(photos) - len(shown)
        # A link may lead back to a folder that this one is in.
        subfolders[:] = [name for name in visible if os.path.realpath(os.path.join(place, name)) not in seen]  # noqa: PTH118
        for name in shown:
            path = Path(place, name)
            problem = _unusable(path)
            if problem:
                skipped.append(SkippedPhoto(name=_printable(path.relative_to(root).as_posix()), reason=problem))
            else:
                names.append(path.relative_to(root).as_posix())
    skipped.sort(key=lambda photo: photo.name)
    return PhotoFolder(root=root, names=tuple(sorted(names)), skipped=tuple(skipped), hidden=hidden)


def photos_of(sources: Sequence[str | os.PathLike[str]]) -> PhotoFolder:
    """Photos of folders, and photos given one by one, under their paths below the one folder that all are in.

    Args:
        sources: Files, whatever their endings, and folders.

    Raises:
        ImageError: If a source does not exist.
        ConfigError: If there is no photo at all.
    """
    paths = [Path(source) for source in sources]
    for path in paths:
        if not path.exists():
            raise ImageError(f"There is no file or folder {str(path)!r}.")
    if not paths:
        raise ConfigError("There are no photos: no file or folder was given.")
    found = photos_below(paths[0]) if len(paths) == 1 and paths[0].is_dir() else _together(paths)
    if not found.names:
        raise ConfigError(_nothing_left(", ".join(repr(str(path)) for path in paths), found))
    return found


def _together(paths: Sequence[Path]) -> PhotoFolder:
    """Files and folders as one; a photo that is given twice counts once."""
    folders = [photos_below(path.absolute()) for path in paths if path.is_dir()]
    files = [path.absolute() for path in paths if not path.is_dir()]
    root = Path(os.path.commonpath([*(folder.root for folder in folders), *(file.parent for file in files)]))
    problems = {file: _unusable(file) for file in files}
    found = {file for file, problem in problems.items() if not problem}
    found |= {folder.path(i) for folder in folders for i in range(len(folder))}
    skipped = [photo for folder in folders for photo in folder.skipped]
    skipped += [
        SkippedPhoto(name=_printable(file.name), reason=problem) for file, problem in problems.items() if problem
    ]
    return PhotoFolder(
        root=root,
        names=tuple(sorted(path.relative_to(root).as_posix() for path in found)),
        skipped=tuple(skipped),
        hidden=sum(folder.hidden for folder in folders),
    )


def _unusable(path: Path) -> str:
    """Why a file cannot be a photo that is stored under its name, without opening it; empty if it can."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    return "" if path.is_file() else "no regular file (a pipe, device or broken link)"


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def find_photos(
    folder: str | os.PathLike[str], *, only: str | os.PathLike[str] | None = None, min_side: int = 160
) -> PhotoFolder:
    """All photos below a folder that training can use.

    Only their headers are read, so damage further on shows when they are used.

    Args:
        folder: Searched with all its subfolders; see ``photos_below``.
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
    found = photos_below(root) if only is None else PhotoFolder(root=root, names=tuple(_names_in(Path(only))))
    reasons = {name: _problem(root / name, min_side) for name in found.names}
    skipped = [*found.skipped, *(SkippedPhoto(name=name, reason=reason) for name, reason in reasons.items() if reason)]
    usable = replace(
        found,
        names=tuple(name for name, reason in reasons.items() if not reason),
        skipped=tuple(sorted(skipped, key=lambda photo: photo.name)),
    )
    if not usable.names:
        raise ConfigError(_nothing_left(repr(str(root)), usable))
    return usable


def read_photo(path: str | os.PathLike[str], size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """The photo in a file, upright, RGB.

    Args:
        path: The file.
        size: (width, height) to scale it to, pixels; None: as it is.

    Raises:
        ImageError: If it cannot be read.
    """
    image = to_rgb(read_image(path))
    if size is not None:
        image = Resize(original_size=(image.shape[2], image.shape[1]), resized_size=size).apply(image)
    return np.ascontiguousarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def pairs_in(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """The pairs of a list: two names in each line, with spaces between them, or a tab if names have spaces.

    Raises:
        ConfigError: If it cannot be read, or a line has not two names.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()  # Windows marks a text as UTF-8
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The list of pairs {str(path)!r} cannot be read as text: {error}.") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        words = line.strip().split("\t") if "\t" in line else line.split()
        if words and len(words) != 2:
            raise ConfigError(
                f"Line {number} of {str(path)!r} has {len(words)} names; a pair has two, with a space or, if names "
                "have spaces, a tab between them."
            )
        if words:
            pairs.append((words[0], words[1]))
    return pairs


def write_pairs(pairs: Iterable[tuple[str, str]], path: str | os.PathLike[str]) -> None:
    """Writes a list of pairs as hloc and ``pairs_in`` read them: two names in each line, with a space between them.

    Where a name has a space, there is a tab between the two, which ``pairs_in`` reads and hloc does not.

    Raises:
        ConfigError: If a name cannot stand in such a file, because of a tab, a line break or a space at its end.
        OutputError: If the file cannot be written.
    """
    lines = []
    for pair in pairs:
        check_listable(pair)
        spaced = any(len(name.split()) > 1 for name in pair)
        lines.append(("\t" if spaced else " ").join(pair) + "\n")
    write_whole(Path(path), "".join(lines).encode())


def check_listable(names: Iterable[str]) -> None:
    """Refuses names that a list of pairs cannot hold.

    Raises:
        ConfigError: If one has a tab, a line break, or a blank at its ends.
    """
    for name in names:
        if "\t" in name or name != name.strip() or name.splitlines() != [name]:
            raise ConfigError(
                f"The name {name!r} has a tab, a line break or a blank at its end, which a list of pairs cannot hold: "
                "rename the photo."
            )


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
        width, height = read_image_size(path, upright=False)
    except ImageError as error:
        return f"unreadable: {error}"
    if min(width, height) < min_side:
        return f"{width} × {height} pixels; the shorter side must have at least {min_side}"
    return ""


def _nothing_left(where: str, found: PhotoFolder) -> str:
    hidden = f"; {found.hidden} hidden files and folders were left out" if found.hidden else ""
    if not found.skipped:
        return f"There are no photos below {where} (files that end in {', '.join(sorted(PHOTO_SUFFIXES))}){hidden}."
    reasons = "; ".join(f"{photo.name}: {photo.reason}" for photo in found.skipped[:3])
    more = "; …" if len(found.skipped) > 3 else ""
    return f"None of the {len(found.skipped)} photos below {where} can be used ({reasons}{more}){hidden}."
