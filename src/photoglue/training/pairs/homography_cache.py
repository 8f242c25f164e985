"""From photos to features of random views of them: done once, read in every epoch of training.

V views of a photo make V · (V - 1) ordered pairs, without another extraction. Each photo's views depend on the seed and
the photo's number alone: the cache is the same whatever the number of workers and however often it was interrupted.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, UInt8

from photoglue.datasets.photos import PhotoFolder, read_photo
from photoglue.errors import ConfigError, require
from photoglue.extractors.base import Extractor
from photoglue.files import digest_of
from photoglue.image import Resize
from photoglue.training.pairs.augment import PROBABILITY, augment
from photoglue.training.pairs.caches import (
    CacheConfig,
    CacheSummary,
    Described,
    Item,
    Progress,
    digest_of_photos,
    fill_cache,
)
from photoglue.training.pairs.homographies import HomographyConfig, sample_homography, warp_photo


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A patch of a photo."""

    number: int
    """From 0, among all views of the photo."""
    image: UInt8[np.ndarray, "h w 3"]
    """RGB."""
    view_from_photo: Float64[np.ndarray, "3 3"]
    """Takes homogeneous pixels of the photo as read to those of the view."""


@dataclass(frozen=True, kw_only=True)
class HomographyCacheConfig(CacheConfig):
    """What decides the content of a cache of views, beside the photos and the extractor.

    A photo with fewer than two views that have enough keypoints is left out.
    """

    columns: ClassVar[tuple[str, ...]] = ("photo", "view")

    views: int = 8
    """Random views of each photo, at least 2."""
    unwarped: bool = False
    """The first view is the photo itself, and is on one side of each pair; so only the other side is warped."""
    photometric: float = PROBABILITY
    """Probability that a view's light, sharpness or compression changes."""
    longest_side: int | None = 1024
    """A larger photo is first made that large, pixels: patches sampled from it would be aliased. None: never."""
    homographies: HomographyConfig = field(default_factory=HomographyConfig)
    """How views are cut out of photos."""

    def __post_init__(self) -> None:
        if self.views < 2:
            raise ConfigError(f"views is {self.views}; a pair needs at least 2 of each photo.")
        super().__post_init__()
        if not 0 <= self.photometric <= 1:
            raise ConfigError(f"photometric is {self.photometric}; a probability lies between 0 and 1.")
        if self.longest_side is not None and self.longest_side < 2:
            raise ConfigError(f"longest_side is {self.longest_side}; it must be 2 or more pixels, or None.")

    def read(self, item: Item) -> list[View]:
        """All views of a photo."""
        return list(photo_views(read_photo(item.source), item.number, self))

    def describe(self, extractor: Extractor, photo: list[View]) -> Described | str:
        """The views with enough points, without their pixels; or why there are too few."""
        kept, most = self.extracted(extractor, [view.image for view in photo])
        if len(kept) >= 2 and (not self.unwarped or kept[0][0] == 0):
            return [(number, features, photo[number].view_from_photo) for number, features in kept]
        return (
            f"too few points: {len(kept)} of its {len(photo)} views have {self.min_keypoints} or more, and 2 are "
            f"needed; the best has {most}"
        )

    def arrays(self, known: list[np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The homography from the photo to each view."""
        return {"view_from_photo": np.array(known).reshape(-1, 3, 3)}, {}


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
    # Cameras number the photos of every folder alike: names do not tell them apart.
    content = digest_of_photos(photos.path(number) for number in range(len(photos)))
    about = {
        "content": "views of photos by random homographies",
        "photos": {"count": len(photos), "names": digest_of(photos.names), "content": content},
    }
    items = [Item(number, name, (number,), photos.path(number)) for number, name in enumerate(photos.names)]
    config = config or HomographyCacheConfig()
    return fill_cache(Path(path), about, items, config, extractor, workers=workers, progress=progress)


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
        if config.unwarped and number == 0:
            plain = augment(photo, generator, probability=config.photometric)
            yield View(number=number, image=plain, view_from_photo=smaller_from_photo)
            continue
        patch_from_smaller = sample_homography(smaller.resized_size, config.homographies, generator)
        patch = augment(warp_photo(photo, patch_from_smaller, patch_size), generator, probability=config.photometric)
        yield View(number=number, image=patch, view_from_photo=patch_from_smaller @ smaller_from_photo)
