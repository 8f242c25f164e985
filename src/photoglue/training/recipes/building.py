"""Building the files that a run reads: once, however many processes train."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from photoglue.datasets.photos import SkippedPhoto
from photoglue.store.cache import FeatureCache
from photoglue.training.distributed import is_first
from photoglue.training.pairs.caches import CacheSummary, summarise
from photoglue.training.progress import Hooks

SHOWN = 10
"""Skipped photos that are listed one by one; if there are more, a file has them all."""


def build_once(path: Path, build: Callable[[], CacheSummary], folder: Path, hooks: Hooks) -> CacheSummary:
    """Build a cache in the first of several processes, and say what was skipped; the others wait until it is there.

    Args:
        path: The file.
        build: Makes it, or checks the one that is there.
        folder: Folder of the run, for the list of skipped photos.
        hooks: They are called with the skipped photos, and if the work is interrupted.
    """
    if not is_first():
        while not path.exists():
            time.sleep(0.5)
        return summarise(FeatureCache.open(path))
    try:
        summary = build()
    except KeyboardInterrupt:
        hooks.on_message("What has been extracted is kept: the same command goes on from there.")
        raise
    list_skipped(hooks, summary.skipped, folder / f"{path.name}.skipped.txt")
    return summary


def build_workers(asked: int | None, photos: int) -> int:
    """Number of processes that extract: as many as were asked for, or one a core; for a few photos this one alone."""
    if asked is not None:
        return asked
    return (os.cpu_count() or 1) if photos > 16 else 0


def list_skipped(hooks: Hooks, skipped: tuple[SkippedPhoto, ...], path: Path) -> None:
    """Say which photos are not used, and why: the first ten, and how many more, all of which a file then lists.

    Args:
        hooks: They are called with a message for each line.
        skipped: The photos.
        path: The file, which is written only if not all are shown.
    """
    lines = [f"{photo.name}: {photo.reason}" for photo in skipped]
    for line in lines[:SHOWN]:
        hooks.on_message(f"skipped: {line}")
    if len(lines) > SHOWN:
        # A file's name need not be text.
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="backslashreplace")
        hooks.on_message(f"skipped: and {len(lines) - SHOWN} more photos; all {len(lines)} are listed in {path}")


def readable_size(count: int | float) -> str:
    """A number of bytes for people, such as "1.4 GB"."""
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} GB"
