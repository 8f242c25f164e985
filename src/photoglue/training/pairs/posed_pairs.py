"""Training pairs from a cache of photos of posed scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from photoglue.datasets.scenes import Scene
from photoglue.datasets.sparse import SparseDepth
from photoglue.errors import ConfigError
from photoglue.geometry.pose import relative_pose
from photoglue.store.cache import CacheWriter, FeatureCache
from photoglue.structs import Features
from photoglue.training.pairs.base import PairSource, PosedPair
from photoglue.training.pairs.homography_pairs import Selection
from photoglue.training.pairs.scene_check import spread_over_overlaps

# Features of an image, and depth at each point.
_Points: TypeAlias = tuple[Features, Float[Tensor, " _"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _CachedScene:
    scene: Scene
    images: dict[int, list[int]]
    """Numbers in the cache of the variants of each photo, by the photo's number in the scene."""
    rows: Int64[Tensor, " r"]
    """Rows of the scene's pairs whose two photos are in the cache."""


@final
class PosedPairs(PairSource):
    """Two photos of the same scene whose overlap is in a range, chosen anew for each epoch.

    A scene gives at most so many pairs in an epoch, so that large ones do not dominate, and they are spread evenly over
    bins of overlap as far as there are any. The defaults are those of the official recipe for MegaDepth (there, bins
    with few pairs are left out; here all of a small scene's pairs are used).
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        cache: FeatureCache,
        *,
        overlap: tuple[float, float] = (0.1, 0.7),
        bins: int = 3,
        pairs_per_scene: int = 300,
        seed: int = 0,
        max_keypoints: int | None = None,
        selection: Selection = "best",
    ) -> None:
        """Read which photos the cache has, and nothing else.

        Args:
            scenes: Scenes that the cache was made of, or some of them.
            cache: Made by ``build_posed_cache``.
            overlap: Range of the overlap of pairs: above the first number, up to the second.
            bins: Number of bins of equal width in this range.
            pairs_per_scene: Pairs of a scene in an epoch, at most.
            seed: Seed of the choice and order of the pairs.
            max_keypoints: Keypoints of each photo, at most; None: all that the cache has.
            selection: Which keypoints are used if there are more: those with the highest scores, or a random choice,
                another for each pair.

        Raises:
            ConfigError: If the cache was not made of these scenes, no pair is in the range, or an option does not fit.
        """
        low, high = overlap
        if not 0 <= low < high <= 1:
            raise ConfigError(f"overlap is {overlap}; it must be two rising numbers in [0, 1].")
        for name, value in (("bins", bins), ("pairs_per_scene", pairs_per_scene), ("max_keypoints", max_keypoints)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1.")
        self.cache = cache
        self._seed, self._max_keypoints, self._selection = seed, max_keypoints, selection
        self._scenes = _cached_scenes(scenes, cache)
        self._bins = [_rows_in_bins(scene, np.linspace(low, high, bins + 1)) for scene in self._scenes]
        self._shares = [_shares([len(rows) for rows in each], pairs_per_scene) for each in self._bins]
        self._length = sum(sum(shares) for shares in self._shares)
        if not any(each.images for each in self._scenes):
            raise ConfigError(
                f"{str(cache.path)!r} has no photo of {', '.join(scene.name for scene in scenes)}: each of them was "
                "left out, as listed when the cache was built. Photos need depth and enough points; correct that, and "
                "remove the file."
            )
        if not self._length:
            names = ", ".join(scene.name for scene in scenes)
            raise ConfigError(
                f"No pair of photos of {names} in {str(cache.path)!r} has an overlap above {low:g} and up to {high:g}; "
                "give another range."
            )
        self._order: tuple[int, np.ndarray] = (-1, np.zeros((0, 2), np.int64))

    def __len__(self) -> int:
        return self._length

    @property
    def pairs_of_scenes(self) -> dict[str, int]:
        """How many pairs each scene gives in an epoch; 0 for a scene without any in the range."""
        return {each.scene.name: sum(shares) for each, shares in zip(self._scenes, self._shares, strict=True)}

    def pair(self, epoch: int, index: int) -> PosedPair:
        """One pair, in main memory; see PairSource. Either photo comes first, in any of its variants."""
        if self._order[0] != epoch:
            self._order = (epoch, self._chosen(epoch))
        number, row = self._order[1][index]
        generator = np.random.default_rng([self._seed, 1, epoch, index])
        cached = self._scenes[number]
        frame0, frame1 = generator.permutation(cached.scene.pairs[row].numpy()).tolist()
        image0, image1 = (int(generator.choice(cached.images[frame])) for frame in (frame0, frame1))
        return self._pair(
            cached.scene, (frame0, frame1), self._points(image0, generator), self._points(image1, generator)
        )

    def examples(self, name: str, count: int) -> list[PosedPair]:
        """Some pairs of a scene to look at or check: overlaps spread from 0.3 to 0.85, all points, no random choice."""
        cached = next(each for each in self._scenes if each.scene.name == name)
        rows = cached.rows[spread_over_overlaps(cached.scene.overlaps[cached.rows], count)]
        return [
            self._pair(cached.scene, (i, j), *(self._points(cached.images[frame][0], None) for frame in (i, j)))
            for i, j in cached.scene.pairs[rows].tolist()
        ]

    def _chosen(self, epoch: int) -> Int64[np.ndarray, "k 2"]:
        """For each pair of an epoch the number of its scene, and its row among that scene's pairs."""
        generator = np.random.default_rng([self._seed, 0, epoch])
        chosen = [
            (number, row)
            for number, (bins, shares) in enumerate(zip(self._bins, self._shares, strict=True))
            for rows, share in zip(bins, shares, strict=True)
            for row in generator.permutation(rows)[:share]
        ]
        return generator.permutation(np.array(chosen, dtype=np.int64))

    def _points(self, image: int, generator: np.random.Generator | None) -> _Points:
        """Features and depths; a choice of them if there is a generator and there are too many."""
        limit, count = self._max_keypoints, int(self.cache.per_image("count")[image])
        if generator is None or limit is None or count <= limit:
            limit = None
        first = limit if self._selection == "best" else None  # the cache has the best first
        features = self.cache.features(image, first=first)
        depths = torch.from_numpy(self.cache.per_point("depth", image, first=first))
        if generator is None or limit is None or first is not None:
            return features, depths
        rows = torch.from_numpy(np.sort(generator.permutation(count)[:limit]))
        return features[rows], depths[rows]

    def _pair(self, scene: Scene, frames: tuple[int, int], points0: _Points, points1: _Points) -> PosedPair:
        frame0, frame1 = (scene.frames[index] for index in frames)
        straight0, straight1 = (
            frame.depth.straight(features.keypoints) if isinstance(frame.depth, SparseDepth) else None
            for frame, (features, _) in ((frame0, points0), (frame1, points1))
        )
        return PosedPair(
            features0=points0[0],
            features1=points1[0],
            depths0=points0[1],
            depths1=points1[1],
            camera0=frame0.camera,
            camera1=frame1.camera,
            cam1_from_cam0=relative_pose(frame0.cam_from_world, frame1.cam_from_world),
            cam0_from_world=frame0.cam_from_world,
            straight0=straight0,
            straight1=straight1,
        )


