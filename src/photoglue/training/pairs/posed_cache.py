"""From posed scenes to the features of each photo and the depth at each keypoint: done once, read in every epoch."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from photoglue.datasets.depth import has_depth, read_depth, sample_depth
from photoglue.datasets.photos import read_photo
from photoglue.datasets.scenes import Scene
from photoglue.datasets.sparse import SparseDepth
from photoglue.errors import ConfigError, PhotoGlueWarning
from photoglue.extractors.base import Extractor
from photoglue.training.pairs.augment import augment
from photoglue.training.pairs.caches import (
    CacheConfig,
    CacheSummary,
    Described,
    Item,
    Progress,
    digest_of_photos,
    fill_cache,
)
from photoglue.training.pairs.posed_pairs import PosedPairs
from photoglue.training.pairs.scene_check import SceneCheck, check_pairs

Variants: TypeAlias = tuple[list[UInt8[np.ndarray, "h w 3"]], Float[Tensor, "h w"] | SparseDepth]
"""The variants of a photo, and its depth: at each pixel, or where a model has points."""


@dataclass(frozen=True, kw_only=True)
class PosedCacheConfig(CacheConfig):
    """What decides the content of a cache of posed photos, beside the scenes and the extractor."""

    columns: ClassVar[tuple[str, ...]] = ("scene", "frame", "variant")

    variants: int = 1
    """So many of each photo: the photo itself, and others with another light, sharpness or compression."""

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise ConfigError(f"variants is {self.variants}; it must be 1 (the photo itself) or more.")
        super().__post_init__()

    def read(self, item: Item) -> Variants | str:
        """The variants and the depth of a photo; or why it does not fit its camera."""
        frame = item.source
        sparse = isinstance(frame.depth, SparseDepth)
        photo = read_photo(frame.image_path, frame.camera.image_size if sparse else None)
        depth = frame.depth if sparse else read_depth(frame)
        size = photo.shape[1], photo.shape[0]
        if size != frame.camera.image_size:
            return f"{size[0]} × {size[1]} pixels once upright (EXIF), and its camera is for {frame.camera.image_size}"
        generators = [np.random.default_rng([self.seed, item.number, variant]) for variant in range(1, self.variants)]
        return [photo, *(_augmented(photo, generator) for generator in generators)], depth

    def describe(self, extractor: Extractor, photo: Variants) -> Described | str:
        """The variants with enough points, and the depth at each; or why there are none."""
        variants, depth = photo
        kept, most = self.extracted(extractor, variants)
        if not kept:
            return f"too few points: {most}, and {self.min_keypoints} are needed"
        if isinstance(depth, SparseDepth):
            seen = [depth.straight(features.keypoints).isfinite().all(dim=1) for _, features in kept]
            kept = [(number, features[there]) for (number, features), there in zip(kept, seen, strict=True)]
            depths = [depth.at(depth.straight(features.keypoints)) for _, features in kept]
        else:
            depths = [sample_depth(depth, features.keypoints) for _, features in kept]
        if not any(bool(has_depth(each).any()) for each in depths):
            return "no depth at any of its points"
        return [(*variant, each.numpy()) for variant, each in zip(kept, depths, strict=True)]

    def arrays(self, known: list[np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The depth at each point."""
        return {}, {"depth": np.concatenate([np.zeros(0, np.float32), *known])}


def build_posed_cache(
    scenes: Sequence[Scene],
    extractor: Extractor,
    path: str | os.PathLike[str],
    config: PosedCacheConfig | None = None,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> CacheSummary:
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
    if not scenes or len({scene.name for scene in scenes}) < len(scenes):
        raise ConfigError(
            f"Scenes need different names; these are {', '.join(scene.name for scene in scenes) or 'none'}."
        )
    items: list[Item] = []
    for number, scene in enumerate(scenes):
        for i, frame in enumerate(scene.frames):
            items.append(Item(len(items), f"{scene.name}/{frame.name}", (number, i), frame))
    about = {
        "content": "photos of posed scenes",
        "photos": digest_of_photos(frame.image_path for scene in scenes for frame in scene.frames),
        "scenes": {scene.name: scene.fingerprint for scene in scenes},
        # So that a file with fingerprints of an earlier version is not taken for one of other scenes.
        "scenes_known_by": "names, cameras, poses, depth_scale, sizes of files",
    }
    config = config or PosedCacheConfig()
    return fill_cache(Path(path), about, items, config, extractor, workers=workers, progress=progress)


def check_posed_cache(pairs: PosedPairs) -> list[SceneCheck]:
    """Whether poses and depths agree with the photos, by eight pairs of each scene; warns of scenes that do not."""
    checks = [check_pairs(name, pairs.examples(name, 8)) for name in pairs.pairs_of_scenes]
    for check in checks:
        if check.contradicts:
            warnings.warn(check.describe(), PhotoGlueWarning, stacklevel=2)
    return checks


def _augmented(photo: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """The photo with at least one change: a fourth of all draws makes none."""
    while (changed := augment(photo, generator, probability=1.0)) is photo:
        pass
    return changed
