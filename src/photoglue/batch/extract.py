"""Photos → feature store."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from photoglue.batch.engine import Engine, Inline
from photoglue.batch.filling import ENTRIES, Filling, Progress, Summary, compared
from photoglue.datasets.photos import PHOTO_SUFFIXES, PhotoFolder, photos_of
from photoglue.errors import ConfigError, ImageError
from photoglue.extractors.base import Extractor, extractor_options
from photoglue.files import digest_of_file
from photoglue.limits.rotation import extract_turned
from photoglue.store import FeatureStore
from photoglue.structs import Features

PHOTOS_AT_ONCE = 8
"""Photos of a chunk: so many are lost at most when the process is killed."""
STALE = {"photo": "replaced since", "mask": "whose mask changed", "quarters": "turned otherwise before"}

Place: TypeAlias = str | os.PathLike[str]
Photos: TypeAlias = Place | Sequence[Place] | Mapping[str, Place]
"""A folder or photo, several of them, or photos by the names that they shall have in the store."""
Extracted: TypeAlias = tuple[Features, dict[str, Any]]
"""Features and what they were made from."""


def extract(
    photos: Photos,
    store: Place,
    extractor: Extractor,
    *,
    masks: Place | Mapping[str, Path] | None = None,
    quarters: Mapping[str, int] | None = None,
    options: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Extracts features of many photos into an HDF5 file that hloc reads, too.

    Photos that are in the file are left alone if nothing changed that their features depend on: the content of the
    photo and of its mask. A photo that cannot be read is reported, and the others go on. When this is interrupted, even
    by ``kill -9``, the same call goes on from there; at most the chunks being worked on are done again.

    Args:
        photos: A folder, whose photos get their paths below it as names; a photo; a sequence of both; or photos by
            name.
        store: The HDF5 file; made, or added to. Until all is done the work is in a file beside it, with ".partial".
        extractor: Its kind, all of its options and its weights are recorded in the file.
        masks: A folder with a mask for PHOTO.jpg as PHOTO.jpg.png (COLMAP's naming), PHOTO.png or PHOTO.jpg, or masks
            by the names of the photos. No points where a mask is black; a photo without one may have points
            everywhere, and the summary says which. Masks are in the stored pixels of their photos.
        quarters: By how many quarters, 0 to 3, photos are turned counterclockwise before the extractor sees them, by
            name; their points are those of the photos as read. Those that are not named are not turned.
        options: What the features depend on besides, under names that the extractor's
            options do not have; anything that JSON can hold.
        engine: Where the work is done; None: in this process. ``Processes(workers=4)`` uses four others, and
            ``Ray(workers=4, address="auto")`` a cluster.
        progress: Called with (photos done, photos in all).

    Returns:
        What was done, what was stale and why, and what could not be read.

    Raises:
        ConfigError: If the file was made with other options or weights (the message names them), there is no photo, or
            no photo has a mask.
        ImageError: If a file or folder of ``photos`` does not exist.
        OutputError: If the file cannot be written, as when the disk is full. What was done is kept.
        MissingExtra: If h5py is not installed.
    """
    engine = (engine or Inline()).checked_for(extractor.device)
    found = PhotoFolder(root=Path(), names=())
    if isinstance(photos, Mapping):
        paths = {name: Path(path) for name, path in photos.items()}
    else:
        found = photos_of([photos] if isinstance(photos, str | os.PathLike) else photos)
        paths = {name: found.path(i) for i, name in enumerate(found.names)}
    notes: Sequence[str] = ()
    if masks is not None and not isinstance(masks, Mapping):
        masks, several = masks_in(masks, list(paths))
        notes = [_about_masks(paths, masks), *several.values()]
    made_from = _MadeFrom(photos=paths, masks=dict(masks or {}), quarters=dict(quarters or {}))
    filling = Filling(
        store=FeatureStore,
        options={**(options or {}), **extractor_options(extractor)},
        stale=lambda opened, name: _stale(opened, name, made_from),
        chunks=lambda names: [names[i : i + PHOTOS_AT_ONCE] for i in range(0, len(names), PHOTOS_AT_ONCE)],
        work=_work,
        state=(extractor, made_from),
        write=FeatureStore.write,
        what="photo",
    )
    summary = filling.run(store, list(paths), engine, progress)
    skipped = {photo.name: photo.reason for photo in found.skipped}
    return replace(summary, failed={**skipped, **summary.failed}, hidden=found.hidden, notes=tuple(notes))


