"""Real photos without poses: another matcher says what they have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import torch

from photoglue.datasets.photos import photos_of
from photoglue.errors import ConfigError
from photoglue.pipeline import Pipeline
from photoglue.store.cache import FeatureCache
from photoglue.training.config import TrainingConfig
from photoglue.training.ground_truth import EXACT_RULES, LabelRules
from photoglue.training.pairs.base import PairSource
from photoglue.training.pairs.distilled import (
    SEEN,
    DistilledConfig,
    PhotoCacheConfig,
    Seen,
    build_distilled,
)
from photoglue.training.pairs.distilled_pairs import DistilledPairs
from photoglue.training.pairs.homography_pairs import HomographyPairs
from photoglue.training.pairs.mixture import Mixture
from photoglue.training.progress import Hooks
from photoglue.training.recipes.base import Recipe, RunData
from photoglue.training.recipes.building import build_once, build_workers
from photoglue.training.recipes.presets import PRESETS

HELD_OUT_EVERY = 8
VALIDATION_PAIRS = 120


@final
@dataclass(frozen=True, kw_only=True)
class DistilledRecipe(Recipe):
    """Train on photos without poses, by what another matcher, the teacher, finds in them."""

    name: ClassVar[str] = "distilled"

    images: tuple[Path, ...]
    """Folders of photos, searched with their subfolders; the same places should be on several."""
    only: Path | None = None
    """Use only the photos that this text file names, one a line, by their paths below the folder that has all."""
    teacher: str = "aliked"
    """Features of the teacher, whose LightGlue finds what photos have in common: any that `photoglue match` takes."""
    teacher_weights: Path | None = None
    """LightGlue weights of the teacher; None: the released ones for its features."""
    teacher_keypoints: int = 1024
    """Points of a photo that the teacher sees, at most."""
    neighbors: int = 10
    """Photos most like each photo that the teacher matches it with."""
    min_seen: int = 50
    """Fewest matches of the teacher that fit one geometry, for a pair to be used."""
    keypoints: int = PRESETS["warm-start-posed"].keypoints
    variants: int = 1
    """Versions of each photo: the photo itself, and others with another light, sharpness or compression."""
    homographies: Path | None = None
    """Mix with pairs from this cache, which `photoglue train homography --cache` made."""
    homography_share: float = 0.3
    """Share of the pairs from --homographies among all pairs, in (0, 1)."""
    cache: Path | None = None
    """Folder in which features and matches are kept, for other runs to use again; None: cache in that of the run."""
    labels: LabelRules = EXACT_RULES
    """Which points match, which have no partner, and which do not count."""
    config: TrainingConfig = PRESETS["warm-start-posed"].config

    def data(self, folder: Path, device: torch.device, hooks: Hooks) -> RunData:
        """Ask the teacher, extract the features, or use what is there."""
        place = self.cache or folder / "cache"
        self._build(place, folder, device, hooks)
        rows, apart = _held_out(Seen.read(place / SEEN))
        source, checks = (self._pairs(place, some) for some in (rows, apart))
        validation = tuple(checks.pair(0, i) for i in range(min(VALIDATION_PAIRS, len(checks))))
        seen = source.seen
        return RunData(
            source=self._mixed(source),
            validation=validation,
            example=validation[0].features0,
            facts=(
                f"{len(source)} pairs of photos in which {self.teacher} + LightGlue found {self.min_seen} or more "
                f"matches of one geometry, {len(seen.points) / len(seen):.0f} on average; at most {self.keypoints} "
                "points of a photo",
                *([f"{self.homography_share:.0%} of all pairs from homographies"] if self.homographies else []),
                f"validated on {len(validation)} pairs with a photo that was kept out",
            ),
        )

    def _build(self, place: Path, folder: Path, device: torch.device, hooks: Hooks) -> None:
        photos = self._photos()
        student = self._extractor(device)
        teacher = Pipeline.pretrained(
            self.teacher,
            max_keypoints=self.teacher_keypoints,
            weights=self.teacher_weights,
            device=device,
            allow_noncommercial=self.allow_noncommercial,
        )
        hooks.on_message(f"{len(photos)} photos, {self.teacher} as the teacher, {student.kind} features → {place}")
        kept = self.cached_keypoints
        place.mkdir(parents=True, exist_ok=True)
        build_once(
            place / "cache.h5",
            lambda: build_distilled(
                photos,
                teacher,
                student,
                place,
                config=DistilledConfig(neighbors=self.neighbors, min_seen=self.min_seen),
                cache=PhotoCacheConfig(
                    variants=self.variants,
                    max_keypoints=kept,
                    min_keypoints=min(PhotoCacheConfig.min_keypoints, kept),
                ),
                workers=build_workers(self.build_workers, len(photos)),
                progress=lambda _, done, total: hooks.on_extraction(done, total),
            ),
            folder,
            hooks,
        )

    def _photos(self) -> dict[str, Path]:
        if not self.images:
            raise ConfigError("Train on what? Give folders of photos as --images.")
        found = photos_of(self.images)
        photos = {name: found.path(i) for i, name in enumerate(found.names)}
        if self.only is None:
            return photos
        wanted = [line for line in self.only.read_text(encoding="utf-8").splitlines() if line.strip()]
        if absent := [name for name in wanted if name not in photos]:
            raise ConfigError(f"{str(self.only)!r} names {absent[0]!r}, which is not below {str(found.root)!r}.")
        return {name: photos[name] for name in wanted}

    def _pairs(self, place: Path, rows: np.ndarray) -> DistilledPairs:
        return DistilledPairs(
            place, rows=rows, seed=self.config.seed, max_keypoints=self.keypoints, selection=self.select
        )

    def _mixed(self, source: DistilledPairs) -> PairSource:
        if self.homographies is None:
            return source
        cache = FeatureCache.open(self.homographies)
        if cache.kind != source.cache.kind:
            raise ConfigError(
                f"{str(self.homographies)!r} has {cache.kind} features; those here are {source.cache.kind}."
            )
        seed = self.config.seed
        others = HomographyPairs(cache, seed=seed, max_keypoints=self.keypoints, selection=self.select)
        return Mixture([(source, 1 - self.homography_share), (others, self.homography_share)], seed=seed)


def _held_out(seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Pairs without every 8th of the photos that are in any, and those with one."""
    kept = np.unique(seen.photos)[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    apart = np.isin(seen.photos, kept).any(axis=1)
    if apart.all() or not apart.any():
        raise ConfigError(
            f"The teacher sees something in {len(seen)} pairs of {len(np.unique(seen.photos))} photos: too few to keep "
            f"every {HELD_OUT_EVERY}th photo out to validate with. Give more photos."
        )
    return np.flatnonzero(~apart), np.flatnonzero(apart)
