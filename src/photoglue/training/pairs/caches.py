"""What the caches of training share: one loop that fills them photo by photo, and goes on where it was interrupted."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import torch

from photoglue.batch.extract import digest_of_photo
from photoglue.datasets.photos import SkippedPhoto
from photoglue.errors import ConfigError, ImageError
from photoglue.extractors.base import Extractor, extractor_options
from photoglue.files import digest_of
from photoglue.store import atomic_store
from photoglue.store.cache import CacheWriter, FeatureCache
from photoglue.structs import Features
from photoglue.workers import in_order

PHOTOS_PER_COMMIT = 16

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many photos are done, and of how many."""
Described: TypeAlias = list[tuple[int, Features, np.ndarray]]
"""The number, the features, and what else is known of each image that a photo gives."""


class Item(NamedTuple):
    """A photo to be cached."""

    number: int
    """Its number among all photos, from 0."""
    name: str
    """Its name, for people."""
    place: tuple[int, ...]
    """What the cache calls it: a number for each of ``CacheConfig.columns`` but the last."""
    source: Any
    """What it is read from."""


@dataclass(frozen=True, kw_only=True)
class CacheConfig(ABC):
    """What decides the content of a cache, beside photos and extractor, and how a photo becomes images of the cache."""

    columns: ClassVar[tuple[str, ...]]
    """Names in the cache of the numbers that tell images apart: those of the photo, then that of the image of it."""

    seed: int = 0
    max_keypoints: int = 2048
    """Keypoints of an image that are kept, at most: those with the highest scores."""
    min_keypoints: int = 64
    """An image with fewer keypoints is left out."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; it must be between 0 and 2⁶³ - 1.")
        if not 1 <= self.min_keypoints <= self.max_keypoints:
            raise ConfigError(
                f"min_keypoints is {self.min_keypoints} and max_keypoints {self.max_keypoints}; the first must be at "
                "least 1 and not above the second."
            )

    @abstractmethod
    def read(self, item: Item) -> Any:
        """What ``describe`` needs of a photo; or, as text, why it gives nothing."""

    @abstractmethod
    def describe(self, extractor: Extractor, photo: Any) -> Described | str:
        """The images of a photo that are kept; or why there are none."""

    @abstractmethod
    def arrays(self, known: list[np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What else is known of some images, as arrays with a row for each image, and with a row for each point."""

    def extracted(self, extractor: Extractor, images: list[np.ndarray]) -> tuple[list[tuple[int, Features]], int]:
        """The best points of images that have enough, with their numbers; and the most points that any image has."""
        every = extractor.extract_many(images, batch_size=len(images))
        best = enumerate(best_points(features, self.max_keypoints) for features in every)
        kept = [(number, features) for number, features in best if len(features) >= self.min_keypoints]
        return kept, max(len(features) for features in every)


@dataclass(frozen=True, kw_only=True)
class CacheSummary:
    """What a cache holds."""

    path: Path
    photos: int
    """Photos that gave something."""
    images: int
    """Views or variants of all photos together."""
    points: int
    skipped: tuple[SkippedPhoto, ...]
    """Photos that gave nothing, and why."""
    bytes: int
    """Size of the file."""


def fill_cache(
    path: Path,
    about: Mapping[str, Any],
    items: Sequence[Item],
    config: CacheConfig,
    extractor: Extractor,
    *,
    workers: int,
    progress: Progress | None,
) -> CacheSummary:
    """Makes a cache of photos, or goes on with it; one that is there already is only opened.

    Args:
        path: The HDF5 file.
        about: What decides the content beside the config and the extractor.
        items: The photos, in the order of the cache.
        config: What is done with each.
        extractor: Its options apply to the images that it is given.
        workers: Processes that read and, if the extractor is on the CPU, extract; 0: this process does it all.
        progress: Called after each photo.

    Raises:
        ConfigError: If the file, or what an interrupted run left, was made with other options.
        OutputError: If it cannot be written, as when the disk is full. What was done is kept.
    """
    if workers < 0:
        raise ConfigError(f"workers is {workers}; it must be 0 (this process) or more.")
    options = {**about, "features": extractor_options(extractor), **asdict(config)}
    if not path.exists():
        with atomic_store(path, options, CacheWriter) as writer:
            _fill(writer, items, config, extractor, workers, progress or (lambda *_: None))
    return summarise(FeatureCache.open(path, options=options))


def summarise(cache: FeatureCache) -> CacheSummary:
    """What a cache holds; it is closed then."""
    places = [cache.per_image(name).tolist() for name in ("photo", "scene", "frame") if cache.has_per_image(name)]
    lines = [line.partition("\t") for line in cache.notes()]
    cache.close()
    return CacheSummary(
        path=cache.path,
        photos=len(set(zip(*places, strict=True))),
        images=len(cache),
        points=cache.committed.points,
        skipped=tuple(SkippedPhoto(name=name, reason=reason) for name, _, reason in lines),
        bytes=cache.path.stat().st_size,
    )


def _fill(
    writer: CacheWriter,
    items: Sequence[Item],
    config: CacheConfig,
    extractor: Extractor,
    workers: int,
    progress: Progress,
) -> None:
    """Adds the photos that are not in the file."""
    done = writer.committed.steps
    # A process that has used a GPU cannot lend it to others: they read the photos, this one extracts.
    lent = extractor if extractor.device.type == "cpu" else None
    waiting: list[tuple[Item, Described | str]] = []
    progress(done, len(items))
    results = in_order(_work, (config, lent), items[done:], workers)
    for number, (item, result) in enumerate(zip(items[done:], results, strict=True), start=done + 1):
        waiting.append((item, result if lent or isinstance(result, str) else config.describe(extractor, result)))
        if len(waiting) == PHOTOS_PER_COMMIT or number == len(items):
            _append(writer, config, waiting)
            waiting = []
        progress(number, len(items))


def _append(writer: CacheWriter, config: CacheConfig, photos: list[tuple[Item, Described | str]]) -> None:
    images = [(item.place, *image) for item, found in photos if not isinstance(found, str) for image in found]
    numbers = np.array([(*place, number) for place, number, *_ in images], np.int64).reshape(-1, len(config.columns))
    per_image, per_point = config.arrays([known for *_, known in images])
    writer.append(
        [features for _, _, features, _ in images],
        steps=len(photos),
        per_image={**dict(zip(config.columns, numbers.T, strict=True)), **per_image},
        per_point=per_point,
        notes=[f"{item.name}\t{problem}" for item, problem in photos if isinstance(problem, str)],
    )


def _work(state: tuple[CacheConfig, Extractor | None], item: Item) -> Any:
    """What a photo gives; without an extractor, the photo as it was read."""
    config, extractor = state
    try:
        read = config.read(item)
    except ImageError as error:
        return f"unreadable: {error}"
    return read if extractor is None or isinstance(read, str) else config.describe(extractor, read)


def digest_of_photos(paths: Iterable[Path]) -> str:
    """A name for the content of photos in their order; those that cannot be read count as empty."""

    def digest(path: Path) -> str:
        try:
            return digest_of_photo(path)
        except ImageError:
            return ""

    with ThreadPoolExecutor() as pool:
        return digest_of(list(pool.map(digest, paths)))


def best_points(features: Features, most: int) -> Features:
    """At most so many points, those with the highest scores, best first, in main memory."""
    features = features.cpu()
    return features[torch.argsort(features.scores, descending=True, stable=True)[:most]]
