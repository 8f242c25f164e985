"""Pairs of photos of which nothing is known, labelled by another matcher: the teacher.

What the teacher matches is kept if one epipolar geometry explains it (MAGSAC++), in pairs with enough of it. From there
`ground_truth` carries the points of the student's own features along. All steps are files in one folder:

```
teacher.h5   the teacher's features, of all photos          (batch.extract)
matches.h5   its matches, of the pairs that look alike      (batch.match)
seen.npz     the matches that were kept, as points
cache.h5     the student's features, of all photos
```

Each is left alone if it is there and up to date, and a step that was interrupted goes on where it was.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8

from photoglue.batch import extract, match
from photoglue.batch.match import matcher_options
from photoglue.datasets.photos import read_photo
from photoglue.errors import ConfigError, OutputError
from photoglue.extractors.base import Extractor, extractor_options
from photoglue.files import digest_of, write_whole
from photoglue.pipeline import Pipeline
from photoglue.retrieval import Describer, PhotoIndex, Vocabulary
from photoglue.retrieval.vlad import VOCABULARY_OF_KIND
from photoglue.solvers.opencv import verify_opencv
from photoglue.store import FeatureStore, MatchStore
from photoglue.training.pairs.augment import augment
from photoglue.training.pairs.caches import (
    CacheConfig,
    CacheSummary,
    Described,
    Item,
    digest_of_photos,
    fill_cache,
)

TEACHER, MATCHES, SEEN, CACHE = "teacher.h5", "matches.h5", "seen.npz", "cache.h5"
DESCRIPTORS = 100_000
"""So many descriptors make a vocabulary for features that none comes with this package for."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told what is done ("teacher", "matching", "extracting"), how much of it, and of how much."""


