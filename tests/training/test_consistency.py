"""Local affine maps, and by how much points disagree with their partners."""

import math

import numpy as np
import pytest
import torch

from photoglue.geometry.homography import warp_points
from photoglue.structs import Features
from photoglue.training.consistency import carried, disagreements, homography_affines, nearby_affines

HOMOGRAPHY = torch.tensor([[0.9, 0.12, 20.0], [-0.1, 1.1, 5.0], [1e-4, -5e-5, 1.0]], dtype=torch.float64)
TURN = torch.tensor([[0.0, -2.0], [2.0, 0.0]])  # a quarter clockwise as seen, and twice as large


def _points(count, seed=0):
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * 400


def _features(count, scales, orientations):
    return Features.from_arrays(
        _points(count), np.zeros((count, 4)), (400, 400), scales=scales, orientations=orientations
    )


def test_the_derivative_of_a_homography_is_that_of_small_steps():
    points, step = _points(30), 1e-3
    found = homography_affines(points.double(), HOMOGRAPHY)
    for axis in range(2):
        ahead = points.double() + step * torch.eye(2, dtype=torch.float64)[axis]
        moved = (warp_points(ahead, HOMOGRAPHY) - warp_points(points.double(), HOMOGRAPHY)) / step
        assert torch.allclose(found[:, :, axis], moved, atol=1e-4)


def test_points_between_known_ones_are_carried_along():
    known = _points(60, seed=1)
    points = _points(20, seed=2)
    landed, affines, far = carried(points, known, known @ TURN.T + 7)
    assert torch.allclose(landed, points @ TURN.T + 7, atol=0.5)
    assert torch.allclose(affines, TURN.expand(20, 2, 2), atol=0.02)
    assert torch.allclose(far, torch.cdist(points, known).amin(dim=1))
    assert torch.equal(affines, nearby_affines(points, known, known @ TURN.T + 7))


@pytest.mark.parametrize("count", [0, 2])
def test_without_three_known_points_nothing_lands(count):
    landed, affines, far = carried(_points(5), _points(count), _points(count))
    assert landed.isinf().all()
    assert affines.isnan().all()
    assert far.isinf().all()
    assert nearby_affines(_points(5), _points(count), _points(count)).isnan().all()


def test_no_points_are_carried_nowhere():
    assert [len(each) for each in carried(_points(0), _points(5), _points(5))] == [0, 0, 0]


def test_what_the_map_says_is_no_disagreement():
    angles = np.linspace(-3, 3, 8)
    one = _features(8, np.full(8, 3.0), angles)
    other = _features(8, np.full(8, 6.0), angles + math.pi / 2)
    octaves, degrees = disagreements(one, other, TURN.expand(8, 2, 2))
    assert torch.allclose(octaves, torch.zeros(8), atol=1e-5)
    assert torch.allclose(degrees, torch.zeros(8), atol=1e-3)
    octaves, degrees = disagreements(one, one, TURN.expand(8, 2, 2))
    assert torch.allclose(octaves, -torch.ones(8), atol=1e-5)
    assert torch.allclose(degrees, torch.full((8,), -90.0), atol=1e-3)


def test_features_without_scales_cannot_disagree():
    plain = Features.from_arrays(_points(3), np.zeros((3, 4)), (400, 400))
    assert disagreements(plain, plain, TURN.expand(3, 2, 2)) == (None, None)
