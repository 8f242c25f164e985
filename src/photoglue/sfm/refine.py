"""Keypoints to fractions of a pixel, one position for all pairs of a photo: what a model is made more precise by.

A pair says where the partner of a point is, to some hundredths of a pixel, but not where the point itself should be;
and the pairs of a photo do not agree. So each verified match is refined for itself, and then all keypoints are moved a
little, so that all matches agree as well as they can. (That is the idea of Dusmanu, Schönberger and Pollefeys,
"Multi-view optimization of local feature geometry", ECCV 2020, with a photometric match in place of their network.)
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from photoglue.batch.engine import Engine, Inline
from photoglue.batch.filling import Progress
from photoglue.errors import ConfigError
from photoglue.image import ImageSource
from photoglue.limits.subpixel import GrayView, Subpixel, refine_points
from photoglue.sfm.verified import VerifiedStore
from photoglue.store import FeatureStore

PAIRS_AT_ONCE = 16
"""Pairs of a chunk."""
PHOTOS_KEPT = 16
"""Gray photos that are held for the next pairs."""
STAY = 0.01
"""Weight of staying in place, against 1 of a match: without it tracks could drift as a whole."""
DOUBT_PX = 0.3
"""A match that disagrees with the others by so much counts half, pixels of the resized photos."""
AGREE_PX = 0.5
"""A match agrees with the others of its tracks within this, pixels of the resized photos."""
ROUNDS, STEPS = 5, 30
"""Rounds of the robust solution, and steps of conjugate gradients in each."""

Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shifts:
    """What the refined matches of a pair say, in pixels of the resized photos: a keypoint of photo 1 shall move by
    ``shifts``, and by ``affines`` · whatever its partner in photo 0 moves by."""  # noqa: D205, D209

    rows: Int64[Tensor, " k"]
    """Which of the pair's matches were refined."""
    nodes: Int64[Tensor, "k 2"]
    """Numbers of both keypoints."""
    shifts: Float[Tensor, "k 2"]
    affines: Float[Tensor, "k 2 2"]

    def disagreement(self, moves: Float64[Tensor, "n 2"]) -> Float64[Tensor, "k 2"]:
        """How far photo 1's keypoints move beyond what those of photo 0 ask for; it should be ``shifts``."""
        asked: Tensor = self.affines.double() @ moves[self.nodes[:, 0], :, None]
        return moves[self.nodes[:, 1]] - asked[..., 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class RefinedKeypoints:
    """Keypoints that were moved, and which matches agree with where they are now."""

    keypoints: Mapping[str, Float[Tensor, "_ 2"]]
    """Name → keypoints, in the order, frame and type in which they came."""
    agreeing: Mapping[Pair, Bool[Tensor, " _"]]
    """Pair → for each of its matches, whether it was refined and agrees with the others of its tracks within half a
    pixel of the resized photos. A model of these alone has fewer gross errors, and some points less."""


def refine_keypoints(
    photos: Mapping[str, ImageSource],
    keypoints: Mapping[str, Float[Tensor, "_ 2"]],
    pairs: Mapping[Pair, Int64[Tensor, "_ 2"]],
    *,
    resize: int | None = 1024,
    options: Subpixel | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> RefinedKeypoints:
    """Where the keypoints of photos are, so that verified matches agree to fractions of a pixel.

    Each match is refined as ``limits.refine_points`` does; then keypoints move so that these agree over all pairs,
    those of a track together. Keypoints without a refined match stay.

    Args:
        photos: Name → photo; paths, if ``engine`` starts processes.
        keypoints: Name → (x, y) in pixels of the photo as read.
        pairs: (name of photo 0, name of photo 1) → verified matches: index of the keypoint in either photo.
        resize: The photos are compared with their longer side so long, pixels, as the extractor saw them; None: as they
            are.
        options: How matches are refined; None: the defaults.
        engine: Where the work is done; None: in this process.
        progress: Called with (pairs done, pairs in all).

    Raises:
        ConfigError: If a photo of a pair is not among ``photos`` and ``keypoints``.
        ImageError: If a photo cannot be read.
    """
    unknown = sorted({name for pair in pairs for name in pair} - (photos.keys() & keypoints.keys()))
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is in a pair, but has no photo or no keypoints.")
    options, engine, wanted = options or Subpixel(), engine or Inline(), sorted(pairs)
    names = sorted(keypoints)
    first = dict(zip(names, np.cumsum([0, *(len(keypoints[name]) for name in names)]).tolist(), strict=False))
    chunks = {str(i): wanted[i : i + PAIRS_AT_ONCE] for i in range(0, len(wanted), PAIRS_AT_ONCE)}
    found: dict[str, list[Shifts]] = {}
    scales: dict[str, tuple[float, float]] = {}
    for key, (said, seen) in engine.map(_work, (photos, keypoints, pairs, first, resize, options), chunks):
        found[key] = said
        scales |= seen
        if progress is not None:
            progress(sum(len(each) for each in found.values()), len(wanted))
    every = [shifts for key in chunks for shifts in found[key]]
    moves = agreed(every, sum(len(points) for points in keypoints.values()))
    moves[moves.norm(dim=1) > options.reach_px] = 0
    refined, agreeing = {}, {}
    for name in names:
        points = keypoints[name]
        mine = moves[first[name] : first[name] + len(points)] / torch.tensor(scales.get(name, (1.0, 1.0)))
        refined[name] = points + mine.to(points)
    for pair, each in zip(wanted, every, strict=True):
        near = (each.disagreement(moves) - each.shifts).norm(dim=1) <= AGREE_PX
        agreeing[pair] = torch.zeros(len(pairs[pair]), dtype=torch.bool).index_fill(0, each.rows[near], True)
    return RefinedKeypoints(keypoints=refined, agreeing=agreeing)


def refine_stored(
    photos: Mapping[str, ImageSource],
    features: str | os.PathLike[str],
    verified: str | os.PathLike[str],
    pairs: Iterable[Pair],
    *,
    resize: int | None = 1024,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Mapping[str, Float[Tensor, "_ 2"]]:
    """Where the keypoints in a file are, so that the verified matches in another agree to fractions of a pixel.

    Args:
        photos: Name → photo.
        features: The HDF5 file of features.
        verified: The HDF5 file of ``verify_matches``.
        pairs: Pairs in it whose matches count; the first name sorts before the second.
        resize: As for ``refine_keypoints``.
        engine: Where the work is done; None: in this process.
        progress: Called with (pairs done, pairs in all).

    Returns:
        Name → (x, y) in pixels of the upright photo, for the photos of ``pairs``.

    Raises:
        ImageError: If a photo cannot be read.
        OutputError: If a file cannot be read.
    """
    with VerifiedStore.open(Path(verified)) as store:
        inliers = {pair: torch.from_numpy(store.read(*pair).inliers.astype(np.int64)) for pair in pairs}
    with FeatureStore.open(Path(features)) as file:
        keypoints = {name: file[name].keypoints for name in sorted({name for pair in inliers for name in pair})}
    return refine_keypoints(photos, keypoints, inliers, resize=resize, engine=engine, progress=progress).keypoints


State: TypeAlias = tuple[
    Mapping[str, ImageSource],
    Mapping[str, Tensor],
    Mapping[Pair, Tensor],
    Mapping[str, int],
    int | None,
    Subpixel,
]


def _work(state: State, pairs: Sequence[Pair]) -> tuple[list[Shifts], dict[str, tuple[float, float]]]:
    """What some pairs say, and the scales of their photos."""
    photos, keypoints, matches, first, resize, options = state

    @lru_cache(PHOTOS_KEPT)
    def view(name: str) -> GrayView:
        return GrayView.of(photos[name], resize)

    found: list[Shifts] = []
    scales: dict[str, tuple[float, float]] = {}
    for pair in pairs:
        indices = matches[pair]
        views = [view(name) for name in pair]
        points = [
            each.resize.redo(keypoints[name][indices[:, side]].cpu().float())
            for side, (name, each) in enumerate(zip(pair, views, strict=True))
        ]
        refined = refine_points(views[0].image, views[1].image, *points, options=options)
        nodes = indices.cpu() + torch.tensor([first[name] for name in pair])
        found.append(
            Shifts(
                rows=refined.moved.nonzero()[:, 0],
                nodes=nodes[refined.moved],
                shifts=(refined.points - points[1])[refined.moved],
                affines=refined.affines[refined.moved],
            )
        )
        scales |= {name: each.resize.scale for name, each in zip(pair, views, strict=True)}
    return found, scales


def agreed(pairs: Sequence[Shifts], count: int) -> Float64[Tensor, "count 2"]:
    """How keypoints move so that refined matches agree, by robust least squares; 0 for those without one.

    Args:
        pairs: What each pair says.
        count: Keypoints of all photos.
    """
    moves = torch.zeros(count, 2, dtype=torch.float64)
    if not pairs:
        return moves
    left, right = torch.cat([each.nodes for each in pairs]).T
    wanted = torch.cat([each.shifts for each in pairs]).double()
    affines = torch.cat([each.affines for each in pairs]).double()

    def disagree(moves: Tensor) -> Tensor:
        return moves[right] - (affines @ moves[left, :, None])[..., 0]

    def pulled(forces: Tensor) -> Tensor:
        """The transpose of ``disagree``."""
        back = (affines.transpose(1, 2) @ forces[..., None])[..., 0]
        return torch.zeros_like(moves).index_add(0, right, forces).index_add(0, left, -back)

    weights = torch.ones_like(wanted[:, :1])
    for _ in range(ROUNDS):
        # Conjugate gradients for (Dᵀ W D + STAY) moves = Dᵀ W wanted, from the last solution.
        rest = pulled(weights * (wanted - disagree(moves))) - STAY * moves
        along, size = rest, rest.square().sum()
        for _ in range(STEPS):
            image = pulled(weights * disagree(along)) + STAY * along
            step = size / (along * image).sum().clamp(min=1e-300)
            moves, rest = moves + step * along, rest - step * image
            size, before = rest.square().sum(), size
            along = rest + size / before.clamp(min=1e-300) * along
        misses = (disagree(moves) - wanted).norm(dim=1, keepdim=True)
        weights = 1 / (1 + (misses / DOUBT_PX).square())
    return moves
