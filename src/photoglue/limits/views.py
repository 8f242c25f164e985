"""A part of a photo, turned and enlarged, as an extractor sees it; and the way back to the photo."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from photoglue.decode import Photo
from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor, upright_mask
from photoglue.geometry.frames import StoredFrame
from photoglue.image import ImageSource, load_photo
from photoglue.limits.rotation import turned_back, turned_photo, with_options
from photoglue.matchers.base import Matcher
from photoglue.structs import Features, Matches

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in whole pixels; the column ``right`` and the row ``bottom`` are outside."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Masked:
    """A photo and where keypoints are wanted in it."""

    photo: Photo
    mask: Bool[Tensor, "h w"] | None = None
    """In the pixels of the photo as read; None: everywhere."""

    @classmethod
    def of(cls, image: ImageSource | Photo, mask: ImageSource | None) -> "Masked":
        """The photo, read, and its mask turned as it is.

        Raises:
            ImageError: If one cannot be read, or their sizes differ.
        """
        photo = load_photo(image)
        frame = StoredFrame(orientation=photo.orientation, upright_size=(photo.image.shape[2], photo.image.shape[1]))
        return cls(photo=photo, mask=None if mask is None else upright_mask(mask, photo.path, frame))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.photo.image.shape[2], self.photo.image.shape[1]

    def turned(self, quarters: int) -> "Masked":
        """Both turned counterclockwise by quarters."""
        mask = None if self.mask is None else torch.rot90(self.mask, quarters)
        return Masked(photo=turned_photo(self.photo, quarters), mask=mask)


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What an extractor sees of a photo: first it is turned, then cut, then resized.

    Raises:
        ConfigError: If the box is empty or not inside the turned photo.
    """

    of: Masked
    """The photo, turned already by ``quarters``."""
    quarters: int = 0
    """By how many quarters it was turned counterclockwise."""
    box: Box | None = None
    """The part of the turned photo; None: all of it."""
    long_side: int | None = None
    """Length of the longer side that the extractor sees, pixels; None: as it is."""

    def __post_init__(self) -> None:
        width, height = self.of.size
        left, top, right, bottom = self.box or (0, 0, width, height)
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ConfigError(f"The box {self.box} is not a part of a photo of {width} × {height} pixels.")

    def features(self, extractor: Extractor, max_keypoints: int | None) -> Features:
        """Features in pixels of the part of the turned photo, as a matcher should see them."""
        photo, mask = self.of.photo, self.of.mask
        if self.box is not None:
            left, top, right, bottom = self.box
            rows, columns = slice(top, bottom), slice(left, right)
            opaque = None if photo.opaque is None else photo.opaque[rows, columns]
            photo = Photo(image=photo.image[:, rows, columns], opaque=opaque)
            mask = None if mask is None else mask[rows, columns]
        changed = with_options(extractor, resize=self.long_side, max_keypoints=max_keypoints)
        return changed.extract_many([photo], [mask])[0]

    def undo(self, features: Features, orientation: int = 1) -> Features:
        """Features in pixels of the photo as read, from what ``features`` gave; with the photo's EXIF orientation."""
        if self.box is not None:
            shifted = features.keypoints + features.keypoints.new_tensor(self.box[:2])
            features = replace(features, keypoints=shifted, image_size=self.of.size)
        return replace(turned_back(features, self.quarters), exif_orientation=orientation)


def match_views(
    views: tuple[View, View], extractor: Extractor, matcher: Matcher, max_keypoints: Sequence[int | None]
) -> tuple[Features, Features, Matches]:
    """Features and matches of two views, in pixels of the views.

    Args:
        views: Of either photo.
        extractor: Its other options stay.
        matcher: For its features.
        max_keypoints: At most so many points of either view; None: all.
    """
    features0, features1 = (view.features(extractor, count) for view, count in zip(views, max_keypoints, strict=True))
    return features0, features1, matcher.match(features0, features1)
