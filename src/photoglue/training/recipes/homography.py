"""The first stage: random homographies of any folder of photos."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, final

import torch

from photoglue.datasets.photos import PhotoFolder, find_photos
from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor
from photoglue.store.cache import FeatureCache
from photoglue.training.config import TrainingConfig
from photoglue.training.pairs.caches import CacheSummary
from photoglue.training.pairs.homographies import HomographyConfig
from photoglue.training.pairs.homography_cache import HomographyCacheConfig, build_homography_cache
from photoglue.training.pairs.homography_pairs import HomographyPairs
from photoglue.training.progress import Hooks
from photoglue.training.recipes.base import Recipe, RunData
from photoglue.training.recipes.building import build_once, build_workers, list_skipped, readable_size
from photoglue.training.recipes.presets import PRESETS

HELD_OUT_EVERY = 20
VALIDATION_PHOTOS = 200


@dataclass(frozen=True, kw_only=True)
class PhotosRecipe(Recipe):
    """A recipe whose pairs are random homographies of photos."""

    images: Path
    """Folder of photos, searched with its subfolders."""
    only: Path | None = None
    """Use only the photos of --images that this text file names, one a line."""
    val_images: Path | None = None
    """Folder of photos to validate with; None: every 20th of --images is kept out for that."""
    val_only: Path | None = None
    """Use only the photos of --val-images that this text file names, one a line."""
    views: int = 8
    """Random views of each photo; they make views · (views - 1) pairs."""
    max_angle: float = 45.0
    """Rotation of a view, degrees at full difficulty (0.7 of it by default); up to 180."""
    difficulty: float = 0.7
    """Difficulty of the views, in [0, 1]."""
    full_circle: bool = False
    """Turn views by any angle, and cut them smaller where they would not fit; --max-angle does not count then."""
    shear: float = 1.0
    """Share of the random distortion of views that is left, in [0, 1]; at 0 they are rotated, scaled and moved only."""
    unwarped: bool = False
    """Pair the views with the photo itself, which counts as one of them, instead of with each other."""
    patch_size: tuple[int, int] = (640, 480)
    """Width and height of the views, pixels."""
    longest_side: int = 1024
    """Photos with a longer side are first scaled down to it, pixels."""

    @final
    def data(self, folder: Path, device: torch.device, hooks: Hooks) -> RunData:
        """Build the cache of views, or use the one that is there."""
        photos, held_out = self._photos(folder, hooks)
        extractor = self._extractor(device)
        config = self._cache_config(self.cached_keypoints)
        cache, held_out_cache = self.cache or folder / "cache.h5", folder / "validation.h5"
        hooks.on_message(_plan(photos, held_out, extractor, config, cache))
        summary = self._built(photos, extractor, cache, config, folder, hooks)
        few = replace(self._cache_config(min(self.cached_keypoints, self.keypoints)), views=2)
        kept_out = self._built(held_out, extractor, held_out_cache, few, folder, hooks).photos
        _check_any(summary.photos, "to train on", "--images")
        _check_any(kept_out, "to validate with", "--val-images")
        source = HomographyPairs(
            FeatureCache.open(cache), seed=self.config.seed, max_keypoints=self.keypoints, selection=self.select
        )
        checks = HomographyPairs(FeatureCache.open(held_out_cache))
        validation = tuple(checks.pair(0, i) for i in range(kept_out))
        return RunData(
            source=source,
            validation=validation,
            example=source.pair(0, 0).features0,
            facts=(
                f"{summary.photos} photos of {self.images.resolve().name!r}, {config.views} views each of "
                f"{self.patch_size[0]} × {self.patch_size[1]} pixels by random homographies",
                f"{summary.images} views with {summary.points / max(1, summary.images):.0f} points on average, of "
                f"which at most {self.keypoints} are used",
                f"validated on {len(validation)} pairs of {kept_out} photos that were kept out",
            ),
        )

    def _photos(self, folder: Path, hooks: Hooks) -> tuple[PhotoFolder, PhotoFolder]:
        """Photos to train on, and photos to validate with."""
        photos = find_photos(self.images, only=self.only)
        list_skipped(hooks, photos.skipped, folder / "images.skipped.txt")
        if self.val_images is not None:
            held_out = find_photos(self.val_images, only=self.val_only)
            list_skipped(hooks, held_out.skipped, folder / "val-images.skipped.txt")
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
            unwarped=self.unwarped,
            homographies=HomographyConfig(
                difficulty=self.difficulty,
                max_angle_deg=self.max_angle,
                full_circle=self.full_circle,
                shear=self.shear,
                patch_size=self.patch_size,
            ),
        )

    def _built(
        self,
        photos: PhotoFolder,
        extractor: Extractor,
        path: Path,
        config: HomographyCacheConfig,
        folder: Path,
        hooks: Hooks,
    ) -> CacheSummary:
        workers = build_workers(self.build_workers, len(photos))
        build = partial(build_homography_cache, photos, extractor, path, config)
        return build_once(path, partial(build, workers=workers, progress=hooks.on_extraction), folder, hooks)


@final
@dataclass(frozen=True, kw_only=True)
class HomographyRecipe(PhotosRecipe):
    """Train on random homographies of photos: the first stage, for which any photos do."""

    name: ClassVar[str] = "homography"

    keypoints: int = PRESETS["warm-start"].keypoints
    config: TrainingConfig = PRESETS["warm-start"].config


def _check_any(usable: int, what_for: str, option: str) -> None:
    if usable == 0:
        raise ConfigError(
            f"No photo {what_for} gives enough points for two views; the reasons are listed above. Give others with "
            f"{option}."
        )


def _plan(
    photos: PhotoFolder, held_out: PhotoFolder, extractor: Extractor, config: HomographyCacheConfig, cache: Path
) -> str:
    """What is about to be built, in a line."""
    if cache.exists():
        return f"{len(photos)} photos, {len(held_out)} to validate with; features ({extractor.kind}) from {cache}"
    views = len(photos) * config.views
    # Position and score, scale and orientation where there are any, and the descriptor in half precision.
    size = views * config.max_keypoints * (20 + 2 * extractor.descriptor_dim)
    return (
        f"{len(photos)} photos, {len(held_out)} to validate with; {config.views} views each: "
        f"{extractor.kind} features of {views:,} views, about {readable_size(size)} → {cache}"
    )