def _about_masks(photos: Mapping[str, Path], masks: Mapping[str, Path]) -> str:
    without = [name for name in photos if name not in masks]
    listed = f"; without: {', '.join(without[:5])}{', …' * (len(without) > 5)}" if without else ""
    return f"masks for {len(masks)} of {len(photos)} photos{listed}"


def masks_in(folder: Place, names: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """The masks of photos in a folder: NAME.jpg.png, NAME.png or another image NAME, for a photo NAME.jpg.

    Args:
        folder: The folder of masks, with the same subfolders as that of the photos.
        names: Photos by their paths below their own folder.

    Returns:
        Masks by the names of the photos, for those that have one; and for photos with several a note which is used.

    Raises:
        ConfigError: If there is no such folder, or not one photo has a mask.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"There is no folder of masks {str(folder)!r}.")
    found: dict[str, Path] = {}
    notes: dict[str, str] = {}
    for name in names:
        stem = Path(name).with_suffix("").as_posix()
        candidates = [f"{name}.png", f"{stem}.png", name, *(f"{stem}{suffix}" for suffix in PHOTO_SUFFIXES)]
        there = [path for path in dict.fromkeys(candidates) if (folder / path).is_file()]
        if there:
            found[name] = folder / there[0]
        if len(there) > 1:
            notes[name] = f"{name} has {len(there)} masks; {there[0]} is used, not {', '.join(there[1:])}"
    if not found:
        raise ConfigError(
            f"None of the {len(names)} photos has a mask in {str(folder)!r}: that of {names[0]!r} would be "
            f"{names[0] + '.png'!r} or {Path(names[0]).with_suffix('.png').as_posix()!r}."
        )
    return found, notes


def made_from_photo(photo: Path, mask: Path | None, quarters: int = 0) -> dict[str, Any]:
    """What features depend on besides the options of the extractor: what is kept with those of a photo."""
    return {
        "version": ENTRIES,
        "photo": digest_of_photo(photo),
        "mask": None if mask is None else digest_of_photo(mask),
        "quarters": quarters or None,
    }


@dataclass(frozen=True, kw_only=True)
class _MadeFrom:
    """What the features of many photos depend on besides the options of the extractor."""

    photos: Mapping[str, Path]
    masks: Mapping[str, Path]
    quarters: Mapping[str, int]

    def record(self, name: str) -> dict[str, Any]:
        """What is kept with the features of a photo."""
        return made_from_photo(self.photos[name], self.masks.get(name), self.quarters.get(name, 0))


def digest_of_photo(path: Path) -> str:
    """A name for the content of a file, read whole.

    Raises:
        ImageError: If it cannot be read.
    """
    if not path.is_file():  # a pipe would be waited for
        raise ImageError(f"There is no file {str(path)!r}, or it is a folder, pipe or device.")
    try:
        return digest_of_file(path)
    except OSError as error:
        raise ImageError(f"{str(path)!r} cannot be read: {error.strerror}.") from error


def _stale(store: FeatureStore, name: str, made_from: _MadeFrom) -> str | None:
    """Why the features of a photo have to be extracted; None: they are up to date and whole."""
    if name not in store:
        return ""
    recorded = store.made_from(name)
    try:
        why = compared(recorded, made_from.record(name), STALE)
    except ImageError:
        return STALE["photo"]
    if why is None:
        store[name]  # all of it, so that damage is found now and not in the middle of the matching
    return why


def _work(state: tuple[Extractor, _MadeFrom], names: Sequence[str]) -> list[tuple[str, Extracted | str]]:
    """What each photo of a chunk gives."""
    extractor, given = state
    photos, masks = [given.photos[name] for name in names], [given.masks.get(name) for name in names]
    quarters = [given.quarters.get(name, 0) for name in names]
    try:
        records = [given.record(name) for name in names]
        if any(quarters):
            features = extract_turned(extractor, photos, quarters, masks)
        else:
            features = extractor.extract_many(photos, masks)
    except (ImageError, MemoryError) as error:
        if len(names) > 1:
            return [result for name in names for result in _work(state, [name])]
        return [(names[0], str(error) or "it does not fit into memory")]
    return [(name, (each.cpu(), record)) for name, each, record in zip(names, features, records, strict=True)]
