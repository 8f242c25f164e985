"""From posed scenes to the features of each photo and the depth at each keypoint: done once, read in every epoch."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from photoglue.datasets.depth import has_depth, read_depth, sample_depth
from photoglue.datasets.photos import SkippedPhoto, read_photo
from photoglue.datasets.scenes import Frame, Scene
from photoglue.errors import ConfigError, PhotoGlueWarning
from photoglue.extractors.base import Extractor, extractor_options
from photoglue.store.cache import FeatureCache
from photoglue.structs import Features
from photoglue.training.pairs.augment import augment
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
from photoglue.training.pairs.posed_pairs import PosedPairs
from photoglue.training.pairs.scene_check import SceneCheck, check_pairs


@dataclass(frozen=True, kw_only=True)
class PosedCacheConfig:
    """What decides the content of a cache, beside the scenes and the extractor."""

    variants: int = 1
    """So many of each photo: the photo itself, and others with another light, sharpness or compression."""
    seed: int = 0
    max_keypoints: int = 2048
    """At most so many points of each photo are kept, those with the highest scores."""
    min_keypoints: int = 64
    """A photo with fewer is left out."""

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise ConfigError(f"variants is {self.variants}; it must be 1 (the photo itself) or more.")
        check_numbers(self.seed, self.min_keypoints, self.max_keypoints)


@dataclass(frozen=True, kw_only=True)
class PosedCacheSummary:
    """What a cache holds."""

    path: Path
    photos: int
    variants: int
    """Variants of all photos together."""
    points: int
    points_with_depth: int
    skipped: tuple[SkippedPhoto, ...]
    """Photos that gave nothing, and why."""
    bytes: int
    """Size of the file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Photo:
    """What a worker reads."""

    variants: list[UInt8[np.ndarray, "h w 3"]]
    depth: Float[Tensor, "h w"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Points:
    """What is kept of a photo: one entry in each list for each variant with enough points."""

    variants: list[int]
    features: list[Features]
    depths: list[Float[Tensor, " n"]]


def build_posed_cache(
    scenes: Sequence[Scene],
    extractor: Extractor,
    path: str | os.PathLike[str],
    config: PosedCacheConfig | None = None,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> PosedCacheSummary:
    """Writes features and depths of all photos, or goes on with it where an earlier run was interrupted.

    A photo that cannot be used is left out and listed.

    Args:
        scenes: See ``read_scenes``.
        extractor: Its options apply to the photos: ``resize=None`` leaves them as they are.
        path: The HDF5 file.
        config: What to make; None: the defaults.
        workers: Processes that read photos and, if the extractor is on the CPU, extract; one thread each. 0: this
            process does it all. The extractor must then be picklable, and a script guarded by ``__name__``.
        progress: Called after each photo.

    Raises:
        ConfigError: If the file, or what an interrupted run left, was made with other options or scenes.
        OutputError: If it cannot be written, as when the disk is full. What was done is kept.
    """
    config, path = config or PosedCacheConfig(), Path(path)
    if not scenes or len({scene.name for scene in scenes}) < len(scenes):
        raise ConfigError(
            f"Scenes need different names; these are {', '.join(scene.name for scene in scenes) or 'none'}."
        )
    items: list[Item] = []
    for number, scene in enumerate(scenes):
        items += [(len(items) + i, (number, i), scene.name, frame) for i, frame in enumerate(scene.frames)]
    recipe = CacheRecipe(config=config, read=_read, describe=_describe, rows=_rows, name=_name)
    options = _options(scenes, extractor, config)
    return _summary(fill_cache(path, options, items, recipe, extractor, workers=workers, progress=progress))


def check_posed_cache(pairs: PosedPairs, *, pairs_per_scene: int = 8) -> list[SceneCheck]:
    """Whether poses and depths agree with the photos, by the features in the cache; warns of scenes that do not.

    Args:
        pairs: Pairs of photos in the cache.
        pairs_per_scene: So many are matched, spread over the overlaps from 0.3 to 0.85.
    """
    checks = [check_pairs(name, pairs.examples(name, pairs_per_scene)) for name in pairs.pairs_of_scenes]
    for check in checks:
        if check.contradicts:
            warnings.warn(check.describe(), PhotoGlueWarning, stacklevel=2)
    return checks


def _options(scenes: Sequence[Scene], extractor: Extractor, config: PosedCacheConfig) -> dict[str, Any]:
    """All that decides the content, as it is written into the file."""
    return {
        "content": "photos of posed scenes",
        "features": extractor_options(extractor),
        "photos": digest_of_photos(frame.image_path for scene in scenes for frame in scene.frames),
        "scenes": {scene.name: scene.fingerprint for scene in scenes},
        # So that a file with fingerprints of an earlier version is not taken for one of other scenes.
        "scenes_known_by": "names, cameras, poses, depth_scale, sizes of files",
        **asdict(config),
    }


Item: TypeAlias = tuple[int, tuple[int, int], str, Frame]
"""The number of a photo among all; of its scene and within it; the name of its scene; the photo."""


def _name(item: Item) -> str:
    return f"{item[2]}/{item[3].name}"


def _read(config: PosedCacheConfig, item: Item) -> _Photo | str:
    number, _, _, frame = item
    photo, depth = read_photo(frame.image_path), read_depth(frame)
    size = photo.shape[1], photo.shape[0]
    if size != frame.camera.image_size:
        return f"{size[0]} × {size[1]} pixels once upright (EXIF), and its camera is for {frame.camera.image_size}"
    generators = [np.random.default_rng([config.seed, number, variant]) for variant in range(1, config.variants)]
    return _Photo(variants=[photo, *(_augmented(photo, generator) for generator in generators)], depth=depth)


def _augmented(photo: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """The photo with at least one change: a fourth of all draws makes none."""
    while (changed := augment(photo, generator, probability=1.0)) is photo:
        pass
    return changed


def _describe(config: PosedCacheConfig, extractor: Extractor, photo: _Photo) -> _Points | str:
    every = [
        best_points(each, config.max_keypoints)
        for each in extractor.extract_many(photo.variants, batch_size=len(photo.variants))
    ]
    kept = [variant for variant, features in enumerate(every) if len(features) >= config.min_keypoints]
    if not kept:
        return f"too few points: {max(len(features) for features in every)}, and {config.min_keypoints} are needed"
    features = [every[variant] for variant in kept]
    depths = [sample_depth(photo.depth, each.keypoints) for each in features]
    if not any(bool(has_depth(each).any()) for each in depths):
        return "no depth at any of its points"
    return _Points(variants=kept, features=features, depths=depths)


def _rows(photos: Sequence[tuple[Item, _Points]]) -> Rows:
    images = [(*place, variant) for (_, place, *_), found in photos for variant in found.variants]
    columns = np.array(images, dtype=np.int64).reshape(-1, 3).T
    depths = [depth.numpy() for _, found in photos for depth in found.depths]
    return Rows(
        features=[features for _, found in photos for features in found.features],
        per_image=dict(zip(("scene", "frame", "variant"), columns, strict=True)),
        per_point={"depth": np.concatenate([np.zeros(0, np.float32), *depths])},
    )


def _summary(cache: FeatureCache) -> PosedCacheSummary:
    with_depth = sum(int(np.isfinite(cache.per_point("depth", image)).sum()) for image in range(len(cache)))
    photos = np.stack([cache.per_image("scene"), cache.per_image("frame")]) if len(cache) else np.zeros((2, 0))
    summary = PosedCacheSummary(
        path=cache.path,
        photos=np.unique(photos, axis=1).shape[1],
        variants=len(cache),
        points=cache.committed.points,
        points_with_depth=with_depth,
        skipped=skipped_photos(cache),
        bytes=cache.path.stat().st_size,
    )
    cache.close()
    return summary
