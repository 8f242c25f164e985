"""What the caches of training share: one loop that fills them photo by photo, and goes on where it was interrupted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import torch

from photoglue.batch.extract import digest_of_photo
from photoglue.datasets.photos import SkippedPhoto
from photoglue.errors import ConfigError, ImageError
from photoglue.extractors.base import Extractor
from photoglue.files import digest_of
from photoglue.store import atomic_store
from photoglue.store.cache import CacheWriter, FeatureCache
from photoglue.structs import Features
from photoglue.workers import in_order

PHOTOS_PER_COMMIT = 16

Config = TypeVar("Config")
Item = TypeVar("Item")
Read = TypeVar("Read")
Found = TypeVar("Found")
Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many photos are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What some photos add to a cache, as ``CacheWriter.append`` takes it."""

    features: Sequence[Features]
    per_image: Mapping[str, np.ndarray]
    per_point: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class CacheRecipe(Generic[Config, Item, Read, Found]):
    """How a photo becomes rows of a cache. All functions stand at the top of a module, for they go to processes."""

    config: Config
    read: Callable[[Config, Item], Read | str]
    """Reads a photo; or says why it gives nothing."""
    describe: Callable[[Config, Extractor, Read], Found | str]
    """Extracts features; or says why there are none."""
    rows: Callable[[Sequence[tuple[Item, Found]]], Rows]
    """What some photos add."""
    name: Callable[[Item], str]
    """The name of a photo, for people."""


def fill_cache(
    path: Path,
    options: Mapping[str, Any],
    items: Sequence[Item],
    recipe: CacheRecipe[Config, Item, Read, Found],
    extractor: Extractor,
    *,
    workers: int,
    progress: Progress | None,
) -> FeatureCache:
    """Makes a cache of photos, or goes on with it; one that is there already is only opened.

    Args:
        path: The HDF5 file.
        options: All that decides the content.
        items: The photos, in the order of the cache.
        recipe: What is done with each.
        extractor: Its options apply to the images that it is given.
        workers: Processes that read and, if the extractor is on the CPU, extract; 0: this process does it all.
        progress: Called after each photo.

    Raises:
        ConfigError: If the file, or what an interrupted run left, was made with other options.
        OutputError: If it cannot be written, as when the disk is full. What was done is kept.
    """
    if workers < 0:
        raise ConfigError(f"workers is {workers}; it must be 0 (this process) or more.")
    if not path.exists():
        with atomic_store(path, options, CacheWriter) as writer:
            _fill(writer, items, recipe, extractor, workers, progress or (lambda *_: None))
    return FeatureCache.open(path, options=options)


def _fill(
    writer: CacheWriter,
    items: Sequence[Item],
    recipe: CacheRecipe[Config, Item, Read, Found],
    extractor: Extractor,
    workers: int,
    progress: Progress,
) -> None:
    """Adds the photos that are not in the file."""
    done = writer.committed.steps
    # A process that has used a GPU cannot lend it to others: they read the photos, this one extracts.
    lent = extractor if extractor.device.type == "cpu" else None
    waiting: list[tuple[Item, Found | str]] = []
    progress(done, len(items))
    results = in_order(_work, (recipe, lent), items[done:], workers)
    for number, (item, result) in enumerate(zip(items[done:], results, strict=True), start=done + 1):
        described = result if lent or isinstance(result, str) else recipe.describe(recipe.config, extractor, result)
        waiting.append((item, described))
        if len(waiting) == PHOTOS_PER_COMMIT or number == len(items):
            found = recipe.rows([(item, each) for item, each in waiting if not isinstance(each, str)])
            writer.append(
                found.features,
                steps=len(waiting),
                per_image=found.per_image,
                per_point=found.per_point,
                notes=[f"{recipe.name(item)}\t{problem}" for item, problem in waiting if isinstance(problem, str)],
            )
            waiting = []
        progress(number, len(items))


def _work(state: tuple[CacheRecipe[Any, Any, Any, Any], Extractor | None], item: Any) -> Any:
    """What a photo gives; without an extractor, the photo as it was read."""
    recipe, extractor = state
    try:
        read = recipe.read(recipe.config, item)
    except ImageError as error:
        return f"unreadable: {error}"
    return read if extractor is None or isinstance(read, str) else recipe.describe(recipe.config, extractor, read)


def digest_of_photos(paths: Iterable[Path]) -> str:
    """A name for the content of photos in their order; those that cannot be read count as empty."""

    def digest(path: Path) -> str:
        try:
            return digest_of_photo(path)
        except ImageError:
            return ""

    with ThreadPoolExecutor() as pool:
        return digest_of(list(pool.map(digest, paths)))


def skipped_photos(cache: FeatureCache) -> tuple[SkippedPhoto, ...]:
    """The photos that gave nothing, and why."""
    lines = [line.partition("\t") for line in cache.notes()]
    return tuple(SkippedPhoto(name=name, reason=reason) for name, _, reason in lines)


def best_points(features: Features, most: int) -> Features:
    """At most so many points, those with the highest scores, best first, in main memory."""
    features = features.cpu()
    return features[torch.argsort(features.scores, descending=True, stable=True)[:most]]


def check_numbers(seed: int, min_keypoints: int, max_keypoints: int) -> None:
    """Refuses options of a cache that make no sense.

    Raises:
        ConfigError: If one of them is out of its range.
    """
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed is {seed}; it must be between 0 and 2⁶³ - 1.")
    if not 1 <= min_keypoints <= max_keypoints:
        raise ConfigError(
            f"min_keypoints is {min_keypoints} and max_keypoints {max_keypoints}; the first must be at least 1 and not "
            "above the second."
        )
