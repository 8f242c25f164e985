"""What a matcher is, and the checks that every matcher makes of its input."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from photoglue.errors import PhotoGlueWarning, ShapeError
from photoglue.structs import Features, Matches


class Matcher(ABC):
    """Says which features of two images show the same point."""

    @abstractmethod
    def match_many(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, in their order; each gets what it would get alone."""

    @final
    def match(self, features0: Features, features1: Features) -> Matches:
        """Matches of one pair: ``match_many`` with one."""
        return self.match_many([(features0, features1)])[0]


def check_points(images: Sequence[Features]) -> None:
    """Refuse values that are not finite; warn of points that cannot lie in their image.

    Raises:
        ShapeError: If a keypoint or descriptor is NaN or infinite.
    """
    filled = [features for features in images if len(features)]
    if not filled:
        return
    sizes = torch.tensor([features.image_size for features in filled], dtype=torch.float32)
    margin = sizes.amax(dim=1, keepdim=True) * 0.02 + 1
    # One small tensor an image, and one read for all of them.
    facts = torch.stack([_extent_and_finite(features) for features in filled]).cpu()
    low, high, finite = facts[:, :2], facts[:, 2:4], facts[:, 4]
    for features, ok in zip(filled, finite.tolist(), strict=True):
        if not ok:
            raise ShapeError(
                f"{_count_bad(features)} of {len(features)} points have a keypoint or descriptor that is NaN or "
                "infinite. Was the extractor run in half precision? Drop those points, or extract again in float32."
            )
    outside = ((low < -margin) | (high > sizes - 1 + margin)).any(dim=1)
    for features, out, top in zip(filled, outside.tolist(), high.tolist(), strict=True):
        if out:
            _warn_of_outside(features, top)


def _extent_and_finite(features: Features) -> Tensor:
    """(smallest x, y; largest x, y; 1 if all is finite)."""
    finite = features.descriptors.isfinite().all() & features.keypoints.isfinite().all()
    low, high = features.keypoints.aminmax(dim=0)
    return torch.cat([low, high, finite.float()[None]])


def _count_bad(features: Features) -> int:
    good = features.descriptors.isfinite().all(dim=1) & features.keypoints.isfinite().all(dim=1)
    return int((~good).sum())


def _warn_of_outside(features: Features, top: list[float]) -> None:
    width, height = features.image_size
    hint = "Are the keypoints those of another image, or of another size?"
    if top[0] <= height and top[1] <= width:
        hint = f"All fit into {height} × {width}: were width and height swapped? image_size is (width, height)."
    warnings.warn(
        f"Keypoints reach ({top[0]:.0f}, {top[1]:.0f}), far outside their image of {width} × {height} pixels. {hint}",
        PhotoGlueWarning,
        stacklevel=4,
    )
