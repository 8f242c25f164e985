"""A photo, turned or cut, as an extractor sees it; and the way back to the photo."""

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.decode import Photo
from photoglue.extractors.base import Extractor, upright_mask
from photoglue.geometry.frames import StoredFrame
from photoglue.image import ImageSource, load_photo
from photoglue.limits.rotation import turned_back, turned_photo, with_options
from photoglue.matchers.base import Matcher
from photoglue.structs import Features, Matches

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom in whole pixels; the column ``right`` and the row ``bottom`` are outside."""
Size: TypeAlias = tuple[int, int]
"""(width, height), pixels."""
RIM = 8
"""Pixels along the border of a photo that was turned by an odd angle, in which no points are wanted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Masked:
    """A photo and where keypoints are wanted in it."""

    photo: Photo
    mask: Bool[Tensor, "h w"] | None = None
    """In the pixels of the photo as read; None: everywhere."""

    @classmethod
    def of(cls, image: ImageSource | Photo, mask: ImageSource | None = None) -> "Masked":
        """The photo, read, and its mask turned as it is.

        Raises:
            ImageError: If one cannot be read, or their sizes differ.
        """
        photo = load_photo(image)
        frame = StoredFrame(orientation=photo.orientation, upright_size=(photo.image.shape[2], photo.image.shape[1]))
        return cls(photo=photo, mask=None if mask is None else upright_mask(mask, photo.path, frame))

    @property
    def size(self) -> Size:
        """(width, height), pixels."""
        return self.photo.image.shape[2], self.photo.image.shape[1]

    def part(self, box: Box) -> "Masked":
        """What is inside a box."""
        left, top, right, bottom = box
        rows, columns = slice(top, bottom), slice(left, right)
        opaque, mask = (None if each is None else each[rows, columns] for each in (self.photo.opaque, self.mask))
        return Masked(photo=Photo(image=self.photo.image[:, rows, columns], opaque=opaque), mask=mask)

    def features(self, extractor: Extractor, long_side: int | None, max_keypoints: int | None) -> Features:
        """Features in pixels of this photo.

        Args:
            extractor: Its other options stay.
            long_side: Length of the longer side that it sees, pixels; None: as it is.
            max_keypoints: At most so many points, the best; None: all.
        """
        changed = with_options(extractor, resize=long_side, max_keypoints=max_keypoints)
        return changed.extract_many([self.photo], [self.mask])[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Turned:
    """A photo that is turned by any angle, and the way back."""

    masked: Masked
    """The turned photo; what it does not cover is masked."""
    of: Size
    """(width, height) of the photo before it was turned, pixels."""
    quarters: int = 0
    """By how many quarters it was turned counterclockwise, as seen."""
    rest_deg: float = 0.0
    """By how many degrees it was turned counterclockwise before that, in [-45, 45]."""

    @classmethod
    def by(cls, masked: Masked, quarters: int, rest_deg: float = 0.0) -> "Turned":
        """A photo turned counterclockwise by quarters, which is exact, and by the rest, between pixels bilinear."""
        turned = masked if rest_deg == 0 else _rotated(masked, rest_deg)
        mask = None if turned.mask is None else torch.rot90(turned.mask, quarters)
        turned = Masked(photo=turned_photo(turned.photo, quarters), mask=mask)
        return cls(masked=turned, of=masked.size, quarters=quarters, rest_deg=rest_deg)

    def undo(self, features: Features) -> Features:
        """Features in pixels of the photo before it was turned."""
        features = turned_back(features, self.quarters)
        if self.rest_deg == 0:
            return features
        matrix = _matrix(self.rest_deg)
        angles = features.orientations
        return replace(
            features,
            keypoints=_about(features.keypoints, features.image_size, self.of, matrix),
            orientations=None if angles is None else angles + math.radians(self.rest_deg),
            image_size=self.of,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Matched:
    """Features of two photos and their matches."""

    features0: Features
    features1: Features
    matches: Matches

    @property
    def score_sum(self) -> float:
        """The sum of the scores of all matches."""
        return float(self.matches.scores.sum())

    def at(self, keypoints0: Features, keypoints1: Features) -> "Matched":
        """These matches with the points elsewhere, such as in pixels of the photos that crops are part of."""
        matches = replace(self.matches, keypoints0=keypoints0.keypoints, keypoints1=keypoints1.keypoints)
        return Matched(features0=keypoints0, features1=keypoints1, matches=matches)


def match_parts(
    photos: tuple[Masked, Masked],
    boxes: tuple[Box, Box],
    long_sides: tuple[int, int],
    tools: tuple[Extractor, Matcher],
    max_keypoints: int | None,
) -> Matched:
    """The matches between parts of two photos, in pixels of the photos."""
    extractor, matcher = tools
    seen0, seen1 = (
        photo.part(box).features(extractor, length, max_keypoints)
        for photo, box, length in zip(photos, boxes, long_sides, strict=True)
    )
    found = Matched(features0=seen0, features1=seen1, matches=matcher.match(seen0, seen1))
    shifted = (
        replace(seen, keypoints=seen.keypoints + seen.keypoints.new_tensor(box[:2]), image_size=photo.size)
        for photo, box, seen in zip(photos, boxes, (seen0, seen1), strict=True)
    )
    return found.at(*shifted)


def _matrix(angle_deg: float) -> Float[Tensor, "2 2"]:
    """Takes steps in a photo that was turned counterclockwise to steps in the photo before; y points down."""
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return torch.tensor([[cosine, -sine], [sine, cosine]])


def _about(points: Float[Tensor, "n 2"], size: Size, other: Size, matrix: Float[Tensor, "2 2"]) -> Float[Tensor, "n 2"]:
    """Points of an image of one size as those of an image of another size that is turned about its middle."""
    middle, there = (points.new_tensor([(side - 1) / 2 for side in each]) for each in (size, other))
    return (points - middle) @ matrix.to(points).T + there


def _rotated(masked: Masked, angle_deg: float) -> Masked:
    """A photo turned counterclockwise about its middle, on a larger canvas."""
    image, (width, height) = masked.photo.image, masked.size
    matrix = _matrix(angle_deg)
    across = matrix.abs() @ torch.tensor([float(width), float(height)])
    size = int(across[0].ceil()), int(across[1].ceil())
    y, x = torch.meshgrid(torch.arange(size[1]), torch.arange(size[0]), indexing="ij")
    there = _about(torch.stack([x, y], dim=-1).view(-1, 2).float(), size, masked.size, matrix)
    last = torch.tensor([max(width - 1, 1), max(height - 1, 1)])
    inside = ((there >= RIM) & (there <= torch.tensor([width, height]) - 1 - RIM)).all(dim=1).view(size[1], size[0])
    grid = (2 * there / last - 1).view(1, size[1], size[0], 2).to(image)
    turned = torch.nn.functional.grid_sample(image[None], grid, padding_mode="border", align_corners=True)[0]
    nearest = there.round().long()
    column, row = nearest[:, 0].clamp(0, width - 1), nearest[:, 1].clamp(0, height - 1)
    opaque, mask = (
        None if each is None else each[row, column].view(size[1], size[0])
        for each in (masked.photo.opaque, masked.mask)
    )
    return Masked(photo=Photo(image=turned.clamp(0, 1), opaque=opaque), mask=inside if mask is None else inside & mask)
