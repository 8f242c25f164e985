"""Training pairs from a cache of views of photos."""

from typing import Literal, TypeAlias, final

import numpy as np
import torch

from photoglue.errors import ConfigError
from photoglue.store.cache import CacheWriter, FeatureCache
from photoglue.structs import Features
from photoglue.training.pairs.base import HomographyPair, PairSource

Selection: TypeAlias = Literal["best", "random"]


@final
class HomographyPairs(PairSource):
    """Two different views of the same photo, without end.

    All photos come once, in random order, then all again in another. Each time a photo gives another of its ordered
    pairs of views, and none twice before it has given all of them.
    """

    def __init__(
        self,
        cache: FeatureCache,
        *,
        seed: int = 0,
        pairs_per_epoch: int | None = None,
        max_keypoints: int | None = None,
        selection: Selection = "best",
    ) -> None:
        """Read the numbers of the views, and nothing else.

        Args:
            cache: Made by ``build_homography_cache``.
            seed: Seed of the order of the pairs.
            pairs_per_epoch: Length of an epoch; None: half as many pairs as there are views.
            max_keypoints: Keypoints of each image, at most; None: all that the cache has.
            selection: Which keypoints are used if there are more: those with the highest scores, or a random choice,
                another for each pair.

        Raises:
            ConfigError: If the cache holds no views of photos, or an option does not fit.
        """
        if max_keypoints is not None and max_keypoints < 1:
            raise ConfigError(f"max_keypoints is {max_keypoints}; it must be at least 1, or None for all.")
        if pairs_per_epoch is not None and pairs_per_epoch < 1:
            raise ConfigError(f"pairs_per_epoch is {pairs_per_epoch}; it must be at least 1, or None.")
        if len(cache) == 0 or not cache.has_per_image("view_from_photo"):
            raise ConfigError(
                f"{str(cache.path)!r} holds no views of photos. Either no photo gave enough points, or the file was "
                "made for something else."
            )
        self.cache = cache
        self._seed, self._max_keypoints, self._selection = seed, max_keypoints, selection
        self._view_from_photo = cache.per_image("view_from_photo")
        with CacheWriter.open(cache.path, "r") as store:
            self._unwarped = bool((store.options or {}).get("unwarped"))
        _, self._first_view, self._views = np.unique(cache.per_image("photo"), return_index=True, return_counts=True)
        self._length = pairs_per_epoch or max(1, len(cache) // 2)
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        return self._length

    def pair(self, epoch: int, index: int) -> HomographyPair:
        """One pair, in main memory; see PairSource."""
        place = epoch * self._length + index
        view0, view1 = self._two_views(place)
        image1_from_image0 = self._view_from_photo[view1] @ np.linalg.inv(self._view_from_photo[view0])
        return HomographyPair(
            features0=self._features(view0, place, 0),
            features1=self._features(view1, place, 1),
            image1_from_image0=torch.from_numpy(image1_from_image0),
        )

    def _two_views(self, place: int) -> tuple[int, int]:
        """Numbers in the cache of the two views that come at a place of the endless order."""
        turn, position = divmod(place, len(self._views))
        if self._order[0] != turn:
            order = np.random.default_rng([self._seed, 0, turn]).permutation(len(self._views))
            self._order = (turn, order)
        photo = int(self._order[1][position])
        count, first = int(self._views[photo]), int(self._first_view[photo])
        if self._unwarped:
            cycle, step = divmod(turn, 2 * (count - 1))
            choice = np.random.default_rng([self._seed, 1, photo, cycle]).permutation(2 * (count - 1))[step]
            other, side = divmod(int(choice), 2)
            return (first + other + 1, first) if side else (first, first + other + 1)
        cycle, step = divmod(turn, count * (count - 1))
        choice = np.random.default_rng([self._seed, 1, photo, cycle]).permutation(count * (count - 1))[step]
        left, right = divmod(int(choice), count - 1)
        return first + left, first + right + (right >= left)

    def _features(self, view: int, place: int, side: int) -> Features:
        count = int(self.cache.per_image("count")[view])
        if self._max_keypoints is None or count <= self._max_keypoints:
            return self.cache.features(view)
        if self._selection == "best":  # the cache has them first
            return self.cache.features(view, first=self._max_keypoints)
        generator = np.random.default_rng([self._seed, 2, place, side])
        rows = generator.permutation(count)[: self._max_keypoints]
        return self.cache.features(view)[torch.from_numpy(np.sort(rows))]
