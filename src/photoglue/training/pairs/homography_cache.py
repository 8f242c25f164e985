"""From photos to features of random views of them: done once, read in every epoch of training.

V views of a photo make V · (V - 1) ordered pairs, without another extraction. Each photo's views depend on the seed and
the photo's number alone: the cache is the same whatever the number of workers and however often it was interrupted.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float64, UInt8

from photoglue.datasets.photos import PhotoFolder, SkippedPhoto, read_photo
from photoglue.errors import ConfigError, require
from photoglue.extractors.base import Extractor, extractor_options
from photoglue.files import digest_of
from photoglue.image import Resize
from photoglue.store.cache import FeatureCache
from photoglue.structs import Features
from photoglue.training.pairs.augment import PROBABILITY, augment
from photoglue.training.pairs.caches import (
    CacheRecipe,
    Progress,
    Rows,
    best_points,
    check_numbers,
    digest_of_photos,
    fill_cache,
    skipped_photos,
)
from photoglue.training.pairs.homographies import HomographyConfig, sample_homography, warp_photo


@dataclass(frozen=True, kw_only=True)
class HomographyCacheConfig:
    """What decides the content of a cache, beside the photos and the extractor."""

    views: int = 8
    """Random views of each photo, at least 2."""
    seed: int = 0
    max_keypoints: int = 2048
    """At most so many points of each view are kept, those with the highest scores."""
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
        check_numbers(self.seed, self.min_keypoints, self.max_keypoints)
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
        path: The HDF5 file.
        config: What to make; None: the defaults.
        workers: Processes that cut out views and, if the extractor is on the CPU, extract; one thread each. 0: this
            process does it all. The extractor must then be picklable, and a script guarded by ``__name__``.
        progress: Called after each photo.

    Raises:
        ConfigError: If the file, or what an interrupted run left, was made with other options or photos.
        OutputError: If it cannot be written, as when the disk is full. What was done is kept.
    """
    config, path = config or HomographyCacheConfig(), Path(path)
    recipe = CacheRecipe(config=config, read=_read, describe=_describe, rows=_rows, name=_name)
    items = [(number, name, photos.path(number)) for number, name in enumerate(photos.names)]
    options = cache_options(photos, extractor, config)
    return summarise(fill_cache(path, options, items, recipe, extractor, workers=workers, progress=progress))


def cache_options(photos: PhotoFolder, extractor: Extractor, config: HomographyCacheConfig) -> dict[str, Any]:
    """All that decides the content, as it is written into the file."""
    # Cameras number the photos of every folder alike: names do not tell them apart.
    content = digest_of_photos(photos.path(number) for number in range(len(photos)))
    return {
        "content": "views of photos by random homographies",
        "features": extractor_options(extractor),
        "photos": {"count": len(photos), "names": digest_of(photos.names), "content": content},
        **asdict(config),
    }


def summarise(cache: FeatureCache) -> CacheSummary:
    """What a cache of views holds."""
    summary = CacheSummary(
        path=cache.path,
        photos=len(np.unique(cache.per_image("photo"))) if len(cache) else 0,
        views=len(cache),
        points=cache.committed.points,
        skipped=skipped_photos(cache),
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


Item: TypeAlias = tuple[int, str, Path]
"""The number, name and path of a photo."""
Described: TypeAlias = list[tuple[int, Float64[np.ndarray, "3 3"], Features]]
"""The number, place in the photo and features of each view that is kept."""


def _name(item: Item) -> str:
    return item[1]


def _read(config: HomographyCacheConfig, item: Item) -> list[View]:
    number, _, path = item
    return list(photo_views(read_photo(path), number, config))


def _describe(config: HomographyCacheConfig, extractor: Extractor, views: list[View]) -> Described | str:
    """The views with enough points, without their pixels; or why there are too few."""
    every = extractor.extract_many([view.image for view in views], batch_size=len(views))
    kept = [
        (view.number, view.view_from_photo, best)
        for view, features in zip(views, every, strict=True)
        if len(best := best_points(features, config.max_keypoints)) >= config.min_keypoints
    ]
    if len(kept) >= 2:
        return kept
    most = max(len(features) for features in every)
    return (
        f"too few points: {len(kept)} of its {len(every)} views have {config.min_keypoints} or more, and 2 are needed; "
        f"the best has {most}"
    )


def _rows(photos: Sequence[tuple[Item, Described]]) -> Rows:
    views = [(number, *view) for (number, *_), described in photos for view in described]
    return Rows(
        features=[features for *_, features in views],
        per_image={
            "photo": np.array([photo for photo, *_ in views], dtype=np.int64),
            "view": np.array([view for _, view, *_ in views], dtype=np.int64),
            "view_from_photo": np.array([place for _, _, place, _ in views]).reshape(-1, 3, 3),
        },
        per_point={},
    )