def _cached_scenes(scenes: Sequence[Scene], cache: FeatureCache) -> list[_CachedScene]:
    """What the cache has of the scenes."""
    with CacheWriter.open(cache.path, "r") as store:
        known = (store.options or {}).get("scenes")
    if not isinstance(known, dict):
        raise ConfigError(f"{str(cache.path)!r} is not a cache of posed scenes; make one with build_posed_cache.")
    numbers = {name: number for number, name in enumerate(known)}
    rows = list(enumerate(zip(cache.per_image("scene").tolist(), cache.per_image("frame").tolist(), strict=True)))
    found = []
    for scene in scenes:
        if known.get(scene.name) != scene.fingerprint:
            what = "without it"
            if scene.name in known:
                what = "with other photos, depths, cameras or poses, or by an earlier version of PhotoGlue"
            raise ConfigError(
                f"{str(cache.path)!r} was made {what}: scene {scene.name!r}. Build the cache again at another path."
            )
        images: dict[int, list[int]] = {}
        for image, (number, frame) in rows:
            if number == numbers[scene.name]:
                images.setdefault(frame, []).append(image)
        there = torch.zeros(len(scene), dtype=torch.bool)
        there[list(images)] = True
        usable = torch.nonzero(there[scene.pairs].all(dim=1)).flatten()
        found.append(_CachedScene(scene=scene, images=images, rows=usable))
    return found


def _rows_in_bins(cached: _CachedScene, edges: Float64[np.ndarray, " e"]) -> list[Int64[np.ndarray, " r"]]:
    """Rows of the scene's pairs whose overlap is above an edge and up to the next."""
    overlaps, rows = cached.scene.overlaps[cached.rows].numpy(), cached.rows.numpy()
    place = np.digitize(overlaps, edges, right=True) - 1
    return [rows[place == number] for number in range(len(edges) - 1)]


def _shares(available: Sequence[int], wanted: int) -> list[int]:
    """How many to take of each bin: the same of all as far as they reach; what some lack is spread over the others."""
    shares = [0] * len(available)
    while (left := wanted - sum(shares)) > 0:
        open_bins = [number for number, count in enumerate(available) if shares[number] < count]
        if not open_bins:
            break
        for number in open_bins[:left]:
            shares[number] += min(max(1, left // len(open_bins)), available[number] - shares[number])
    return shares
