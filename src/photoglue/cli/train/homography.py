"""`photoglue train homography`: the first stage, from any folder of photos."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
from rich.console import Console

from photoglue.cli.train.base import RunData, RunOptions
from photoglue.cli.train.build import Told, build_once, build_workers, list_skipped, readable_size
from photoglue.datasets.photos import PhotoFolder, find_photos
from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import training_extractor
from photoglue.store.cache import FeatureCache
from photoglue.training.pairs.homographies import HomographyConfig
from photoglue.training.pairs.homography_cache import (
    CacheSummary,
    HomographyCacheConfig,
    build_homography_cache,
    summarise,
)
from photoglue.training.pairs.homography_pairs import HomographyPairs

HELD_OUT_EVERY = 20
VALIDATION_PHOTOS = 200


@dataclass(frozen=True, kw_only=True)
class TrainHomography(RunOptions):
    """Train on random homographies of photos: the first stage, for which any photos do."""

    command: ClassVar[str] = "homography"

    images: Path
    """Folder of photos, searched with its subfolders."""
    features: str = "sift"
    """sift, aliked, disk, superpoint, doghardnet, …; or a class of yours: package.module:Class, path/file.py:Class."""
    only: Path | None = None
    """Use only the photos that this text file names, one a line."""
    val_images: Path | None = None
    """Folder of photos to validate with; None: every 20th of --images is kept out for that."""
    val_only: Path | None = None
    """The same as --only, for --val-images."""
    cache: Path | None = None
    """Where the features are kept, for other runs to use again; None: cache.h5 in the folder of the run."""
    views: int = 8
    """Random views of each photo; they make views · (views - 1) pairs."""
    cache_keypoints: int | None = None
    """Points kept of each view; None: as many as --keypoints."""
    select: Literal["best", "random"] = "best"
    """Which of them, if the cache has more than --keypoints."""
    max_angle: float = 45.0
    """Rotation of a view, degrees at full difficulty (0.7 of it by default); up to 180."""
    difficulty: float = 0.7
    """How hard the views are, in [0, 1]."""
    patch_size: tuple[int, int] = (640, 480)
    """Width and height of the views, pixels."""
    longest_side: int = 1024
    """Larger photos are first made that large."""
    build_workers: int | None = None
    """Processes that extract features; None: one for each core."""
    allow_noncommercial: bool = False
    """Accept extractor weights that may not be used commercially."""

    def data(self, console: Console, device: torch.device) -> RunData:
        """Build the cache of views, or use the one that is there."""
        photos, held_out = self._photos(console)
        per_view = self.keypoints_of_image if self.cache_keypoints is None else self.cache_keypoints
        extractor = training_extractor(
            self.features, max_keypoints=per_view, allow_noncommercial=self.allow_noncommercial
        ).to(device)
        config = self._cache_config(per_view)
        cache = self.cache or self.out / "cache.h5"
        console.print(_plan(photos, held_out, extractor, config, cache), soft_wrap=True)
        summary = self._built(console, photos, extractor, cache, config)
        few = replace(self._cache_config(min(per_view, self.keypoints_of_image)), views=2)
        kept_out = self._built(console, held_out, extractor, self.out / "validation.h5", few).photos
        _check_any(summary.photos, "to train on", "--images")
        _check_any(kept_out, "to validate with", "--val-images")
        seed = self.training_config().seed
        source = HomographyPairs(
            FeatureCache.open(cache), seed=seed, max_keypoints=self.keypoints_of_image, selection=self.select
        )
        checks = HomographyPairs(FeatureCache.open(self.out / "validation.h5"))
        validation = tuple(checks.pair(0, i) for i in range(kept_out))
        return RunData(
            source=source,
            validation=validation,
            example=source.pair(0, 0).features0,
            facts=(
                f"{summary.photos} photos of {self.images.resolve().name!r}, {config.views} views each of "
                f"{self.patch_size[0]} × {self.patch_size[1]} pixels by random homographies",
                f"{summary.views} views with {summary.points / max(1, summary.views):.0f} points on average, of which "
                f"at most {self.keypoints_of_image} are used",
                f"validated on {len(validation)} pairs of {kept_out} photos that were kept out",
            ),
        )

    def _photos(self, console: Console) -> tuple[PhotoFolder, PhotoFolder]:
        """Those to train on, and those to validate with."""
        photos = find_photos(self.images, only=self.only)
        list_skipped(console, photos.skipped, self.out / "images.skipped.txt")
        if self.val_images is not None:
            held_out = find_photos(self.val_images, only=self.val_only)
            list_skipped(console, held_out.skipped, self.out / "val-images.skipped.txt")
            return photos, replace(held_out, names=held_out.names[:VALIDATION_PHOTOS])
        if len(photos) == 1:
            raise ConfigError(
                f"{str(self.images)!r} has one photo that can be used. One is kept out to validate with, so at least "
                "two are needed; a few hundred are better."
            )
        kept = tuple(name for i, name in enumerate(photos.names) if i % HELD_OUT_EVERY)
        held_out = replace(photos, names=photos.names[::HELD_OUT_EVERY][:VALIDATION_PHOTOS])
        return replace(photos, names=kept), held_out

    def _cache_config(self, per_view: int) -> HomographyCacheConfig:
        return HomographyCacheConfig(
            views=self.views,
            max_keypoints=per_view,
            min_keypoints=min(HomographyCacheConfig.min_keypoints, per_view),
            longest_side=self.longest_side,
            homographies=HomographyConfig(
                difficulty=self.difficulty, max_angle_deg=self.max_angle, patch_size=self.patch_size
            ),
        )

    def _built(
        self, console: Console, photos: PhotoFolder, extractor: Extractor, path: Path, config: HomographyCacheConfig
    ) -> CacheSummary:
        workers = build_workers(self.build_workers, len(photos))

        def build(told: Told) -> None:
            build_homography_cache(photos, extractor, path, config, workers=workers, progress=told)

        build_once(path, build, console)
        summary = summarise(FeatureCache.open(path))
        list_skipped(console, summary.skipped, self.out / f"{path.name}.skipped.txt")
        return summary


def _check_any(usable: int, what_for: str, option: str) -> None:
    if usable == 0:
        raise ConfigError(
            f"No photo {what_for} gives enough points for two views; the reasons are listed above. Give others with "
            f"{option}."
        )


def _plan(
    photos: PhotoFolder, held_out: PhotoFolder, extractor: Extractor, config: HomographyCacheConfig, cache: Path
) -> str:
    """What is about to be done, in a line."""
    if cache.exists():
        return f"{len(photos)} photos, {len(held_out)} to validate with; features ({extractor.kind}) from {cache}"
    views = len(photos) * config.views
    # Position and score, scale and orientation where there are any, and the descriptor in half precision.
    size = views * config.max_keypoints * (20 + 2 * extractor.descriptor_dim)
    return (
        f"{len(photos)} photos, {len(held_out)} to validate with; {config.views} views each: "
        f"{extractor.kind} features of {views:,} views, about {readable_size(size)} → {cache}"
    )
