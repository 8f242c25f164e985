"""Features with orientations: the angle that partners agree on, and a matcher that sees turned points."""

import math
from dataclasses import replace

import pytest
import torch

from photoglue.limits.oriented import TurnedPoints, seen_by, turn_of_descriptors, turn_of_matches
from photoglue.limits.turning import turned
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.structs import Features

COUNT = 80


class Upright(Matcher):
    """Points with like descriptors match if they have one orientation; as sure as they are at one place."""

    verdict = staticmethod(lambda matches: float(len(matches) > COUNT / 2))

    def match_many(self, pairs):
        self.seen = pairs
        found = NearestNeighbor().match_many(pairs)
        differences = [
            b.orientations[each.indices[:, 1]] - a.orientations[each.indices[:, 0]]
            for (a, b), each in zip(pairs, found, strict=True)
        ]
        return [each.select(off.cos() > 0.9) for each, off in zip(found, differences, strict=True)]


def turned_by(features, angle_deg):
    """Counterclockwise."""
    return turned(features, -math.radians(angle_deg))


@pytest.fixture
def features():
    chance = torch.Generator().manual_seed(0)
    descriptors = torch.nn.functional.normalize(torch.randn(COUNT, 32, generator=chance), dim=1)
    points = torch.rand(COUNT, 2, generator=chance) * torch.tensor([59.0, 39.0])
    angles = torch.rand(COUNT, generator=chance) * math.tau
    return Features.from_arrays(
        points, descriptors, (60, 40), kind="sift", scales=torch.ones(COUNT), orientations=angles
    )


@pytest.mark.parametrize("angle", [-170.0, -90.0, -33.0, 0.0, 45.0, 120.0, 179.0])
def test_the_angle_that_turns_points_back(features, angle):
    there = turned_by(features, angle)
    found = turn_of_descriptors(features, there)
    assert found == pytest.approx(-angle, abs=0.01)
    back = turned_by(there, found)
    off = back.keypoints - features.keypoints
    assert (off - off[0]).abs().max() < 0.01  # on a larger canvas
    assert (back.orientations - features.orientations).cos().min() > 0.9999


def test_some_partners_may_be_wrong(features):
    there = turned_by(features, 100.0)
    wrong = there.orientations.clone()
    wrong[::2] = torch.linspace(0, math.tau, COUNT // 2)
    found = turn_of_descriptors(features, replace(there, orientations=wrong))
    assert found == pytest.approx(-100.0, abs=5)


def test_partners_that_do_not_agree_say_nothing(features):
    scattered = replace(features, orientations=features.orientations + torch.linspace(0, math.tau, COUNT))
    assert turn_of_descriptors(features, scattered) is None
    assert turn_of_descriptors(features[:11], features[:11]) is None  # too few
    assert turn_of_descriptors(features[:12], features[:12]) == pytest.approx(0, abs=1e-4)
    assert turn_of_descriptors(features[:0], features[:0]) is None


def test_features_without_orientations_have_no_angle(features):
    plain = replace(features, orientations=None, scales=None)
    assert turn_of_matches(plain, plain, NearestNeighbor().match(plain, plain)) is None
    assert not seen_by(Upright(), plain)
    assert seen_by(Upright(), features)
    assert not seen_by(NearestNeighbor(), features)  # which looks at descriptors alone


def test_matches_are_those_of_turned_points_where_they_were(features):
    there = turned_by(features, 90.0)
    matcher = TurnedPoints(Upright(), -90.0)
    assert len(Upright().match(features, there)) == 0
    found = matcher.match(features, there)
    assert len(found) == COUNT
    assert torch.equal(found.keypoints1, there.keypoints)
    seen = matcher.matcher.seen[0][1]
    assert seen.image_size == features.image_size
    assert (seen.keypoints - features.keypoints).abs().max() < 1e-4
    assert matcher.overlap_probability(found) == 1.0
