"""From posed scenes to the features of each photo and the depth at each keypoint: done once, read in every epoch."""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from photoglue.datasets.depth import has_depth, read_depth, sample_depth
from photoglue.datasets.photos import SkippedPhoto, read_photo
from photoglue.datasets.scenes import Frame, Scene
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning
from photoglue.extractors.base import Extractor, extractor_options
from photoglue.store import atomic_store
from photoglue.store.cache import CacheWriter, FeatureCache
from photoglue.structs import Features
from photoglue.training.pairs.augment import augment
from photoglue.training.pairs.posed_pairs import PosedPairs
from photoglue.training.pairs.scene_check import SceneCheck, check_pairs
from photoglue.workers import in_order

PHOTOS_PER_COMMIT = 16

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many photos are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class PosedCacheConfig:
    """What decides the content of a cache, beside the scenes and the extractor."""

    variants: int = 1
    """Of each photo: the photo itself, and others with another light, sharpness or compression."""
    seed: int = 0
    max_keypoints: int = 2048
    """Kept of each photo, those with the highest scores."""
    min_keypoints: int = 64
    """A photo with fewer is left out."""

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise ConfigError(f"variants is {self.variants}; it must be 1 (the photo itself) or more.")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; it must be between 0 and 2⁶³ - 1.")
        if not 1 <= self.min_keypoints <= self.max_keypoints:
            raise ConfigError(
                f"min_keypoints is {self.min_keypoints} and max_keypoints {self.max_keypoints}; the first must be at "
                "least 1 and not above the second."
            )


@dataclass(frozen=True, kw_only=True)
class PosedCacheSummary:
    """What a cache holds."""

    path: Path
    photos: int
    variants: int
    """Of all photos."""
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
    """What is kept of a photo: something of each variant with enough points."""

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
        path: Of the HDF5 file.
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
    if workers < 0:
        raise ConfigError(f"workers is {workers}; it must be 0 (this process) or more.")
    options = _options(scenes, extractor, config)
    if not path.exists():
        with atomic_store(path, options, CacheWriter) as writer:
            _fill(writer, scenes, extractor, config, workers, progress or (lambda *_: None))
    return _summary(FeatureCache.open(path, options=options))


def check_posed_cache(pairs: PosedPairs, *, pairs_per_scene: int = 8) -> list[SceneCheck]:
    """Whether poses and depths agree with the photos, by the features in the cache; warns of scenes that do not.

    Args:
        pairs: Of the cache.
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
        "scenes": {scene.name: scene.fingerprint for scene in scenes},
        # So that a file with fingerprints of an earlier version is not taken for one of other scenes.
        "scenes_known_by": "names, cameras, poses, depth_scale, sizes of files",
        **asdict(config),
    }


def _fill(
    writer: CacheWriter,
    scenes: Sequence[Scene],
    extractor: Extractor,
    config: PosedCacheConfig,
    workers: int,
    progress: Progress,
) -> None:
    """Adds the photos that are not in the file."""
    photos = [(number, place) for number, scene in enumerate(scenes) for place in range(len(scene))]
    done = writer.committed.steps
    # A process that has used a GPU cannot lend it to others: they read the photos, this one extracts.
    lent = extractor if extractor.device.type == "cpu" else None
    items = [(place, scenes[photos[place][0]].frames[photos[place][1]]) for place in range(done, len(photos))]
    progress(done, len(photos))
    batch: list[tuple[int, _Points | str]] = []
    for place, found in enumerate(in_order(_work, (lent, config), items, workers), start=done):
        batch.append((place, _described(found, extractor, config) if isinstance(found, _Photo) else found))
        if len(batch) == PHOTOS_PER_COMMIT or place + 1 == len(photos):
            _commit(writer, scenes, photos, batch)
            batch = []
        progress(place + 1, len(photos))


def _commit(
    writer: CacheWriter,
    scenes: Sequence[Scene],
    photos: list[tuple[int, int]],
    batch: list[tuple[int, _Points | str]],
) -> None:
    kept = [(*photos[place], found) for place, found in batch if isinstance(found, _Points)]
    images = [(scene, frame, variant) for scene, frame, found in kept for variant in found.variants]
    columns = np.array(images, dtype=np.int64).reshape(-1, 3).T
    depths = [depth.numpy() for *_, found in kept for depth in found.depths]
    writer.append(
        [features for *_, found in kept for features in found.features],
        steps=len(batch),
        per_image=dict(zip(("scene", "frame", "variant"), columns, strict=True)),
        per_point={"depth": np.concatenate([np.zeros(0, np.float32), *depths])},
        notes=[f"{_name(scenes, photos[place])}\t{found}" for place, found in batch if isinstance(found, str)],
    )


def _name(scenes: Sequence[Scene], photo: tuple[int, int]) -> str:
    scene = scenes[photo[0]]
    return f"{scene.name}/{scene.frames[photo[1]].name}"


def _work(state: tuple[Extractor | None, PosedCacheConfig], item: tuple[int, Frame]) -> _Photo | _Points | str:
    """Points of a photo, or the photo if there is no extractor, or why there is nothing."""
    (extractor, config), (number, frame) = state, item
    try:
        photo, depth = read_photo(frame.image_path), read_depth(frame)
    except ImageError as error:
        return f"unreadable: {error}"
    size = photo.shape[1], photo.shape[0]
    if size != frame.camera.image_size:
        return f"{size[0]} × {size[1]} pixels once upright (EXIF), and its camera is for {frame.camera.image_size}"
    generators = [np.random.default_rng([config.seed, number, variant]) for variant in range(1, config.variants)]
    variants = [photo, *(_augmented(photo, generator) for generator in generators)]
    read = _Photo(variants=variants, depth=depth)
    return read if extractor is None else _described(read, extractor, config)


def _augmented(photo: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """The photo with at least one change: a fourth of all draws makes none."""
    while (changed := augment(photo, generator, probability=1.0)) is photo:
        pass
    return changed


def _described(photo: _Photo, extractor: Extractor, config: PosedCacheConfig) -> _Points | str:
    every = [_best(each, config) for each in extractor.extract_many(photo.variants, batch_size=len(photo.variants))]
    kept = [variant for variant, features in enumerate(every) if len(features) >= config.min_keypoints]
    if not kept:
        return f"too few points: {max(len(features) for features in every)}, and {config.min_keypoints} are needed"
    features = [every[variant] for variant in kept]
    depths = [sample_depth(photo.depth, each.keypoints) for each in features]
    if not any(bool(has_depth(each).any()) for each in depths):
        return "no depth at any of its points"
    return _Points(variants=kept, features=features, depths=depths)


def _best(features: Features, config: PosedCacheConfig) -> Features:
    """The points with the highest scores, best first."""
    features = features.cpu()
    order = torch.argsort(features.scores, descending=True, stable=True)[: config.max_keypoints]
    return features[order]


def _summary(cache: FeatureCache) -> PosedCacheSummary:
    skipped = [line.partition("\t") for line in cache.notes()]
    with_depth = sum(int(np.isfinite(cache.per_point("depth", image)).sum()) for image in range(len(cache)))
    photos = np.stack([cache.per_image("scene"), cache.per_image("frame")]) if len(cache) else np.zeros((2, 0))
    summary = PosedCacheSummary(
        path=cache.path,
        photos=np.unique(photos, axis=1).shape[1],
        variants=len(cache),
        points=cache.committed.points,
        points_with_depth=with_depth,
        skipped=tuple(SkippedPhoto(name=name, reason=reason) for name, _, reason in skipped),
        bytes=cache.path.stat().st_size,
    )
    cache.close()
    return summary
