"""From photos to features of random views of them: done once, read in every epoch of training.

V views of a photo make V · (V - 1) ordered pairs, without another extraction. Each photo's views depend on the seed and
the photo's number alone: the cache is the same whatever the number of workers and however often it was interrupted.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from photoglue.datasets.photos import PhotoFolder, SkippedPhoto, read_photo
from photoglue.errors import ConfigError, ImageError, require
from photoglue.extractors.base import Extractor, extractor_options
from photoglue.image import Resize
from photoglue.store import atomic_store
from photoglue.store.cache import CacheWriter, FeatureCache
from photoglue.structs import Features
from photoglue.training.pairs.augment import PROBABILITY, augment
from photoglue.training.pairs.homographies import HomographyConfig, sample_homography, warp_photo
from photoglue.workers import in_order

PHOTOS_PER_COMMIT = 16

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many photos are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class HomographyCacheConfig:
    """What decides the content of a cache, beside the photos and the extractor."""

    views: int = 8
    """Random views of each photo, at least 2."""
    seed: int = 0
    max_keypoints: int = 2048
    """Kept of each view, those with the highest scores."""
    min_keypoints: int = 64
    """A view with fewer points is left out, and a photo with fewer than two views."""
    photometric: float = PROBABILITY
    """Probability that a view's light, sharpness or compression changes."""
    longest_side: int | None = 1024
    """A larger photo is first made that large, pixels: patches sampled from it would be aliased. None: never."""
    homographies: HomographyConfig = field(default_factory=HomographyConfig)
    """How views are cut out of photos."""

    def __post_init__(self) -> None:
        if self.views < 2:
            raise ConfigError(f"views is {self.views}; a pair needs at least 2 of each photo.")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; it must be between 0 and 2⁶³ - 1.")
        if not 1 <= self.min_keypoints <= self.max_keypoints:
            raise ConfigError(
                f"min_keypoints is {self.min_keypoints} and max_keypoints {self.max_keypoints}; the first must be at "
                "least 1 and not above the second."
            )
        if not 0 <= self.photometric <= 1:
            raise ConfigError(f"photometric is {self.photometric}; a probability lies between 0 and 1.")
        if self.longest_side is not None and self.longest_side < 2:
            raise ConfigError(f"longest_side is {self.longest_side}; it must be 2 or more pixels, or None.")


