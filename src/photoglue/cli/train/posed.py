"""`photoglue train posed`: the second stage, from scenes with depth and poses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
from rich.console import Console

from photoglue.cli.train.base import PresetName, RunData, RunOptions
from photoglue.cli.train.build import Told, build_once, build_workers, list_skipped, readable_size
from photoglue.datasets.scenes import Scene, find_scenes, read_megadepth_scene, read_scene
from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import training_extractor
from photoglue.store.cache import FeatureCache
from photoglue.training.pairs.base import PairSource, PosedPair
from photoglue.training.pairs.homography_pairs import HomographyPairs
from photoglue.training.pairs.mixture import Mixture
from photoglue.training.pairs.posed_cache import PosedCacheConfig, build_posed_cache, check_posed_cache
from photoglue.training.pairs.posed_pairs import PosedPairs
from photoglue.training.validation import PoseExample

HELD_OUT_EVERY = 6
VALIDATION_PAIRS = 120


@dataclass(frozen=True, kw_only=True)
class TrainPosed(RunOptions):
    """Train on pairs of real photos with known depth and poses: the second stage."""

    command: ClassVar[str] = "posed"

    scenes: tuple[Path, ...]
    """Folders of scenes, or MegaDepth (a folder with scene_info); docs/training.md shows the layouts."""
    only: tuple[str, ...] = ()
    """Use only the scenes of these names."""
    val_scenes: tuple[str, ...] = ()
    """Names of scenes to validate with; none: every 6th, or of fewer than six the last, is kept out for that."""
    features: str = "sift"
    """sift, aliked, disk, superpoint, doghardnet, …; or a class of yours: package.module:Class, path/file.py:Class."""
    preset: PresetName = "warm-start-posed"
    """Recipe to begin with; the other options change single parts of it."""
    cache: Path | None = None
    """Where the features are kept, for other runs to use again; None: cache.h5 in the folder of the run."""
    cache_keypoints: int | None = None
    """Points kept of each photo; None: as many as --keypoints."""
    select: Literal["best", "random"] = "best"
    """Which of them, if the cache has more than --keypoints."""
    variants: int = 1
    """The photo itself, and others with another light, sharpness or compression."""
    overlap: tuple[float, float] = (0.1, 0.7)
    """Of the pairs used: above the first, up to the second."""
    pairs_per_scene: int = 300
    """In an epoch, at most, so that large scenes do not dominate."""
    homographies: Path | None = None
    """Mix with pairs from this cache, which `photoglue train homography --cache` made."""
    homography_share: float = 0.3
    """Their share of all pairs, in (0, 1)."""
    resize: int | None = None
    """Length of the longer side of the photos that the extractor sees, in pixels; None: as they are."""
    build_workers: int | None = None
    """Processes that extract features; None: one for each core."""
    allow_noncommercial: bool = False
    """Accept extractor weights that may not be used commercially."""

    def data(self, console: Console, device: torch.device) -> RunData:
        """Build the cache of photos, or use the one that is there; check poses and depths."""
        scenes, held_out = self._scenes()
        if not held_out:
            console.print(
                f"{scenes[0].name!r} is the only scene: validation is on pairs that are trained on. Its numbers say "
                "nothing about other places, and the best weights are chosen by them. Give another scene to keep out.",
                soft_wrap=True,
                markup=False,
            )
        per_photo = self.keypoints_of_image if self.cache_keypoints is None else self.cache_keypoints
        extractor = training_extractor(
            self.features, max_keypoints=per_photo, allow_noncommercial=self.allow_noncommercial, resize=self.resize
        ).to(device)
        cache = self.cache or self.out / "cache.h5"
        self._build(console, [*scenes, *held_out], extractor, cache, per_photo)
        source = self._pairs(scenes, cache)
        checks = self._pairs(held_out or scenes, cache)
        _check_scenes(console, [source, checks] if held_out else [source])
        validation = tuple(checks.pair(0, i) for i in range(min(VALIDATION_PAIRS, len(checks))))
        told = ", ".join(scene.name for scene in held_out) or "the only scene, which were trained on"
        return RunData(
            source=self._mixed(source, extractor),
            validation=validation,
            posed=tuple(_example(pair) for pair in validation),
            example=validation[0].features0,
            facts=(
                f"{len(source)} pairs an epoch of {len(scenes)} scenes: "
                + ", ".join(f"{name} ({count})" for name, count in source.pairs_of_scenes.items()),
                f"overlap above {self.overlap[0]:g}, up to {self.overlap[1]:g}, at most "
                f"{self.keypoints_of_image} points of a photo",
                *([f"{self.homography_share:.0%} of all pairs from homographies"] if self.homographies else []),
                f"validated on {len(validation)} pairs of {told}",
            ),
        )

    def _scenes(self) -> tuple[list[Scene], list[Scene]]:
        """Those to train on, and those to validate with."""
        scenes = read_folders(self.scenes, only=self.only, also=self.val_scenes)
        # Of fewer than six, the last; of a single one, none.
        some = scenes[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY] or scenes[1:][-1:]
        kept_out = self.val_scenes or tuple(scene.name for scene in some)
        rest = [scene for scene in scenes if scene.name not in kept_out]
        if not rest:
            raise ConfigError("All scenes are in --val-scenes: none is left to train on.")
        return rest, [scene for scene in scenes if scene.name in kept_out]

    def _build(self, console: Console, scenes: list[Scene], extractor: Extractor, path: Path, per_photo: int) -> None:
        photos = sum(len(scene) for scene in scenes) * self.variants
        size = photos * per_photo * (24 + 2 * extractor.descriptor_dim)
        done = "from" if path.exists() else f"of {photos:,} photos, about {readable_size(size)} →"
        console.print(f"{len(scenes)} scenes; {extractor.kind} features {done} {path}", soft_wrap=True)
        fewest = min(PosedCacheConfig.min_keypoints, per_photo)
        config = PosedCacheConfig(variants=self.variants, max_keypoints=per_photo, min_keypoints=fewest)

        def build(told: Told) -> None:
            workers = build_workers(self.build_workers, photos)
            summary = build_posed_cache(scenes, extractor, path, config, workers=workers, progress=told)
            list_skipped(console, summary.skipped, self.out / f"{path.name}.skipped.txt")

        build_once(path, build, console)

    def _pairs(self, scenes: list[Scene], cache: Path) -> PosedPairs:
        return PosedPairs(
            scenes,
            FeatureCache.open(cache),
            overlap=self.overlap,
            pairs_per_scene=self.pairs_per_scene,
            seed=self.training_config().seed,
            max_keypoints=self.keypoints_of_image,
            selection=self.select,
        )

    def _mixed(self, source: PosedPairs, extractor: Extractor) -> PairSource:
        """With homographies, if that was asked for."""
        if self.homographies is None:
            return source
        if not 0 < self.homography_share < 1:
            raise ConfigError(f"--homography-share is {self.homography_share:g}; it must be between 0 and 1.")
        cache = FeatureCache.open(self.homographies)
        if cache.kind != extractor.kind:
            raise ConfigError(
                f"{str(self.homographies)!r} has {cache.kind} features; those of the scenes are {extractor.kind}."
            )
        seed = self.training_config().seed
        others = HomographyPairs(cache, seed=seed, max_keypoints=self.keypoints_of_image, selection=self.select)
        return Mixture([(source, 1 - self.homography_share), (others, self.homography_share)], seed=seed)


def _check_scenes(console: Console, sources: list[PosedPairs]) -> None:
    """Say of each scene whether its photos agree with its poses and depths."""
    found = [check for source in sources for check in check_posed_cache(source)]
    for check in found:
        if not check.contradicts:  # those that do are warned of there
            console.print(check.describe(), soft_wrap=True)
    if found and all(check.contradicts for check in found):
        console.print(
            "All scenes seem to contradict their photos. If the nearest neighbours of these features are mostly wrong, "
            "that alone does it: the same scenes with --features sift tell.",
            soft_wrap=True,
        )


def read_folders(folders: Sequence[Path], *, only: Sequence[str] = (), also: Sequence[str] = ()) -> list[Scene]:
    """The scenes of some folders, in either layout. Those that are not wanted are not read: they may be incomplete.

    Args:
        folders: Each with scenes, or a scene itself, or MegaDepth.
        only: Names of the wanted ones; empty: all.
        also: Names of others that are wanted.

    Raises:
        ConfigError: If there is none of such a name, or a wanted one is not complete.
    """
    found = [scene for folder in folders for scene in _scenes_of(folder)]
    names = [name for name, _ in found]
    for name in (*only, *also):
        if name not in names:
            raise ConfigError(f"There is no scene {name!r}. There are: {', '.join(names)}.")
    return [read() for name, read in found if not only or name in (*only, *also)]


def _scenes_of(folder: Path) -> list[tuple[str, Callable[[], Scene]]]:
    """The names of a folder's scenes, and what reads them."""
    infos = folder / "scene_info"
    if not infos.is_dir():
        return [(path.name, partial(read_scene, path)) for path in find_scenes(folder)]
    paths = sorted(infos.glob("*.npz"))
    if not paths:
        raise ConfigError(f"{str(infos)!r} holds no scenes: files of MegaDepth, NAME.npz, were wanted.")
    return [(path.stem, partial(read_megadepth_scene, path, folder)) for path in paths]


def _example(pair: PosedPair) -> PoseExample:
    return PoseExample(
        features0=pair.features0,
        features1=pair.features1,
        camera0=pair.camera0,
        camera1=pair.camera1,
        cam1_from_cam0=pair.cam1_from_cam0,
    )
