"""Photos that are turned against each other: ALIKED, DISK and SuperPoint find nothing beyond some 45°.

A photo is turned by exact quarters before its features are extracted, and their coordinates are turned back: all else
sees the photo as it was read, and only LightGlue, to which directions between points matter, turns them again
(``Features.quarters``). Turning the coordinates of upright features does not do: their descriptors are upright ones.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool
from torch import Tensor

from photoglue.decode import Photo
from photoglue.errors import ConfigError, ShapeError
from photoglue.extractors.base import Extractor, upright_mask
from photoglue.geometry.frames import StoredFrame
from photoglue.image import ImageSource, load_photo
from photoglue.structs import Features

Kind = TypeVar("Kind", bound=Extractor)


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
    photos = [load_photo(image) for image in images]
    turned = [turned_photo(photo, number) for photo, number in zip(photos, quarters, strict=True)]
    found = extractor.extract_many(
        turned,
        [
            None if mask is None else _turned_mask(mask, photo, number)
            for mask, photo, number in zip(masks, photos, quarters, strict=True)
        ],
    )
    return [
        replace(turned_back(features, number), exif_orientation=photo.orientation)
        for features, photo, number in zip(found, photos, quarters, strict=True)
    ]


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


def with_options(extractor: Kind, **options: Any) -> Kind:
    """An extractor with the same weights and other options, such as ``max_keypoints=512``; the given one stays."""
    changed = copy.copy(extractor)
    changed.config = replace(extractor.config, **options)
    return changed


def _turned_mask(mask: ImageSource, photo: Photo, quarters: int) -> Bool[Tensor, "h w"]:
    height, width = photo.image.shape[1:]
    frame = StoredFrame(orientation=photo.orientation, upright_size=(width, height))
    return torch.rot90(upright_mask(mask, photo.path, frame), quarters)
