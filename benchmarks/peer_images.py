"""Peers that take two photos and give matched points: kornia's LoFTR; SuperGlue, LightGlue and EfficientLoFTR of
transformers.

An evaluation gives matchers features, so here an image is its own features: as many "points" as it has rows, each with
a row of gray values as its descriptor. It is resized as the protocol says. transformers takes only pairs of one size
(its own processors make every image 640 × 480, whatever its shape): image 1 gets the size of image 0.
"""  # noqa: D205

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from photoglue import Features, Matches
from photoglue.extractors.base import Extractor
from photoglue.image import Resize, to_gray
from photoglue.matchers.base import Matcher

Finder: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""Two gray images (h × w, in [0, 1]) → points in both (k × 2; pixels, the centre of the top-left one is (0, 0)) and
scores."""


class GrayImages(Extractor):
    """The image itself."""

    kind = "gray-image"
    descriptor_dim = 0  # the width of the image

    def detect(self, images: Tensor, masks: Tensor | None = None) -> list[Features]:  # noqa: ARG002
        """A "point" for each row of pixels; it takes no masks."""
        height, width = images.shape[2:]
        return [
            Features(
                keypoints=torch.zeros(height, 2),
                descriptors=gray,
                scores=torch.ones(height),
                image_size=(width, height),
                kind=self.kind,
            )
            for gray in to_gray(images)[:, 0]
        ]


class ImageMatcher(Matcher):
    """A matcher of two images.

    Args:
        find: Its function.
        one_size: Whether both images must have one size.
        multiple: Their sides are made multiples of it.
    """

    def __init__(self, find: Finder, *, one_size: bool = True, multiple: int = 1) -> None:
        self._find = find
        self._one_size = one_size
        self._multiple = multiple

    def match_many(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, one by one."""
        return [self._match(*pair) for pair in pairs]

    def _match(self, features0: Features, features1: Features) -> Matches:
        size0, size1 = (self._size(features) for features in (features0, features1))
        resizes, images = [], []
        for features, size in ((features0, size0), (features1, size0 if self._one_size else size1)):
            height, width = features.descriptors.shape
            resize = Resize(original_size=(width, height), resized_size=size)
            images.append(resize.apply(features.descriptors[None])[0])
            resizes.append(Resize(original_size=features.image_size, resized_size=size))
        points0, points1, scores = self._find(images[0], images[1])
        rows = torch.arange(len(scores))
        return Matches(
            matches0=rows,
            matches1=rows.clone(),
            matching_scores0=scores.float(),
            matching_scores1=scores.float(),
            keypoints0=resizes[0].undo(points0.float()),
            keypoints1=resizes[1].undo(points1.float()),
        )

    def _size(self, features: Features) -> tuple[int, int]:
        """(width, height), pixels."""
        height, width = features.descriptors.shape
        width, height = (max(1, round(side / self._multiple)) * self._multiple for side in (width, height))
        return width, height


def loftr_finder(model: torch.nn.Module) -> Finder:
    """The function of kornia's LoFTR, in whose frame the centre of the top-left pixel is (0.5, 0.5)."""

    @torch.inference_mode()
    def find(image0: Tensor, image1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = model({"image0": image0[None, None], "image1": image1[None, None]})
        return found["keypoints0"] - 0.5, found["keypoints1"] - 0.5, found["confidence"]

    return find


def detector_finder(model: torch.nn.Module) -> Finder:
    """The function of transformers' SuperGlue and LightGlue, which detect SuperPoint's whole pixels.

    ``matches[0, 0]`` says for each point of image 0 which one of image 1 is its partner, or -1.
    """

    @torch.inference_mode()
    def find(image0: Tensor, image1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = model(_pixels(image0, image1))
        keypoints, there = _in_pixels(found.keypoints, image0), found.mask[0] > 0
        partner = found.matches[0, 0].long()
        rows = torch.nonzero((partner >= 0) & there[0]).flatten()
        rows = rows[there[1][partner[rows]]]  # not padding
        return keypoints[0][rows], keypoints[1][partner[rows]], found.matching_scores[0, 0][rows]

    return find


def dense_finder(model: torch.nn.Module) -> Finder:
    """The function of transformers' EfficientLoFTR.

    It has a place for each cell of 8 × 8 pixels: ``matches[0, 1]`` and ``keypoints[0, 1]`` say for a cell of image 0
    which cell of image 1 is its partner and where the point lies there, ``matches[0, 0]`` and ``keypoints[0, 0]`` the
    other way round. (transformers' own post-processing lines both up in their orders, which differ.)
    """

    @torch.inference_mode()
    def find(image0: Tensor, image1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = model(_pixels(image0, image1))
        keypoints = _in_pixels(found.keypoints, image0)
        partner = found.matches[0, 1].long()
        cells = torch.nonzero(partner >= 0).flatten()
        return keypoints[0][partner[cells]], keypoints[1][cells], found.matching_scores[0, 1][cells]

    return find


def _pixels(image0: Tensor, image1: Tensor) -> Tensor:
    """One pair of gray images in three channels, as transformers takes them."""
    return torch.stack([image0, image1])[None, :, None].expand(-1, -1, 3, -1, -1)


def _in_pixels(keypoints: Any, image: Tensor) -> Tensor:
    """Keypoints of one pair (2 × n × 2), which come as shares of width and height."""
    height, width = image.shape
    pixels: Tensor = keypoints[0] * torch.tensor([width, height])
    return pixels
