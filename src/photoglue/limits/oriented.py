"""Photos that are turned against each other, for features that have orientations: SIFT and DoG-HardNet.

Their descriptors are the same however the photo is turned; only LightGlue sees where the points lie. So nothing is
extracted again: the angle is that by which the orientations of partners differ, and the points are turned by it.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.limits.rotation import LIKE
from photoglue.limits.turning import turned
from photoglue.limits.views import Matched
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.structs import Features, Matches

BINS = 72
"""Differences of orientations are counted in bins of 5°."""
AROUND = (1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0)
"""Weights of neighbouring bins when the fullest place is sought."""
AGREEING_DEG = 20.0
"""Partners agree on an angle if they differ from it by less."""
FEWEST = 12
"""So many partners must agree on an angle,"""
LEAST_SHARE = 0.25
"""and this share of all; by chance a ninth would."""


class TurnedPoints(Matcher):
    """A matcher that sees image 1 as if it had been turned counterclockwise before its points were found.

    Args:
        matcher: It looks at positions and orientations.
        angle_deg: By how many degrees.
    """

    def __init__(self, matcher: Matcher, angle_deg: float) -> None:
        self.matcher, self.angle_deg = matcher, angle_deg

    @property
    def verdict(self) -> Callable[[Matches], float | None] | None:
        """That of the matcher."""
        return self.matcher.verdict

    def match_many(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, with the keypoints as they were given."""
        angle = -math.radians(self.angle_deg)
        found = self.matcher.match_many([(first, turned(second, angle)) for first, second in pairs])
        given = (
            Matched(features0=first, features1=second, matches=each)
            for (first, second), each in zip(pairs, found, strict=True)
        )
        return [each.at(each.features0, each.features1).matches for each in given]


def seen_by(matcher: Matcher, features: Features) -> bool:
    """Whether the features have orientations, and the matcher looks at more than descriptors."""
    return features.orientations is not None and not isinstance(matcher, NearestNeighbor)


def turn_of_matches(features0: Features, features1: Features, matches: Matches) -> float | None:
    """By how many degrees image 1 is to be turned counterclockwise, in (-180, 180]; None if too few matches agree."""
    index0, index1 = matches.indices.T
    if features0.orientations is None or features1.orientations is None:
        return None
    return _agreed(features1.orientations[index1] - features0.orientations[index0])


def turn_of_descriptors(features0: Features, features1: Features) -> float | None:
    """The angle of ``turn_of_matches`` by descriptors alone: of mutual nearest neighbours that are much alike."""
    nearest = NearestNeighbor().match(features0, features1)
    return turn_of_matches(features0, features1, nearest.select(nearest.scores >= LIKE))


def _agreed(differences: Float[Tensor, " k"]) -> float | None:
    """The angle, degrees, that most differences, radians, are near to."""
    if not len(differences):
        return None
    turns = differences.double().cpu() / math.tau
    counts = torch.bincount(((turns % 1) * BINS).long() % BINS, minlength=BINS).double()
    smooth = sum(weight * counts.roll(place - len(AROUND) // 2) for place, weight in enumerate(AROUND))
    assert isinstance(smooth, Tensor)
    middle = (int(smooth.argmax()) + 0.5) / BINS
    off = (turns - middle + 0.5) % 1 - 0.5
    near = off[off.abs() * 360 < AGREEING_DEG]
    if len(near) < max(FEWEST, LEAST_SHARE * len(turns)):
        return None
    return ((middle + float(near.mean()) + 0.5) % 1 - 0.5) * 360
