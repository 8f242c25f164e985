"""Matches of other features beside the first ones: what one extractor does not find, another one may.

Corners and blobs, and the photos that were learned from, differ between extractors, so that hard pairs which one fails
on are often matched by another. Their points and matches are joined, and a robust estimator picks what agrees.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.extractors import EXTRACTORS
from photoglue.structs import Features, Matches

CROP = "crop"
"""Among the names of other features: the first ones again, in crops of what both photos show."""
TINY = 1e-13
"""Probabilities are at least so far from 0 and 1."""


def features_beside(also: str | Sequence[str] | None, features: str) -> list[str]:
    """The names in "disk,sift", or in a list of names, but for ``features`` themselves.

    Args:
        also: Names of other features, or None.
        features: The features that they are beside.

    Raises:
        ConfigError: If a name is empty, or features are named twice, if only by two names of theirs.
    """
    names = [name.strip() for name in (also.split(",") if isinstance(also, str) else also or ())]
    first = EXTRACTORS.get(features, features)
    names = [name for name in names if EXTRACTORS.get(name, name) != first]
    every = [EXTRACTORS.get(name, name) for name in names]
    if "" in names or len(set(every)) < len(every):
        raise ConfigError(
            f'also is {also!r}; it must name other features, each once, such as "disk" or "disk,sift", or "crop".'
        )
    return names


def joined_features(first: Features, second: Features) -> Features:
    """The points of two extractors in one photo, the first ones first; their kind names both, and fits no matcher.

    Descriptors of different widths are filled up with zeros; scales and orientations are left out unless both have
    them.
    """
    width = max(first.descriptors.shape[1], second.descriptors.shape[1])
    rows = first.descriptors, second.descriptors
    wide = [torch.nn.functional.pad(each, (0, width - each.shape[1])) for each in rows]
    return replace(
        first,
        keypoints=torch.cat([first.keypoints, second.keypoints]),
        descriptors=torch.cat(wide),
        scores=torch.cat([first.scores, second.scores]),
        kind=f"{first.kind}+{second.kind}",
        scales=_both(first.scales, second.scales),
        orientations=_both(first.orientations, second.orientations),
    )


def joined_matches(first: Matches, second: Matches) -> Matches:
    """The matches of both, between the points of both as ``joined_features`` has them.

    A place that both extractors found has two points, and two matches. All else, as the exit layer, is that of the
    first ones.
    """
    shift0, shift1 = len(first.matches0), len(first.matches1)
    return replace(
        first,
        matches0=torch.cat([first.matches0, _moved(second.matches0, shift1)]),
        matches1=torch.cat([first.matches1, _moved(second.matches1, shift0)]),
        matching_scores0=torch.cat([first.matching_scores0, second.matching_scores0]),
        matching_scores1=torch.cat([first.matching_scores1, second.matching_scores1]),
        keypoints0=torch.cat([first.keypoints0, second.keypoints0]),
        keypoints1=torch.cat([first.keypoints1, second.keypoints1]),
        prune0=_both(first.prune0, second.prune0),
        prune1=_both(first.prune1, second.prune1),
    )


def joined_probability(*probabilities: float | None) -> float | None:
    """How likely photos overlap, where several matchers say how likely they find it: their odds, multiplied.

    That is right for witnesses who err independently and hold an overlap for as likely as not before they look. What
    only looks alike seldom does so to all of them; where one says nothing at all (odds of 1 to 5, as of a pair that it
    failed on), another one that is sure prevails.

    Args:
        *probabilities: In [0, 1]; None: a matcher without a verdict, which does not count.

    Returns:
        The probability, in (0, 1); None if no matcher has a verdict.
    """
    logits = [math.log(max(each, TINY) / max(1 - each, TINY)) for each in probabilities if each is not None]
    if not logits:
        return None
    most = -math.log(TINY)
    return 1 / (1 + math.exp(-min(max(sum(logits), -most), most)))


def _moved(partners: Tensor, shift: int) -> Tensor:
    return torch.where(partners >= 0, partners + shift, partners)


def _both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return None if first is None or second is None else torch.cat([first, second])
