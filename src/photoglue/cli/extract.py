"""`photoglue extract IMAGES… --store feats.h5`: features of many photos into one file."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import track

from photoglue.cli.match import FeaturesName
from photoglue.errors import ConfigError, ImageError
from photoglue.extractors import create_extractor
from photoglue.precision import choose_device
from photoglue.store import FeatureStore, atomic_store

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".ppm", ".pgm", ".heic", ".heif"}
)


@dataclass(frozen=True, kw_only=True)
class Extract:
    """Extract local features of photos into an HDF5 file that hloc reads, too. Photos that are in it are skipped."""

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Photos, or folders of photos."""
    store: Path
    """The HDF5 file; made, or added to."""
    features: FeaturesName = "aliked"
    """Which local features."""
    max_keypoints: int | None = 2048
    """At most so many points in each photo, the best; None: all."""
    resize: int | None = 1024
    """Length of the longer side that the extractor sees, in pixels; None: the photo as it is."""
    masks: Path | None = None
    """A folder with a mask for PHOTO.jpg as PHOTO.jpg.png (COLMAP's naming); no points where it is black."""
    device: str | None = None
    """Where to compute, such as cpu or cuda:0; None: on a GPU if there is one."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially."""

    def run(self, console: Console) -> int:
        """Do it; 1 if a photo could not be read (the others are stored)."""
        files = named_files(self.images)
        device = choose_device(self.device)
        extractor = create_extractor(
            self.features,
            allow_noncommercial=self.allow_noncommercial,
            max_keypoints=self.max_keypoints,
            resize=self.resize,
        ).to(device)
        options = {
            "features": extractor.kind,
            "max_keypoints": self.max_keypoints,
            "resize": self.resize,
            "masks": None if self.masks is None else str(self.masks),
        }
        failed: list[str] = []
        points = skipped = 0
        with atomic_store(self.store, options, FeatureStore) as store:
            for name, path in track(files.items(), "extracting", console=console, transient=True):
                if name in store:
                    skipped += 1
                    continue
                try:
                    features = extractor.extract(path, self._mask_of(name))
                except ImageError as error:
                    failed.append(str(error))
                    continue
                store.write(name, features.cpu())
                points += len(features)
        done = len(files) - skipped - len(failed)
        console.print(f"{done} photos, {points} points ({extractor.kind}) → {self.store}", soft_wrap=True)
        if skipped:
            console.print(f"{skipped} photos were there already")
        for message in failed:
            console.print(f"[red]skipped:[/red] {message.replace('[', chr(92) + '[')}", soft_wrap=True)
        return 1 if failed else 0

    def _mask_of(self, name: str) -> Path | None:
        if self.masks is None:
            return None
        mask = self.masks / f"{name}.png"
        return mask if mask.is_file() else None


def named_files(sources: tuple[Path, ...]) -> dict[str, Path]:
    """Photos by the name that they get in the store: their path below the folder given, or below what they share.

    Raises:
        ImageError: If a file or folder does not exist.
        ConfigError: If there is no photo at all.
    """
    files: list[Path] = []
    for source in sources:
        if not source.exists():
            raise ImageError(f"There is no file or folder {str(source)!r}.")
        files += _photos_in(source) if source.is_dir() else [source]
    if not files:
        raise ConfigError(f"There are no photos in {', '.join(str(source) for source in sources)}.")
    if len(sources) == 1 and sources[0].is_dir():
        root = sources[0]
    else:
        root = Path(os.path.commonpath([file.absolute().parent for file in files]))
    return {file.absolute().relative_to(root.absolute()).as_posix(): file for file in sorted(files)}


def _photos_in(folder: Path) -> list[Path]:
    def found() -> Iterator[Path]:
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
                yield path

    return sorted(found())
