"""Photos that are turned against each other: ALIKED, DISK and SuperPoint find nothing beyond some 45°.

A photo is turned by exact quarters before its features are extracted, and their coordinates are turned back: all else
sees the photo as it was read, and only LightGlue, to which directions between points matter, turns them again
(``Features.quarters``). Turning the coordinates of upright features does not do: their descriptors are upright ones.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import torch
from jaxtyping import Bool
from torch import Tensor

from photoglue.decode import Photo
from photoglue.errors import ConfigError, ShapeError
from photoglue.extractors.aliked import ALIKED, ALIKEDConfig
from photoglue.extractors.base import Extractor, upright_mask
from photoglue.geometry.frames import StoredFrame
from photoglue.image import ImageSource, load_photo
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlue
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.structs import Features
from photoglue.weights import locate

Kind = TypeVar("Kind", bound=Extractor)
LIKE = 0.9
"""Score of nearest neighbours that count: a cosine of 0.8."""
LEAST_SUM = 25.0
"""A turn that is true gives a sum of scores of at least so much, of 512 points; others were seen to give up to 23."""
STEADIER = "aliked-n16rot"
"""ALIKED trained with turned photos: nearly all matches are found up to 45°."""
MARGIN = 2.0
"""And so many times that of the upright photo, and of the opposite turn."""


def extract_turned(
    extractor: Extractor,
    images: Sequence[ImageSource | Photo],
    quarters: Sequence[int],
    masks: Sequence[ImageSource | None] | None = None,
) -> list[Features]:
    """Features of photos that are turned by quarters before the extractor sees them, in pixels of the photos as read.

    Points and, where there are any, orientations are turned back; descriptors are those of the turned photos. So they
    match features of other photos against which these are turned.

    Args:
        extractor: Any.
        images: Paths, PIL images, arrays, tensors, or photos that were read before.
        quarters: By how many quarters each is turned, counterclockwise as seen: 0, 1, 2 or 3.
        masks: A mask for each image, or None for an image without one, as ``Extractor.extract_many`` takes them: in
            the pixels of the photo before it is turned.

    Raises:
        ConfigError: If a number of quarters is none of these four.
        ShapeError: If there are not as many numbers or masks as images.
        ImageError: If an image or mask cannot be read, or their sizes differ.
    """
    masks = [None] * len(images) if masks is None else masks
    if not len(images) == len(quarters) == len(masks):
        raise ShapeError(
            f"There are {len(images)} images, {len(quarters)} numbers of quarters and {len(masks)} masks; give one of "
            "each for each image."
        )
    for number in quarters:
        if number not in range(4):
            raise ConfigError(f"quarters is {number!r}; a photo is turned by 0, 1, 2 or 3 quarters.")
    rows = zip(images, quarters, masks, strict=True)
    return [_extract_turned(extractor, image, number, mask) for image, number, mask in rows]


def _extract_turned(
    extractor: Extractor, image: ImageSource | Photo, quarters: int, mask: ImageSource | None
) -> Features:
    photo = load_photo(image)
    turned_mask = None if mask is None else _turned_mask(mask, photo, quarters)
    (features,) = extractor.extract_many([turned_photo(photo, quarters)], [turned_mask])
    return replace(turned_back(features, quarters), exif_orientation=photo.orientation)


def turned_photo(photo: Photo, quarters: int) -> Photo:
    """A photo turned counterclockwise by quarters; it is taken for upright as it then is, and for no file."""
    if quarters == 0:
        return photo
    opaque = None if photo.opaque is None else torch.rot90(photo.opaque, quarters)
    return Photo(image=torch.rot90(photo.image, quarters, (1, 2)).contiguous(), opaque=opaque)


def turned_back(features: Features, quarters: int) -> Features:
    """Features of a photo that was turned counterclockwise by quarters, in pixels of the photo before it was turned.

    The number of quarters stays with them, for matchers.
    """
    if quarters == 0:
        return features
    width, height = features.image_size
    frame = StoredFrame.of_turned(quarters, (height, width) if quarters in (1, 3) else (width, height))
    angles = features.orientations
    return replace(
        features,
        keypoints=frame.to_upright(features.keypoints),
        orientations=None if angles is None else frame.angles_to_upright(angles),
        image_size=frame.upright_size,
        quarters=quarters,
    )


PROBE = {"max_keypoints": 512, "resize": 512}
"""Options of an extractor that are enough to see which way up a photo is."""


def probe_features(extractor: Extractor, image: ImageSource | Photo, mask: ImageSource | None = None) -> list[Features]:
    """Few features of a small copy of a photo, turned by 0, 1, 2 and 3 quarters."""
    photo = load_photo(image)
    return extract_turned(small(extractor), [photo] * 4, range(4), [mask] * 4)


def small(extractor: Kind) -> Kind:
    """The extractor, for few points of small copies of photos."""
    config = extractor.config
    return with_options(
        extractor, **{name: min(getattr(config, name) or least, least) for name, least in PROBE.items()}
    )


def score_sums(matcher: Matcher, features0: Features, turned: Sequence[Features]) -> list[float]:
    """How well each of some features of image 1 match those of image 0: the sum of the scores.

    Of nearest neighbours, which are many between any photos, only those count whose cosine is at least 0.8.
    """
    found = matcher.match_many([(features0, features) for features in turned])
    least = LIKE if matcher.verdict is None else 0.0
    return [float(matches.scores[matches.scores >= least].sum()) for matches in found]


def best_turn(sums: Sequence[float]) -> int | None:
    """The number of quarters that plainly fits best; None if there is none, as between photos of different things.

    Halfway between two quarters both fit alike, and either is right: only the upright photo and the opposite turn are
    compared.
    """
    best = max(range(4), key=lambda quarters: sums[quarters])
    rivals = {0, (best + 2) % 4} - {best}
    plain = sums[best] >= LEAST_SUM and all(sums[best] >= MARGIN * sums[rival] for rival in rivals)
    return best if plain else None


def steadier(extractor: Extractor, matcher: Matcher) -> Extractor | None:
    """The extractor whose features stand turns better, and that the matcher knows: ALIKED's n16rot for n16.

    None if there is none, or its weights are not on this machine: nothing is downloaded for it.
    """
    known = isinstance(matcher, NearestNeighbor) or (
        isinstance(matcher, LightGlue) and STEADIER in (matcher.shape.kinds or ())
    )
    if not known or not isinstance(extractor, ALIKED) or extractor.kind != "aliked-n16":
        return None
    if locate(ALIKED.records[STEADIER]) is None:
        return None
    return _steadier(extractor.config, extractor.device)


@lru_cache(maxsize=2)
def _steadier(config: ALIKEDConfig, device: torch.device) -> ALIKED:
    return ALIKED.pretrained(replace(config, variant="n16rot")).to(device)


def with_options(extractor: Kind, **options: Any) -> Kind:
    """An extractor with the same weights and other options, such as ``max_keypoints=512``; the given one stays."""
    changed = copy.copy(extractor)
    changed.config = replace(extractor.config, **options)
    return changed


def _turned_mask(mask: ImageSource, photo: Photo, quarters: int) -> Bool[Tensor, "h w"]:
    height, width = photo.image.shape[1:]
    frame = StoredFrame(orientation=photo.orientation, upright_size=(width, height))
    return torch.rot90(upright_mask(mask, photo.path, frame), quarters)
