"""Which photos of many look like a given one, and which of them show the same thing."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from photoglue.batch.extract import Photos
from photoglue.batch.filling import Progress
from photoglue.errors import ConfigError, ImageError
from photoglue.image import read_image
from photoglue.matchers.lightglue import LightGlueConfig
from photoglue.pipeline import create_matcher
from photoglue.precision import choose_device
from photoglue.retrieval import Describer, PhotoIndex
from photoglue.sfm.indexing import SIDE, extractor_for, opened_index
from photoglue.solvers.poselib import scaled_threshold_px, verify
from photoglue.structs import Features

LEAST_SCORE = {False: 0.2, True: 0.1}
"""Cosines from which photos are taken to be alike; whether they are checked by matches then."""
SAME_THING = 30
"""Inliers from which two photos show the same thing; by chance there are about 15 of 200 matches."""


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A photo that a search found; ``search_photos`` gives a list of them, the best first."""

    name: str
    """Its name in the index."""
    path: Path
    """Where it is."""
    score: float
    """Cosine of its vector and the query's, in [-1, 1]."""
    inliers: int | None = None
    """Matches with the query that agree with one geometry; None: not verified."""


@dataclass(frozen=True, kw_only=True)
class SimilarPair:
    """Two photos that look alike; ``similar_photos`` gives a list of them, the most alike first."""

    name0: str
    """Name of the first."""
    name1: str
    """Name of the second."""
    score: float
    """Cosine of their vectors, in [-1, 1]."""
    inliers: int | None = None
    """Their matches that agree with one geometry; None: not verified."""


def search_photos(
    query: str | os.PathLike[str],
    within: PhotoIndex | Photos,
    *,
    top: int = 10,
    check: bool = False,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> list[SearchResult]:
    """The photos that are most like a given one, the best first; the photo itself is not among them.

    Args:
        query: The photo to search with.
        within: An index, the file of one (``.h5``), or photos, which are then indexed in memory.
        top: How many at most.
        check: Also match the query with each of them, and put those with most matches that agree with one geometry
            first.
        device: Where to compute; None: on a GPU if there is one.
        progress: Called with (photos done, photos in all) while photos are indexed.

    Raises:
        ConfigError: If the index cannot be used, or ``top`` is not positive.
        ImageError: If the query, or a photo to check it with, cannot be read.
        OutputError: If the file of the index cannot be read.
        MissingExtra: If h5py, or PoseLib for ``check``, is not installed.
    """
    if top < 1:
        raise ConfigError(f"top is {top}; it must be at least 1.")
    index = opened_index(within, device=device, progress=progress)
    describer = Describer.of_name(index.made_by)
    extractor = extractor_for(describer, device)
    own = extractor.extract(query).cpu()
    vector = describer.describe(own, read_image(query) if describer.network is not None else None)
    ranking = index.search(vector[None], describer.name, top + 1)
    found = [
        SearchResult(name=index.names[row], path=Path(index.root) / index.names[row], score=round(score, 4))
        for row, score in zip(ranking.rows[0].tolist(), ranking.scores[0].tolist(), strict=True)
    ]
    found = [each for each in found if not _same_file(each.path, Path(query))][:top]
    if check:
        features = extractor.extract_many(_there(index, [each.name for each in found]))
        inliers = _inliers([(own, each.cpu()) for each in features], describer.kind, choose_device(device))
        found = [replace(each, inliers=count) for each, count in zip(found, inliers, strict=True)]
        found.sort(key=lambda each: (-(each.inliers or 0), -each.score))
    return found


def similar_photos(
    within: PhotoIndex | Photos,
    *,
    min_score: float | None = None,
    neighbors: int = 10,
    check: bool = False,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> list[SimilarPair]:
    """The pairs of photos that show the same thing: duplicates, and others of one scene; the most alike first.

    Args:
        within: An index, the file of one (``.h5``), or photos, which are then indexed in memory.
        min_score: Cosine of two vectors in [-1, 1] below which a pair is not looked at; None: 0.2, which no two photos
            of different scenes had among 422, or 0.1 if pairs are checked.
        neighbors: So many others at most are looked at for each photo.
        check: Match each pair, too, and give those alone that keep 30 matches which agree with one geometry.
        device: Where to compute; None: on a GPU if there is one.
        progress: Called with (photos done, photos in all) while photos are indexed.

    Raises:
        ConfigError: If the index cannot be used, ``neighbors`` is not positive, or ``min_score`` is not in [-1, 1].
        ImageError: If a photo to check cannot be read.
        OutputError: If the file of the index cannot be read.
        MissingExtra: If h5py, or PoseLib for ``check``, is not installed.
    """
    least = LEAST_SCORE[check] if min_score is None else min_score
    if not -1 <= least <= 1:
        raise ConfigError(f"min_score is {least}; it must be in [-1, 1], as cosines are.")
    if neighbors < 1:
        raise ConfigError(f"neighbors is {neighbors}; it must be at least 1.")
    index = opened_index(within, device=device, progress=progress)
    ranking = index.neighbors(neighbors)
    scores: dict[tuple[int, int], float] = {}
    for row, (others, values) in enumerate(zip(ranking.rows.tolist(), ranking.scores.tolist(), strict=True)):
        scores |= {
            (min(row, other), max(row, other)): round(score, 4)
            for other, score in zip(others, values, strict=True)
            if round(score, 4) >= least
        }
    pairs = sorted(scores, key=lambda pair: (-scores[pair], pair))
    found = [SimilarPair(name0=index.names[i], name1=index.names[j], score=scores[i, j]) for i, j in pairs]
    if not check:
        return found
    describer = Describer.of_name(index.made_by)
    extractor, rows = extractor_for(describer, device), sorted({row for pair in pairs for row in pair})
    paths = _there(index, [index.names[row] for row in rows])
    features = dict(zip(rows, extractor.extract_many(paths), strict=True))
    counts = _inliers([(features[i].cpu(), features[j].cpu()) for i, j in pairs], describer.kind, choose_device(device))
    checked = [replace(each, inliers=count) for each, count in zip(found, counts, strict=True)]
    kept = [each for each in checked if (each.inliers or 0) >= SAME_THING]
    return sorted(kept, key=lambda each: (-(each.inliers or 0), -each.score))


def _inliers(pairs: Sequence[tuple[Features, Features]], kind: str, device: torch.device) -> list[int]:
    """How many matches of each pair LightGlue finds that agree with one fundamental matrix."""
    matcher, counts = create_matcher(kind, LightGlueConfig(), None, device, "auto"), []
    for features0, features1 in pairs:
        matches = matcher.match(features0.to(device), features1.to(device)).cpu()
        sizes = (features0.image_size, features1.image_size)
        threshold = scaled_threshold_px("fundamental", sizes, SIDE)
        counts.append(len(verify(matches.points0, matches.points1, "fundamental", threshold_px=threshold)))
    return counts


def _there(index: PhotoIndex, names: Sequence[str]) -> list[Path]:
    """Where photos of an index are, if they are still there."""
    paths = [Path(index.root) / name for name in names]
    for path in paths:
        if not path.is_file():
            raise ImageError(
                f"{str(path)!r} is in the index, but not there; bring the index up to date with photoglue index."
                if index.root
                else f"Where {str(path)!r} is, the index does not say: it was made of photos under other names."
            )
    return paths


def _same_file(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)
