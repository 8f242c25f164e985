"""The second stage: scenes with depth and poses."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, final

import torch

from photoglue.datasets.scenes import Scene, read_folders
from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor
from photoglue.store.cache import FeatureCache
from photoglue.training.config import TrainingConfig
from photoglue.training.pairs.base import PairSource
from photoglue.training.pairs.distilled_pairs import DistilledPairs
from photoglue.training.pairs.homography_pairs import HomographyPairs
from photoglue.training.pairs.map_scenes import read_maps
from photoglue.training.pairs.mixture import Mixture
from photoglue.training.pairs.posed_cache import PosedCacheConfig, build_posed_cache, check_posed_cache
from photoglue.training.pairs.posed_pairs import PosedPairs
from photoglue.training.progress import Hooks
from photoglue.training.recipes.base import Recipe, RunData
from photoglue.training.recipes.building import build_once, build_workers, readable_size
from photoglue.training.recipes.presets import PRESETS

HELD_OUT_EVERY = 6
VALIDATION_PAIRS = 120


@final
@dataclass(frozen=True, kw_only=True)
class PosedRecipe(Recipe):
    """Train on pairs of real photos with known depth and poses: the second stage."""

    name: ClassVar[str] = "posed"

    scenes: tuple[Path, ...] = ()
    """Folders of scenes, or MegaDepth (a folder with scene_info); docs/training.md shows the layouts."""
    map: tuple[Path, ...] = ()
    """Maps by `photoglue map`, or other COLMAP models, of which the labels are made; beside --scenes or alone."""
    photos: Path | None = None
    """Folder of the photos of --map; None: the one it was made of, or images/ beside the model."""
    longest_side: int = 1024
    """Photos of --map with a longer side are first scaled down to it, pixels."""
    only: tuple[str, ...] = ()
    """Use only the scenes of these names."""
    skip_missing: bool = False
    """Leave out photos that are missing or whose depth is, and say how many, instead of an error."""
    val_scenes: tuple[str, ...] = ()
    """Names of scenes to validate with; none: every 6th, or of fewer than six the last, is kept out for that."""
    keypoints: int = PRESETS["warm-start-posed"].keypoints
    variants: int = 1
    """Versions of each photo: the photo itself, and others with another light, sharpness or compression."""
    overlap: tuple[float, float] = (0.1, 0.7)
    """Overlap of the pairs used, in [0, 1]: above the first number, up to the second."""
    pairs_per_scene: int = 300
    """Pairs of a scene in an epoch, at most, so that large scenes do not dominate."""
    homographies: Path | None = None
    """Mix with pairs from this cache, which `photoglue train homography --cache` made."""
    homography_share: float = 0.3
    """Share of the pairs from --homographies among all pairs, in (0, 1)."""
    distilled: Path | None = None
    """Mix with pairs from this folder, which `photoglue train distilled --cache` made."""
    distilled_share: float = 0.3
    """Share of the pairs from --distilled among all pairs, in (0, 1)."""
    resize: int | None = None
    """Length of the longer side of the photos that the extractor sees, in pixels; None: as they are."""
    config: TrainingConfig = PRESETS["warm-start-posed"].config

    def data(self, folder: Path, device: torch.device, hooks: Hooks) -> RunData:
        """Build the cache of photos, or use the one that is there; check poses and depths."""
        scenes, held_out = self._scenes()
        apart = self._split(scenes[0]) if not held_out else None
        if not held_out:
            hooks.on_message(_only_scene(scenes[0], apart))
        extractor = self._extractor(device, self.resize)
        cache = self.cache or folder / "cache.h5"
        self._build([*scenes, *held_out], extractor, cache, folder, hooks)
        if apart is not None:
            scenes, held_out = [apart[0]], [apart[1]]
        source = self._pairs(scenes, cache)
        checks = self._pairs(held_out or scenes, cache)
        _check_scenes([source, checks] if held_out and apart is None else [source], hooks)
        validation = tuple(checks.pair(0, i) for i in range(min(VALIDATION_PAIRS, len(checks))))
        places = ", ".join(scene.name for scene in held_out) or "the only scene, which were trained on"
        if apart is not None:
            places += " with photos that were kept out"
        return RunData(
            source=self._mixed(source, extractor),
            validation=validation,
            example=validation[0].features0,
            facts=(
                f"{len(source)} pairs an epoch of {len(scenes)} scenes: "
                + ", ".join(f"{name} ({count})" for name, count in source.pairs_of_scenes.items()),
                f"overlap above {self.overlap[0]:g}, up to {self.overlap[1]:g}, at most "
                f"{self.keypoints} points of a photo",
                *([f"{self.homography_share:.0%} of all pairs from homographies"] if self.homographies else []),
                *([f"{self.distilled_share:.0%} of all pairs by a teacher"] if self.distilled else []),
                f"validated on {len(validation)} pairs of {places}",
            ),
        )

    def _scenes(self) -> tuple[list[Scene], list[Scene]]:
        """Scenes to train on, and scenes to validate with."""
        scenes = self._read()
        # Of fewer than six, the last; of a single one, none.
        some = scenes[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY] or scenes[1:][-1:]
        kept_out = self.val_scenes or tuple(scene.name for scene in some)
        rest = [scene for scene in scenes if scene.name not in kept_out]
        if not rest:
            raise ConfigError("All scenes are in --val-scenes: none is left to train on.")
        return rest, [scene for scene in scenes if scene.name in kept_out]

    def _read(self) -> list[Scene]:
        """The scenes of folders and maps that are wanted."""
        if not self.map:
            if not self.scenes:
                raise ConfigError("Train on what? Give folders of scenes as --scenes, or maps as --map.")
            return read_folders(self.scenes, only=self.only, also=self.val_scenes, skip_missing=self.skip_missing)
        scenes = read_folders(self.scenes, skip_missing=self.skip_missing) if self.scenes else []
        scenes += read_maps(
            self.map, photos=self.photos, longest_side=self.longest_side, skip_missing=self.skip_missing
        )
        names = [scene.name for scene in scenes]
        for name in (*self.only, *self.val_scenes):
            if name not in names:
                raise ConfigError(f"There is no scene {name!r}. There are: {', '.join(names)}.")
        wanted = {*self.only, *self.val_scenes} if self.only else set(names)
        return [scene for scene in scenes if scene.name in wanted]

    def _split(self, scene: Scene) -> tuple[Scene, Scene] | None:
        """The scene's pairs without every 6th photo, and those with one; None if that leaves too little of either."""
        held = torch.arange(len(scene)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        with_held = held[scene.pairs].any(dim=1)
        usable = (scene.overlaps > self.overlap[0]) & (scene.overlaps <= self.overlap[1])
        if int(held.sum()) < 2 or not (usable & with_held).any() or not (usable & ~with_held).any():
            return None
        rest, apart = (
            replace(scene, pairs=scene.pairs[rows], overlaps=scene.overlaps[rows]) for rows in (~with_held, with_held)
        )
        return rest, apart

    def _build(self, scenes: list[Scene], extractor: Extractor, path: Path, folder: Path, hooks: Hooks) -> None:
        photos, kept = sum(len(scene) for scene in scenes) * self.variants, self.cached_keypoints
        size = photos * kept * (24 + 2 * extractor.descriptor_dim)
        plan = "from" if path.exists() else f"of {photos:,} photos, about {readable_size(size)} →"
        hooks.on_message(f"{len(scenes)} scenes; {extractor.kind} features {plan} {path}")
        fewest = min(PosedCacheConfig.min_keypoints, kept)
        config = PosedCacheConfig(variants=self.variants, max_keypoints=kept, min_keypoints=fewest)
        workers = build_workers(self.build_workers, photos)
        build = partial(build_posed_cache, scenes, extractor, path, config)
        build_once(path, partial(build, workers=workers, progress=hooks.on_extraction), folder, hooks)

    def _pairs(self, scenes: list[Scene], cache: Path) -> PosedPairs:
        return PosedPairs(
            scenes,
            FeatureCache.open(cache),
            overlap=self.overlap,
            pairs_per_scene=self.pairs_per_scene,
            seed=self.config.seed,
            max_keypoints=self.keypoints,
            selection=self.select,
        )

    def _mixed(self, source: PosedPairs, extractor: Extractor) -> PairSource:
        """The pairs, mixed with homographies and pairs of a teacher if that was asked for."""
        seed, some = self.config.seed, {"max_keypoints": self.keypoints, "selection": self.select}
        parts: list[tuple[HomographyPairs | DistilledPairs, float]] = []
        if self.homographies is not None:
            cached = FeatureCache.open(self.homographies)
            parts.append((HomographyPairs(cached, seed=seed, **some), self.homography_share))  # type: ignore[arg-type]
        if self.distilled is not None:
            parts.append((DistilledPairs(self.distilled, seed=seed, **some), self.distilled_share))  # type: ignore[arg-type]
        for other, share in parts:
            if not 0 < share < 1:
                raise ConfigError(f"A share of pairs is {share:g}; it must be between 0 and 1.")
            if other.cache.kind != extractor.kind:
                raise ConfigError(
                    f"{str(other.cache.path)!r} has {other.cache.kind} features; those of the scenes are "
                    f"{extractor.kind}."
                )
        own = 1 - sum(share for _, share in parts)
        if own <= 0:
            raise ConfigError(
                "--homography-share and --distilled-share leave nothing for the scenes: they add up to 1."
            )
        return Mixture([(source, own), *parts], seed=seed) if parts else source


def _only_scene(scene: Scene, apart: tuple[Scene, Scene] | None) -> str:
    """What is validated with if there is no other scene."""
    if apart is not None:
        return (
            f"{scene.name!r} is the only scene: every {HELD_OUT_EVERY}th photo is kept out of training, and "
            f"validation is on {len(apart[1].pairs)} pairs with these. Its numbers say nothing about other places."
        )
    return (
        f"{scene.name!r} is the only scene: validation is on pairs that are trained on. Its numbers say "
        "nothing about other places, and the best weights are chosen by them. Give another scene to keep out."
    )


def _check_scenes(sources: list[PosedPairs], hooks: Hooks) -> None:
    """Say of each scene whether its photos agree with its poses and depths."""
    checks = [check for source in sources for check in check_posed_cache(source)]
    for check in checks:
        if not check.contradicts:  # of the others check_posed_cache warns
            hooks.on_message(check.describe())
    if checks and all(check.contradicts for check in checks):
        hooks.on_message(
            "All scenes seem to contradict their photos. If the nearest neighbours of these features are mostly wrong, "
            "that alone does it: the same scenes with --features sift tell."
        )
