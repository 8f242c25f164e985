"""Photos of very different scale, or that share a part only: matched again between crops of what they share.

An extractor finds texture of one size in pixels, so that an object that is four times smaller in one photo gives few
points that are found in both. What the matches of a first pass agree on says where the common part is, and how much
smaller. Where the first pass finds nothing, smaller copies of either photo are tried beside the other one. Then both
photos are cut to the common part, the objects brought to one size, and the crops are matched.
"""

from dataclasses import replace
from typing import TypeAlias

from photoglue.extractors.base import Extractor
from photoglue.limits.common import Common, common_part
from photoglue.limits.rotation import with_options
from photoglue.limits.subpixel import Subpixel, refine_matches
from photoglue.limits.views import Box, Masked, Matched, match_parts
from photoglue.matchers.base import Matcher
from photoglue.structs import Features, Matches

Photos: TypeAlias = tuple[Masked, Masked]
Tools: TypeAlias = tuple[Extractor, Matcher]

NEAR_SIDES = ((1, 512), (1, 256), (2, 256))
"""For each copy that is tried: the longer side of the other photo, as a multiple of what the extractor sees, and its
own longer side, pixels."""
ENLARGED = 4.0
"""Crops are enlarged so many times at most: beyond, there is nothing more to be seen."""
FAINTER = 0.25
"""The detection threshold in crops, as a share of what it is else. What was enlarged has blunt peaks: with the
threshold of photos, a third of the wanted number of points was found, and half as many matches."""
CUTS = 2
"""Crops are cut again from their own matches so often, while they still become smaller."""
SMALLER = 0.8
"""A crop whose sides are not below this share of what was seen before is not worth another pass."""


def probe_zoom(photos: Photos, tools: Tools) -> Matched | None:
    """Matches of a photo and a smaller copy of the other one: those with the largest sum of scores, in pixels of both.

    None if no copy gives a match.
    """
    best: Matched | None = None
    extractor, matcher = tools
    budget = extractor.config.resize or max(*photos[0].size, *photos[1].size)
    far = {
        (number, times): photo.features(extractor, times * budget, extractor.config.max_keypoints)
        for number, photo in enumerate(photos)
        for times in (1, 2)
    }
    for near in (0, 1):
        for times, side in NEAR_SIDES:
            pair = [far[0, times], far[1, times]]
            pair[near] = photos[near].features(extractor, side, extractor.config.max_keypoints)
            found = Matched(features0=pair[0], features1=pair[1], matches=matcher.match(*pair))
            if best is None or found.score_sum > best.score_sum:
                best = found
    return best if best is not None and len(best.matches) else None


def match_zoomed(photos: Photos, first: Matched, tools: Tools) -> tuple[Matched, Common] | None:
    """Matches between crops of what two photos share, in pixels of the photos, and the crops.

    Args:
        photos: The photos.
        first: Matches that say, roughly, where the common part is.
        tools: Extractor and matcher.

    Returns:
        None if the matches do not tell, or the common part is all of both photos.
    """
    sizes = photos[0].size, photos[1].size
    config = tools[0].config
    fainter = with_options(tools[0], detection_threshold=FAINTER * config.detection_threshold), tools[1]
    found: tuple[Matched, Common] | None = None
    seen: tuple[Box, Box] = (0, 0, *sizes[0]), (0, 0, *sizes[1])
    for _ in range(CUTS):
        common = common_part((first if found is None else found[0]).matches, sizes)
        if common is None:
            break
        boxes = common.box0, common.box1
        if all(_long(box) > SMALLER * _long(before) for box, before in zip(boxes, seen, strict=True)):
            break
        cut = match_parts(photos, boxes, long_sides(common, tools[0]), fainter, config.max_keypoints)
        if found is not None and cut.score_sum <= found[0].score_sum:
            break
        found, seen = (cut, common), boxes
    return found


def closer_matches(photos: Photos, matches: Matches, tools: Tools, refine: Subpixel | None = None) -> Matched | None:
    """Matches between crops of what two photos share by matches of any features, in pixels of the photos.

    Args:
        photos: The photos.
        matches: Those of any extractor, or of several.
        tools: Extractor and matcher.
        refine: How the matches are refined; None: not at all.

    Returns:
        None if the matches do not tell what is shared, it is all of both photos, or one pass was not enough and photos
        were turned, cut or matched in tiles already.
    """
    if matches.remedies is not None and matches.remedies.applied:
        return None
    none = matches.keypoints0[:0]
    empty = Features(keypoints=none, descriptors=none, scores=none[:, 0], image_size=photos[0].size)
    cut = match_zoomed(photos, Matched(features0=empty, features1=empty, matches=matches), tools)
    if cut is None or refine is None:
        return None if cut is None else cut[0]
    found = cut[0]
    features = found.features0, found.features1
    images = photos[0].photo, photos[1].photo
    refined = refine_matches(*images, found.matches, resize=None, options=refine, features=features)
    return replace(found, matches=refined)


def long_sides(common: Common, extractor: Extractor) -> tuple[int, int]:
    """Lengths of the longer sides of the two crops, pixels, at which objects have one size in both.

    They are as large as the extractor sees photos, but not enlarged too much.
    """
    sides = _long(common.box0), _long(common.box1)
    budget = extractor.config.resize or max(sides)
    largest = [min(budget / side, ENLARGED) for side in sides]
    enlarged1 = min(largest[1], largest[0] / common.scale)
    return max(1, round(sides[0] * enlarged1 * common.scale)), max(1, round(sides[1] * enlarged1))


def _long(box: Box) -> int:
    return max(box[2] - box[0], box[3] - box[1])