@dataclass(frozen=True, kw_only=True)
class DistilledConfig:
    """Which pairs a teacher looks at, and which are kept.

    Raises:
        ConfigError: If a number makes no sense.
    """

    neighbors: int = 10
    """Photos most like each photo that the teacher matches it with."""
    min_seen: int = 50
    """Fewest matches of the teacher that one epipolar geometry explains, for a pair to be used."""
    threshold_px: float = 1.0
    """Largest distance of such a match from that geometry (Sampson), pixels."""

    def __post_init__(self) -> None:
        for name, least in (("neighbors", 1), ("min_seen", 8)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if not self.threshold_px > 0:
            raise ConfigError(f"threshold_px is {self.threshold_px}; it must be a positive number of pixels.")


@dataclass(frozen=True, kw_only=True)
class PhotoCacheConfig(CacheConfig):
    """What decides the content of a cache of plain photos, beside the photos and the extractor."""

    columns: ClassVar[tuple[str, ...]] = ("photo", "variant")

    variants: int = 1
    """So many of each photo: the photo itself, and others with another light, sharpness or compression."""

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise ConfigError(f"variants is {self.variants}; it must be 1 (the photo itself) or more.")
        super().__post_init__()

    def read(self, item: Item) -> list[UInt8[np.ndarray, "h w 3"]]:
        """The variants of a photo."""
        photo = read_photo(item.source)
        generators = [np.random.default_rng([self.seed, item.number, variant]) for variant in range(1, self.variants)]
        return [photo, *(augment(photo, generator, probability=1.0) for generator in generators)]

    def describe(self, extractor: Extractor, photo: list[np.ndarray]) -> Described | str:
        """The variants with enough points; or why there are none."""
        kept, most = self.extracted(extractor, photo)
        nothing_else = np.zeros(0)
        return [(*variant, nothing_else) for variant in kept] or (
            f"too few points: {most}, and {self.min_keypoints} are needed"
        )

    def arrays(self, known: list[np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:  # noqa: ARG002
        """Nothing else is known of the images."""
        return {}, {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What a teacher saw in pairs of photos."""

    photos: Int64[np.ndarray, "p 2"]
    """Numbers of the two photos of each pair."""
    ends: Int64[np.ndarray, " p"]
    """Where the matches of each pair end among all."""
    points: Float32[np.ndarray, "k 4"]
    """(x0, y0, x1, y1) of each match, pixels."""

    def __len__(self) -> int:
        return len(self.photos)

    @classmethod
    def read(cls, path: Path) -> "Seen":
        """What ``build_distilled`` wrote.

        Raises:
            OutputError: If it is absent or damaged.
        """
        try:
            with np.load(path) as file:
                return cls(photos=file["photos"], ends=file["ends"], points=file["points"])
        except (OSError, ValueError, KeyError) as error:
            raise OutputError(f"{str(path)!r} cannot be read: {error}. Remove it; it is made again.") from error


def build_distilled(
    photos: Mapping[str, Path],
    teacher: Pipeline,
    student: Extractor,
    folder: Path,
    *,
    config: DistilledConfig | None = None,
    cache: PhotoCacheConfig | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> CacheSummary:
    """Makes all that training by a teacher needs, or goes on with it where an earlier run was interrupted.

    Args:
        photos: Photos by name, in any order; the same place should be on several.
        teacher: Finds what photos have in common.
        student: Extracts the features that are to be matched; on photos as they are, so with ``resize=None``.
        folder: Where the files go; made if need be.
        config: Which pairs are looked at and kept; None: the defaults.
        cache: How the student's features are kept; None: the defaults.
        workers: Processes that extract the student's features; 0: this process does it all.
        progress: Called as the work goes on.

    Returns:
        What the cache of the student's features holds.

    Raises:
        ConfigError: If there are fewer than two photos, a file was made with other options or photos, or the teacher
            does not see enough in any pair.
        OutputError: If a file cannot be written. What was done is kept.
    """
    if len(photos) < 2:
        raise ConfigError(f"{len(photos)} photos make no pair; a teacher needs photos of the same places.")
    config, cache = config or DistilledConfig(), cache or PhotoCacheConfig()
    tell = progress or (lambda *_: None)
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(photos)
    content = digest_of_photos(photos[name] for name in names)
    seen = folder / SEEN
    made_from = digest_of(
        [names, content, extractor_options(teacher.extractor), matcher_options(teacher.matcher), asdict(config)]
    )
    if not _is_of(seen, made_from):
        paths = {name: photos[name] for name in names}
        extract(paths, folder / TEACHER, teacher.extractor, progress=lambda *now: tell("teacher", *now))
        pairs = alike(folder / TEACHER, names, config.neighbors)
        match(pairs, folder / TEACHER, folder / MATCHES, teacher.matcher, progress=lambda *now: tell("matching", *now))
        _write_seen(folder, names, pairs, config, made_from)
    items = [Item(number, name, (number,), photos[name]) for number, name in enumerate(names)]
    about = {"content": "photos for a teacher", "photos": {"names": digest_of(names), "content": content}}
    return fill_cache(
        folder / CACHE, about, items, cache, student, workers=workers, progress=lambda *now: tell("extracting", *now)
    )


def alike(features: Path, names: list[str], neighbors: int) -> list[tuple[str, str]]:
    """Pairs of photos that look alike by their local features (VLAD): each photo with those most like it.

    Args:
        features: The file of ``batch.extract``.
        names: The photos; those without features are left out.
        neighbors: How many others of each.
    """
    with FeatureStore.open(features) as store:
        there = [name for name in names if name in store]
        if len(there) < 2:
            raise ConfigError(f"{len(there)} of {len(names)} photos have features: no pair can be made.")
        kind = store[there[0]].kind or ""
        vocabulary = (
            Vocabulary.pretrained(kind)
            if kind in VOCABULARY_OF_KIND
            else Vocabulary.trained(_some_descriptors(store, there), kind)
        )
        describer = Describer(vocabulary=vocabulary)
        vectors = torch.stack([describer.describe(store[name], None) for name in there])
    ranking = PhotoIndex.of_vectors(there, vectors, describer.name).neighbors(neighbors)
    rows = {(min(i, j), max(i, j)) for i, others in enumerate(ranking.rows.tolist()) for j in others}
    return [(there[i], there[j]) for i, j in sorted(rows)]


def _some_descriptors(store: FeatureStore, names: list[str]) -> torch.Tensor:
    """Some of each photo's."""
    each = max(1, DESCRIPTORS // len(names))
    return torch.cat([store[name].descriptors[:each].float() for name in names])


def _write_seen(
    folder: Path, names: list[str], pairs: list[tuple[str, str]], config: DistilledConfig, made_from: str
) -> None:
    """Keeps the matches of the pairs in which one epipolar geometry explains enough of them."""
    numbers = {name: number for number, name in enumerate(names)}
    kept: list[tuple[int, int]] = []
    points: list[np.ndarray] = []
    with FeatureStore.open(folder / TEACHER) as features, MatchStore.open(folder / MATCHES) as matches:
        for name0, name1 in pairs:
            if (name0, name1) not in matches:
                continue  # its features are damaged; said already
            found = matches.read(name0, name1, features[name0].keypoints, features[name1].keypoints)
            agree = verify_opencv(
                found.points0, found.points1, "fundamental", threshold_px=config.threshold_px, method="magsac"
            ).inliers
            if int(agree.sum()) >= config.min_seen:
                kept.append((numbers[name0], numbers[name1]))
                points.append(torch.cat([found.points0[agree], found.points1[agree]], dim=1).numpy())
    if not kept:
        raise ConfigError(
            f"In none of {len(pairs)} pairs of photos that look alike does the teacher see {config.min_seen} matches "
            "that fit one geometry. Give photos of the same places from several sides, or fewer --min-seen."
        )
    content = io.BytesIO()
    np.savez(
        content,
        photos=np.array(kept, dtype=np.int64),
        ends=np.cumsum([len(each) for each in points], dtype=np.int64),
        points=np.concatenate(points).astype(np.float32),
        made_from=np.array(made_from),
    )
    write_whole(folder / SEEN, content.getbuffer())


def _is_of(seen: Path, made_from: str) -> bool:
    try:
        with np.load(seen) as file:
            return str(file["made_from"]) == made_from
    except (OSError, ValueError, KeyError):
        return False
