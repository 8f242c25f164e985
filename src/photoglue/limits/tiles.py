"""Photos much larger than what an extractor sees, matched part by part, at full resolution or half its pixels.

The matches of a first pass say where each tile of photo 0 is in photo 1. Only those two parts are matched, so that a
match stays small, and both sides have their points in the same places: points of a tile compete among each other only.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor
from photoglue.limits.common import Common, common_part
from photoglue.limits.rotation import with_options
from photoglue.limits.views import Box, Masked, Matched, Size
from photoglue.matchers.base import Matcher
from photoglue.structs import Features, Matches

Photos: TypeAlias = tuple[Masked, Masked]
Tools: TypeAlias = tuple[Extractor, Matcher]
Rows: TypeAlias = tuple[Int64[Tensor, " _"], Int64[Tensor, " _"]]

SIDE = 1024
"""Longest side of a tile, pixels, where the extractor sees photos as they are."""
LEAST_SIDE = 256
"""Tiles that are smaller have too little to be seen."""
POINTS = 1280
"""At most so many points of a tile."""
GUIDES = 6
"""Matches of the first pass in a tile that must agree, for it to be guided by them alone; else all matches guide it."""
AROUND = 0.08
"""What is added to the part of photo 1 on each side, as a share of its size."""
ALIKE = 1.5
"""Objects that are so many times larger in one photo are left so."""
DETAIL = math.sqrt(0.5)
"""Photos more than twice as large as a tile are seen so many times their size: half the pixels, and of two pairs
of drone photos 73 and 95 % of the inliers, in two thirds of the time."""
RIM = 24
"""Pixels around a tile that are seen too, so that points on its border are what they are in the photo."""
MANY = 1.5
"""So many times more points of a tile are kept than are matched, since tiles of both photos do not coincide."""
WIDER = 1.25
"""So many times more points of photo 1 are matched: its parts are wider."""
FEWER, TIMES = 256, 2
"""And no more than so many, and so many times those of the tile of photo 0: few of them have a partner."""
BLOCK = 32
"""Sides of photos are filled up to multiples of this by ALIKED, and of 16 by DISK."""
FAINTER = 0.9
"""The detection threshold in tiles, as a share of what it is else: there are fewer points in half the pixels."""
SAME_PX = 1.5
"""Points that are nearer to each other are one point that two tiles have."""
BYTES_PER_PIXEL = 500
"""What a pixel of a tile may need; ALIKED, DISK and SIFT were measured to need 150, 210 and 300 bytes."""


def tile_side(extractor: Extractor, max_memory_gb: float | None) -> int:
    """Longest side of a tile, pixels: what the extractor sees of a photo, and no more than fits into memory.

    Raises:
        ConfigError: If not even small tiles fit.
    """
    side = extractor.config.resize or SIDE
    if max_memory_gb is None:
        return side
    least = LEAST_SIDE**2 * BYTES_PER_PIXEL / 1e9
    if not max_memory_gb >= least:
        raise ConfigError(
            f"Tiles in {max_memory_gb:g} GB would be smaller than {LEAST_SIDE} pixels; they need {least:.2g} GB at "
            "least, beside the photos. Allow more memory, or switch tiles off."
        )
    return min(side, int(math.sqrt(max_memory_gb * 1e9 / BYTES_PER_PIXEL)))


def match_tiles(photos: Photos, first: Matched, tools: Tools, side: int) -> tuple[Matched, int] | None:
    """Matches of all tiles of photo 0 that a first pass of matches finds in photo 1; and how many tiles these were.

    Args:
        photos: The photos.
        first: Their matches, as a whole.
        tools: Extractor and matcher.
        side: Longest side of a tile, pixels.

    Returns:
        None if no tile is found in photo 1.
    """
    sizes = photos[0].size, photos[1].size
    everywhere = common_part(first.matches, sizes)
    if everywhere is None:
        return None
    extractor, matcher = tools
    detail = DETAIL if min(max(size) for size in sizes) > 2 * side else 1.0
    shrunk = detail * min(1.0, ALIKE * everywhere.scale), detail * min(1.0, ALIKE / everywhere.scale)
    fainter = with_options(extractor, detection_threshold=FAINTER * extractor.config.detection_threshold)
    points0 = all_points(photos[0], everywhere.box0, fainter, side, shrunk[0])
    points1 = all_points(photos[1], everywhere.box1, fainter, side, shrunk[1])
    count = min(extractor.config.max_keypoints or POINTS, POINTS)
    found = []
    for box in tiles_of(everywhere.box0, round(side / detail)):
        there = _part(_guide(first.matches, box, sizes) or everywhere, box, sizes[1])
        if there is not None:
            rows0 = _inside(points0, box, count)
            rows = rows0, _inside(points1, there, round(min(WIDER * count, FEWER + TIMES * len(rows0))))
            seen = _seen(points0[rows[0]], box), _seen(points1[rows[1]], there)
            found.append((rows, matcher.match(*seen)))
    matched = Matched(features0=points0, features1=points1, matches=merged(found, points0, points1))
    return (matched, len(found)) if found else None


def all_points(photo: Masked, region: Box, extractor: Extractor, side: int, shrunk: float) -> Features:
    """The points of a part of a photo, found tile by tile; in pixels of the photo.

    Args:
        photo: The photo.
        region: The part.
        extractor: Its options but for the number of points stay.
        side: Longest side of a tile, pixels.
        shrunk: The photo is seen so many times its size.
    """
    width, height = photo.size
    found = []
    for left, top, right, bottom in tiles_of(region, max(1, round(side / shrunk))):
        box = max(0, left - RIM), max(0, top - RIM), min(width, right + RIM), min(height, bottom + RIM)
        length = None if shrunk == 1 else _whole(shrunk * max(box[2] - box[0], box[3] - box[1]))
        seen = photo.part(box).features(extractor, length, int(MANY * POINTS))
        there = seen.keypoints + seen.keypoints.new_tensor(box[:2])
        found.append(replace(seen, keypoints=there, image_size=photo.size))
    points = _joined(found)
    return points[best_of_each(points.keypoints, points.scores)]


def _whole(length: float) -> int:
    """A length that extractors need not fill up: they see photos whose sides are multiples of ``BLOCK``."""
    return max(1, round(length) if length < BLOCK else int(length / BLOCK) * BLOCK)


def tiles_of(box: Box, side: int) -> list[Box]:
    """Equal tiles of a part of a photo, as few as have no side longer than ``side``; row by row."""
    lines = []
    for low, high in ((box[0], box[2]), (box[1], box[3])):
        count = max(1, math.ceil((high - low) / side))
        lines.append([low + round((high - low) * i / count) for i in range(count + 1)])
    xs, ys = lines
    return [(xs[i], ys[j], xs[i + 1], ys[j + 1]) for j in range(len(ys) - 1) for i in range(len(xs) - 1)]


def _joined(parts: Sequence[Features]) -> Features:
    """The points of several Features of one photo."""
    names = ["keypoints", "descriptors", "scores"]
    names += [name for name in ("scales", "orientations") if getattr(parts[0], name) is not None]
    columns: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **columns)


def merged(found: Sequence[tuple[Rows, Matches]], points0: Features, points1: Features) -> Matches:
    """Matches of tiles as matches of all points, of each point the best.

    Args:
        found: For each pair of tiles the rows of its points, and their matches.
        points0: All points of photo 0.
        points1: All points of photo 1.
    """
    rows = [(rows[0][each.indices[:, 0]], rows[1][each.indices[:, 1]], each.scores) for rows, each in found]
    index0, index1, scores = (torch.cat(column) for column in zip(*rows, strict=True))
    order = torch.argsort(scores, descending=True, stable=True)
    index0, index1, scores = index0[order], index1[order], scores[order]
    keep = _first_of_each(index0, len(points0)) & _first_of_each(index1, len(points1))
    index0, index1, scores = index0[keep], index1[keep], scores[keep]
    like = scores.new_zeros
    return Matches(
        matches0=index1.new_full((len(points0),), -1).index_copy(0, index0, index1),
        matches1=index0.new_full((len(points1),), -1).index_copy(0, index1, index0),
        matching_scores0=like(len(points0)).index_copy(0, index0, scores),
        matching_scores1=like(len(points1)).index_copy(0, index1, scores),
        keypoints0=points0.keypoints,
        keypoints1=points1.keypoints,
        stop=max((each.stop or 0) for _, each in found) or None,
        n_layers=found[0][1].n_layers,
        precision=found[0][1].precision,
    )


def _first_of_each(rows: Int64[Tensor, " k"], count: int) -> Bool[Tensor, " k"]:
    """Which entries of a list of rows come first of those of the same row."""
    numbers = torch.arange(len(rows), device=rows.device)
    first = torch.full((count,), len(rows), device=rows.device).scatter_reduce(0, rows, numbers, "amin")
    wins: Bool[Tensor, " k"] = first[rows] == numbers
    return wins


def best_of_each(points: Float[Tensor, "k 2"], scores: Float[Tensor, " k"]) -> Bool[Tensor, " k"]:
    """Which points have no better one within ``SAME_PX``, in a grid of such cells, moved by halves to all sides."""
    rows = torch.argsort(scores, descending=True, stable=True)
    for shift in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)):
        cells = torch.floor(points[rows] / SAME_PX + points.new_tensor(shift)).long()
        _, group = torch.unique(cells, dim=0, return_inverse=True)
        rows = rows[_first_of_each(group, len(rows))]
    return torch.zeros(len(points), dtype=torch.bool, device=points.device).index_fill(0, rows, True)


def _inside(points: Features, box: Box, count: int) -> Int64[Tensor, " k"]:
    """The rows of the best points in a box, in their order."""
    low, high = points.keypoints.new_tensor([box[:2], box[2:]])
    rows = ((points.keypoints >= low) & (points.keypoints < high)).all(dim=1).nonzero().flatten()
    best: Tensor = rows[points.scores[rows].topk(min(count, len(rows))).indices].sort().values
    return best


def _seen(points: Features, box: Box) -> Features:
    """Points of a photo as points of a part of it."""
    size = box[2] - box[0], box[3] - box[1]
    return replace(points, keypoints=points.keypoints - points.keypoints.new_tensor(box[:2]), image_size=size)


def _guide(matches: Matches, box: Box, sizes: tuple[Size, Size]) -> Common | None:
    """What the matches in a tile say, if there are enough."""
    low, high = matches.points0.new_tensor([box[:2], box[2:]])
    inside = ((matches.points0 >= low) & (matches.points0 < high)).all(dim=1)
    guide = common_part(matches.select(inside), sizes) if int(inside.sum()) >= GUIDES else None
    return guide if guide is not None and guide.agreeing >= GUIDES else None


def _part(guide: Common, box: Box, size: Size) -> Box | None:
    """Where a tile of photo 0 is in photo 1; None if it is outside."""
    left, top, right, bottom = guide.box_in_1(box)
    across, down = AROUND * (right - left), AROUND * (bottom - top)
    low = max(0, math.floor(left - across)), max(0, math.floor(top - down))
    high = min(size[0], math.ceil(right + across)), min(size[1], math.ceil(bottom + down))
    return (*low, *high) if high[0] > low[0] and high[1] > low[1] else None
