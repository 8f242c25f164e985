"""Training pairs from what a teacher saw."""

from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Int64

from photoglue.errors import ConfigError
from photoglue.store.cache import FeatureCache
from photoglue.structs import Features
from photoglue.training.pairs.base import DistilledPair, PairSource
from photoglue.training.pairs.distilled import CACHE, SEEN, Seen
from photoglue.training.pairs.homography_pairs import Selection


@final
class DistilledPairs(PairSource):
    """Pairs that a teacher saw something in; all come in each epoch, in another order, either photo first."""

    def __init__(
        self,
        folder: Path,
        *,
        rows: Int64[np.ndarray, " r"] | None = None,
        seed: int = 0,
        max_keypoints: int | None = None,
        selection: Selection = "best",
    ) -> None:
        """Read what the teacher saw.

        Args:
            folder: Made by ``build_distilled``.
            rows: Which pairs; None: all.
            seed: Seed of the order of the pairs, and of the choice of variants.
            max_keypoints: Keypoints of each photo, at most; None: all that the cache has.
            selection: Which keypoints are used if there are more: those with the highest scores, or a random choice.

        Raises:
            ConfigError: If no pair is left, or an option does not fit.
            OutputError: If a file is absent or damaged.
        """
        if max_keypoints is not None and max_keypoints < 1:
            raise ConfigError(f"max_keypoints is {max_keypoints}; it must be at least 1, or None for all.")
        self.cache, self.seen = FeatureCache.open(folder / CACHE), Seen.read(folder / SEEN)
        self._seed, self._max_keypoints, self._selection = seed, max_keypoints, selection
        self._images: dict[int, list[int]] = {}
        for image, photo in enumerate(self.cache.per_image("photo").tolist()):
            self._images.setdefault(photo, []).append(image)
        rows = np.arange(len(self.seen)) if rows is None else rows
        self.rows: Int64[np.ndarray, " r"] = rows[
            np.array([set(self.seen.photos[row].tolist()) <= self._images.keys() for row in rows], dtype=bool)
        ]
        """Numbers of the pairs among all that the teacher saw something in."""
        if not len(self.rows):
            raise ConfigError(f"No pair of photos in {str(folder)!r} can be used: give more photos of the same places.")
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def pair(self, epoch: int, index: int) -> DistilledPair:
        """One pair, in main memory; see PairSource."""
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._seed, 0, epoch]).permutation(self.rows))
        generator = np.random.default_rng([self._seed, 1, epoch, index])
        return self._pair(int(self._order[1][index]), generator.permutation(2), generator)

    def example(self, row: int) -> DistilledPair:
        """A pair to look at: the photos themselves, in the order in which the teacher saw them, with the best points.

        Args:
            row: Its number among all that the teacher saw something in, such as one of ``rows``.
        """
        return self._pair(row, np.arange(2), None)

    def _pair(self, row: int, sides: Int64[np.ndarray, "2"], generator: np.random.Generator | None) -> DistilledPair:
        first = int(self.seen.ends[row - 1]) if row else 0
        points = torch.from_numpy(self.seen.points[first : self.seen.ends[row]]).view(-1, 2, 2)
        photos = self.seen.photos[row][sides].tolist()
        features = [self._features(self._images[photo], generator) for photo in photos]
        return DistilledPair(
            features0=features[0],
            features1=features[1],
            seen0=points[:, int(sides[0])].clone(),
            seen1=points[:, int(sides[1])].clone(),
        )

    def _features(self, variants: list[int], generator: np.random.Generator | None) -> Features:
        image = int(generator.choice(variants)) if generator else variants[0]
        count, limit = int(self.cache.per_image("count")[image]), self._max_keypoints
        if limit is None or count <= limit:
            return self.cache.features(image)
        if self._selection == "best" or generator is None:  # the cache has them first
            return self.cache.features(image, first=limit)
        return self.cache.features(image)[torch.from_numpy(np.sort(generator.permutation(count)[:limit]))]