@dataclass(frozen=True, kw_only=True)
class CacheSummary:
    """What a cache holds."""

    path: Path
    photos: int
    """With at least two views."""
    views: int
    points: int
    skipped: tuple[SkippedPhoto, ...]
    """Photos that gave nothing, and why."""
    bytes: int
    """Size of the file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A patch of a photo."""

    number: int
    """From 0, among all views of the photo."""
    image: UInt8[np.ndarray, "h w 3"]
    """RGB."""
    view_from_photo: Float64[np.ndarray, "3 3"]
    """Takes homogeneous pixels of the photo as read to those of the view."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _PhotoViews:
    """What a worker makes of a photo."""

    views: list[View] = field(default_factory=list)
    """Without features, if this worker cannot extract them; else without pixels."""
    features: list[Features] = field(default_factory=list)
    problem: str = ""
    """Why there is nothing."""


def build_homography_cache(
    photos: PhotoFolder,
    extractor: Extractor,
    path: str | os.PathLike[str],
    config: HomographyCacheConfig | None = None,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> CacheSummary:
    """Writes the features of random views of photos, or goes on with it where an earlier run was interrupted.

    Args:
        photos: See ``find_photos``.
        extractor: Its options apply to the views; so ``resize=None`` if the views are to stay as large as they are,
            and, for SIFT, ``nms_radius=3`` as in the official training, since several points at one place contradict
            each other as labels.
        path: Of the HDF5 file.
        config: What to make; None: the defaults.
        workers: Processes that cut out views and, if the extractor is on the CPU, extract; one thread each. 0: this
            process does it all. The extractor must then be picklable, and a script guarded by ``__name__``.
        progress: Called after each photo.

    Raises:
        ConfigError: If the file, or what an interrupted run left, was made with other options or photos.
        OutputError: If it cannot be written, as when the disk is full. What was done is kept.
    """
    config, path = config or HomographyCacheConfig(), Path(path)
    if workers < 0:
        raise ConfigError(f"workers is {workers}; it must be 0 (this process) or more.")
    options = cache_options(photos, extractor, config)
    if not path.exists():
        with atomic_store(path, options, CacheWriter) as writer:
            _fill(writer, photos, extractor, config, workers, progress or (lambda *_: None))
    return summarise(FeatureCache.open(path, options=options))


def cache_options(photos: PhotoFolder, extractor: Extractor, config: HomographyCacheConfig) -> dict[str, Any]:
    """All that decides the content, as it is written into the file."""
    # Cameras number the photos of every folder alike. Sizes in bytes tell them apart, and nothing has to be read.
    sizes = [str(photos.path(number).stat().st_size) for number in range(len(photos))]
    return {
        "content": "views of photos by random homographies",
        "features": extractor_options(extractor),
        "photos": {"count": len(photos), "names": _digest(photos.names), "sizes": _digest(sizes)},
        **asdict(config),
    }


def summarise(cache: FeatureCache) -> CacheSummary:
    """What a cache of views holds."""
    skipped = [line.partition("\t") for line in cache.notes()]
    summary = CacheSummary(
        path=cache.path,
        photos=len(np.unique(cache.per_image("photo"))) if len(cache) else 0,
        views=len(cache),
        points=cache.committed.points,
        skipped=tuple(SkippedPhoto(name=name, reason=reason) for name, _, reason in skipped),
        bytes=cache.path.stat().st_size,
    )
    cache.close()
    return summary


def photo_views(photo: UInt8[np.ndarray, "h w 3"], photo_number: int, config: HomographyCacheConfig) -> Iterator[View]:
    """The random views of a photo, the same for the same numbers.

    Args:
        photo: RGB.
        photo_number: Its place among all photos, from 0.
        config: What to make.
    """
    cv2 = require("cv2", extra="sift")
    size = (photo.shape[1], photo.shape[0])
    smaller = Resize.long_side(size, None if config.longest_side is None else min(config.longest_side, max(size)))
    if smaller.resized_size != size:
        photo = cv2.resize(photo, smaller.resized_size, interpolation=cv2.INTER_AREA)
    (x_scale, y_scale) = smaller.scale
    smaller_from_photo = np.array([[x_scale, 0, (x_scale - 1) / 2], [0, y_scale, (y_scale - 1) / 2], [0, 0, 1]])
    patch_size = config.homographies.patch_size_of(smaller.resized_size)
    for number in range(config.views):
        generator = np.random.default_rng([config.seed, photo_number, number])
        patch_from_smaller = sample_homography(smaller.resized_size, config.homographies, generator)
        patch = augment(warp_photo(photo, patch_from_smaller, patch_size), generator, probability=config.photometric)
        yield View(number=number, image=patch, view_from_photo=patch_from_smaller @ smaller_from_photo)


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _fill(
    writer: CacheWriter,
    photos: PhotoFolder,
    extractor: Extractor,
    config: HomographyCacheConfig,
    workers: int,
    progress: Progress,
) -> None:
    """Adds the photos that are not in the file."""
    done = writer.committed.steps
    batch: list[_PhotoViews] = []
    progress(done, len(photos))
    for found in _all_photo_views(photos, extractor, config, workers, range(done, len(photos))):
        batch.append(found)
        if len(batch) == PHOTOS_PER_COMMIT:
            _commit(writer, photos, batch)
            batch = []
        progress(writer.committed.steps + len(batch), len(photos))
    _commit(writer, photos, batch)


def _commit(writer: CacheWriter, photos: PhotoFolder, batch: list[_PhotoViews]) -> None:
    numbered = list(enumerate(batch, start=writer.committed.steps))
    views = [(number, view) for number, found in numbered for view in found.views]
    writer.append(
        [features for found in batch for features in found.features],
        steps=len(batch),
        per_image={
            "photo": np.array([number for number, _ in views], dtype=np.int64),
            "view": np.array([view.number for _, view in views], dtype=np.int64),
            "view_from_photo": np.array([view.view_from_photo for _, view in views]).reshape(-1, 3, 3),
        },
        notes=[f"{photos.names[number]}\t{found.problem}" for number, found in numbered if found.problem],
    )


def _all_photo_views(
    photos: PhotoFolder, extractor: Extractor, config: HomographyCacheConfig, workers: int, numbers: range
) -> Iterator[_PhotoViews]:
    """What is found in each photo, in their order."""
    # A process that has used a GPU cannot lend it to others: they cut out the views, this one extracts.
    lent = extractor if extractor.device.type == "cpu" else None
    for found in in_order(_work, (photos, lent, config), numbers, workers):
        yield found if lent else _described(found, extractor, config)


def _work(task: tuple[PhotoFolder, Extractor | None, HomographyCacheConfig], number: int) -> _PhotoViews:
    photos, extractor, config = task
    try:
        found = _PhotoViews(views=list(photo_views(read_photo(photos.path(number)), number, config)))
    except ImageError as error:
        return _PhotoViews(problem=f"unreadable: {error}")
    return found if extractor is None else _described(found, extractor, config)


def _described(found: _PhotoViews, extractor: Extractor, config: HomographyCacheConfig) -> _PhotoViews:
    """The same with features instead of pixels, those with enough."""
    if found.problem:
        return found
    every = extractor.extract_many([view.image for view in found.views], batch_size=len(found.views))
    kept = [(view, _best(each, config)) for view, each in zip(found.views, every, strict=True)]
    kept = [(view, features) for view, features in kept if len(features) >= config.min_keypoints]
    if len(kept) < 2:
        most = max(len(features) for features in every)
        return _PhotoViews(
            problem=f"too few points: {len(kept)} of its {len(every)} views have {config.min_keypoints} or more, and 2 "
            f"are needed; the best has {most}"
        )
    no_pixels = np.zeros((0, 0, 3), np.uint8)
    views = [View(number=view.number, image=no_pixels, view_from_photo=view.view_from_photo) for view, _ in kept]
    return _PhotoViews(views=views, features=[features for _, features in kept])


def _best(features: Features, config: HomographyCacheConfig) -> Features:
    """The points with the highest scores, best first, descriptors as the file keeps them."""
    features = features.cpu()
    order = torch.argsort(features.scores, descending=True, stable=True)[: config.max_keypoints]
    return features[order]
