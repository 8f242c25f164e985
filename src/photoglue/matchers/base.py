"""What a matcher is, and the checks that every matcher makes of its input."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from photoglue.errors import PhotoGlueWarning, ShapeError
from photoglue.structs import Features, Matches


class Matcher(ABC):
    """Says which features of two images show the same point."""

    @property
    def verdict(self) -> Callable[[Matches], float | None] | None:
        """A function from matches of this matcher to how likely the two photos overlap, in (0, 1).

        None: what the scores of this matcher mean is not known. A matcher that knows overrides it with an attribute.
        """
        return None

    @abstractmethod
    def match_many(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, in their order."""

    @final
    def match(self, features0: Features, features1: Features) -> Matches:
        """Matches of one pair."""
        return self.match_many([(features0, features1)])[0]

    @final
    def overlap_probability(self, matches: Matches) -> float | None:
        """How likely the two photos show the same thing, in (0, 1), from the matches that this matcher gave for them.

        None if what its scores mean is not known, as for nearest neighbours and for weights that were not calibrated.
        """
        return None if self.verdict is None else self.verdict(matches)


def check_pairs(pairs: Iterable[tuple[Features, Features]]) -> list[tuple[Features, Features]]:
    """All pairs of a list or iterator; what is no pair of Features is refused, such as dicts or images one by one.

    Raises:
        ShapeError: Otherwise.
    """
    pairs = list(pairs)
    for pair in pairs:
        if isinstance(pair, Features) or len(pair) != 2 or not all(isinstance(image, Features) for image in pair):
            came = type(pair).__name__
            if not isinstance(pair, Features):
                came += f" of {', '.join(type(image).__name__ for image in pair) or 'nothing'}"
            raise ShapeError(
                f"A pair to match is a {came}; it must be a tuple of two Features: match(features0, features1), or "
                "match_many([(features0, features1), …]). Features.from_arrays() makes them; dicts are for "
                "photoglue.compat."
            )
    return pairs


def check_points(images: Sequence[Features]) -> None:
    """Refuse values that are not finite; warn of points that cannot lie in their image.

    Raises:
        ShapeError: If a keypoint, descriptor, scale or orientation is NaN or infinite.
    """
    filled = [features for features in images if len(features)]
    if not filled:
        return
    sizes = torch.tensor([features.image_size for features in filled], dtype=torch.float32, device="cpu")
    margin = sizes.amax(dim=1, keepdim=True) * 0.02 + 1
    # One small tensor an image, and one read for all of them.
    facts = torch.stack([_extent_and_finite(features) for features in filled]).cpu()
    low, high, finite = facts[:, :2], facts[:, 2:4], facts[:, 4]
    for features, ok in zip(filled, finite.tolist(), strict=True):
        if not ok:
            raise ShapeError(
                f"{_count_bad(features)} of {len(features)} points have a keypoint, descriptor, scale or orientation "
                "that is NaN or infinite. Was the extractor run in half precision? Drop those points, or extract again "
                "in float32."
            )
    outside = ((low < -margin) | (high > sizes - 1 + margin)).any(dim=1)
    for features, out, extent in zip(filled, outside.tolist(), facts[:, :4].tolist(), strict=True):
        if out:
            _warn_of_outside(features, *extent)


def _extent_and_finite(features: Features) -> Tensor:
    """Five numbers: smallest x and y, largest x and y, and 1 if all values are finite."""
    low, high = features.keypoints.aminmax(dim=0)
    extents = [
        torch.stack(values.aminmax()) for values in _network_input(features)[1:] if values.numel()
    ]  # NaN if one is
    finite = torch.cat([low, high, *extents]).isfinite().all()
    return torch.cat([low, high, finite.to(low.dtype)[None]])


def _count_bad(features: Features) -> int:
    good = [values.isfinite().flatten(1).all(dim=1) for values in _network_input(features)]
    return int((~torch.stack(good).all(dim=0)).sum())


def _network_input(features: Features) -> list[Tensor]:
    """All values that a matcher may look at, one row a point."""
    lengths = [values[:, None] for values in (features.scales, features.orientations) if values is not None]
    return [features.keypoints, features.descriptors, *lengths]


def _warn_of_outside(features: Features, left: float, top: float, right: float, bottom: float) -> None:
    width, height = features.image_size
    hint = "Are the keypoints those of another image, or of another size?"
    if min(left, top) > -1 and right <= height and bottom <= width:
        hint = f"All fit into {height} × {width}: were width and height swapped? image_size is (width, height)."
    warnings.warn(
        f"Keypoints reach from ({left:.0f}, {top:.0f}) to ({right:.0f}, {bottom:.0f}), far outside their image of "
        f"{width} × {height} pixels. {hint}",
        PhotoGlueWarning,
        stacklevel=4,
    )


def mutual_partners(
    best0: Float[Tensor, " m"], choice0: Int64[Tensor, " m"], best1: Float[Tensor, " n"]
) -> Int64[Tensor, " n"]:
    """For each column of a table the row that chooses it and that it chooses, or m if there is none.

    Of equal rivals the first row wins.

    Args:
        best0: The largest value of each row.
        choice0: The column where it is.
        best1: The largest value of each column.
    """
    count = len(best0)
    numbers = torch.arange(count, device=best0.device).masked_fill(best0 != best1[choice0], count)
    return torch.full_like(best1, count, dtype=torch.int64).scatter_reduce_(0, choice0, numbers, "amin")
