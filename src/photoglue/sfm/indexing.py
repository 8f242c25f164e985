"""Photos → index: what is searched, made once and brought up to date."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.batch.extract import Photos, digest_of_photo
from photoglue.batch.filling import Progress
from photoglue.datasets.photos import photos_of
from photoglue.errors import ConfigError, ImageError, OutputError, PhotoGlueWarning
from photoglue.extractors import create_extractor
from photoglue.extractors.base import Extractor
from photoglue.files import check_output
from photoglue.image import load_photo, read_image
from photoglue.precision import choose_device
from photoglue.retrieval import Describer, PhotoIndex
from photoglue.retrieval.index import quantised
from photoglue.retrieval.vlad import VOCABULARY_OF_KIND
from photoglue.store import FeatureStore

Row: TypeAlias = tuple[Tensor, Tensor]
"""Code and scale of a photo's vector."""
POINTS, SIDE = 1024, 640
"""Keypoints and pixels of the longer side: enough to search by, and to verify."""
PHOTOS_AT_ONCE = 8
CHUNKS_KEPT = 64
"""After so many chunks of photos an index is written: so many are lost at most when the process is killed."""


def index_of(
    photos: Mapping[str, Path],
    features: Path,
    *,
    network: bool = False,
    progress: Progress | None = None,
) -> PhotoIndex:
    """An index of photos whose local features are in a file; those without are left out.

    Args:
        photos: Photos by their names in that file.
        features: The file of ``batch.extract``.
        network: Whether to use EfficientNet-lite0 as well.
        progress: Called with (photos done, photos in all).

    Raises:
        ConfigError: If the file has none of the photos, of several kinds, or of a kind that no vocabulary is for.
        OutputError: If it cannot be read.
    """
    progress = progress or (lambda *_: None)
    rows: dict[str, Row] = {}
    describer: Describer | None = None
    with FeatureStore.open(features) as store:
        for done, (name, path) in enumerate(photos.items(), start=1):
            if name in store:
                found = store[name]
                describer = describer or Describer.pretrained(found.kind or "unknown", network=network)
                image = read_image(path) if describer.network is not None else None
                rows[name] = _row(describer.describe(found, image))
            progress(done, len(photos))
    if describer is None:
        raise ConfigError(f"{str(features)!r} has no features of any of the {len(photos)} photos. Extract them first.")
    codes, scales = (torch.stack(part) for part in zip(*rows.values(), strict=True))
    return PhotoIndex(names=tuple(rows), codes=codes, scales=scales, made_by=describer.name)


def index_photos(
    photos: Photos,
    index: str | os.PathLike[str],
    *,
    features: str = "aliked",
    network: bool = False,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> PhotoIndex:
    """Makes an index of photos, or brings an old one up to date, and writes it to a file.

    Photos whose content has not changed are not read again but for a hash; those that are no longer there leave the
    index. A photo that cannot be read is left out, with a warning.

    Args:
        photos: A folder, whose photos get their paths below it as names; a photo; a sequence of both; or photos by
            name.
        index: The HDF5 file, which must end in .h5; 16 KB a photo.
        features: Local features: aliked, disk or sift.
        network: Whether to use EfficientNet-lite0 as well: better, a twentieth of a second a photo.
        device: Where to compute; None: on a GPU if there is one.
        progress: Called with (photos done, photos in all).

    Raises:
        ConfigError: If there is no photo, or no vocabulary for those features.
        ImageError: If a file or folder of ``photos`` does not exist, or no photo can be read.
        OutputError: If the file cannot be written, or is something else.
        MissingExtra: If h5py is not installed.
    """
    path = Path(index)
    check_output(path, (".h5",))
    root, named = named_photos(photos)
    if not named:
        raise ConfigError("There are no photos: an index needs one at least.")
    extractor = create_extractor(features, max_keypoints=POINTS, resize=SIDE).to(choose_device(device))
    describer = Describer.pretrained(extractor.kind, network=network)
    old = PhotoIndex.load(path) if path.exists() else None
    if old is not None and old.made_by != describer.name:
        raise ConfigError(
            f"{str(path)!r} is an index by {old.made_by!r}, and this would be one by {describer.name!r}: give another "
            "file, or the same features."
        )
    made = _indexed(named, extractor, describer, old, progress, lambda part: replace(part, root=root).save(path))
    made = replace(made, root=root)
    made.save(path)
    return made


def opened_index(
    within: PhotoIndex | Photos, *, device: str | torch.device | None = None, progress: Progress | None = None
) -> PhotoIndex:
    """An index as it is, from its file, or made of photos in memory."""
    if isinstance(within, PhotoIndex):
        return within
    if isinstance(within, Sequence) and not isinstance(within, str):
        for path in within:
            if Path(path).suffix == ".h5":
                raise ConfigError(f"The index {os.fspath(path)!r} is searched alone, not together with other files.")
    if isinstance(within, str | os.PathLike) and Path(within).suffix == ".h5":
        if not Path(within).is_file():
            raise OutputError(f"There is no index {os.fspath(within)!r}: photoglue index makes one.")
        return PhotoIndex.load(within)
    root, named = named_photos(within)
    extractor = create_extractor("aliked", max_keypoints=POINTS, resize=SIDE).to(choose_device(device))
    describer = Describer.pretrained(extractor.kind)
    return replace(_indexed(named, extractor, describer, None, progress), root=root)


def extractor_for(describer: Describer, device: str | torch.device | None) -> Extractor:
    """The extractor whose features an index was made of."""
    name = VOCABULARY_OF_KIND[describer.kind]
    return create_extractor(name, max_keypoints=POINTS, resize=SIDE).to(choose_device(device))


def named_photos(photos: Photos) -> tuple[str, dict[str, Path]]:
    """The folder that names are relative to, empty if there is none, and photos by name."""
    if isinstance(photos, Mapping):
        named = {name: Path(path) for name, path in photos.items()}
        paths = {f"/{name}": path.absolute().as_posix() for name, path in named.items()}
        roots = {path.removesuffix(end) if path.endswith(end) else "" for end, path in paths.items()}
        return roots.pop() if len(roots) == 1 else "", named
    found = photos_of([photos] if isinstance(photos, str | os.PathLike) else photos)
    return str(found.root.resolve()), {name: found.path(i) for i, name in enumerate(found.names)}


def _row(vector: Float[Tensor, " f"]) -> Row:
    codes, scales = quantised(vector[None])
    return codes[0], scales[0]


class _Growing:
    """An index of photos while it is made."""

    def __init__(self, photos: Mapping[str, Path], extractor: Extractor, describer: Describer) -> None:
        self.photos, self.extractor, self.describer = photos, extractor, describer
        self.digests: dict[str, str] = {}
        self.rows: dict[str, Row] = {}
        self.skipped: dict[str, str] = {}

    def take(self, old: PhotoIndex | None) -> None:
        """Hashes all photos, and takes from an old index what has not changed."""
        known = {} if old is None else {key: row for row, key in enumerate(zip(old.names, old.digests, strict=False))}
        for name, path in self.photos.items():
            try:
                self.digests[name] = digest_of_photo(path)
            except ImageError as error:
                self.skipped[name] = str(error)
                continue
            row = known.get((name, self.digests[name]))
            if old is not None and row is not None:
                self.rows[name] = old.codes[row], old.scales[row]

    def fill(self, progress: Progress, keep: Callable[[PhotoIndex], object]) -> None:
        """Makes the vectors that are missing; ``keep`` is given what there is from time to time."""
        new = [name for name in self.digests if name not in self.rows]
        try:
            for number, start in enumerate(range(0, len(new), PHOTOS_AT_ONCE), start=1):
                progress(len(self.rows) + len(self.skipped), len(self.photos))
                self._describe(new[start : start + PHOTOS_AT_ONCE])
                if self.rows and number % CHUNKS_KEPT == 0:
                    keep(self.index())
        except KeyboardInterrupt:
            if self.rows:
                keep(self.index())
            raise
        progress(len(self.rows) + len(self.skipped), len(self.photos))

    def _describe(self, names: Sequence[str]) -> None:
        try:
            photos = [load_photo(self.photos[name]) for name in names]
            for name, photo, features in zip(names, photos, self.extractor.extract_many(photos), strict=True):
                self.rows[name] = _row(self.describer.describe(features.cpu(), photo.image))
        except ImageError as error:
            if len(names) == 1:
                self.skipped[names[0]] = str(error)
            else:
                for name in names:
                    self._describe([name])

    def index(self) -> PhotoIndex:
        """What there is, in the order of the photos."""
        names = tuple(name for name in self.photos if name in self.rows)
        codes, scales = (torch.stack(part) for part in zip(*(self.rows[name] for name in names), strict=True))
        digests = tuple(self.digests[name] for name in names)
        return PhotoIndex(names=names, codes=codes, scales=scales, made_by=self.describer.name, digests=digests)


def _indexed(
    photos: Mapping[str, Path],
    extractor: Extractor,
    describer: Describer,
    old: PhotoIndex | None,
    progress: Progress | None,
    keep: Callable[[PhotoIndex], object] = lambda index: None,  # noqa: ARG005
) -> PhotoIndex:
    growing = _Growing(photos, extractor, describer)
    growing.take(old)
    growing.fill(progress or (lambda *_: None), keep)
    first = next(iter(growing.skipped.values()), "")
    if not growing.rows:
        raise ImageError(f"None of the {len(photos)} photos can be read. The first: {first}")
    if growing.skipped:
        warnings.warn(
            f"{len(growing.skipped)} of {len(photos)} photos cannot be read and are left out. The first: {first}",
            PhotoGlueWarning,
            stacklevel=3,
        )
    return growing.index()
