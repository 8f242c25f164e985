"""Features of a turned photo without extracting them."""

import math

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.limits.turning import turned
from photoglue.structs import Features


def _features(**more):
    points = [[0.0, 0.0], [639.0, 479.0], [100.0, 50.0]]
    return Features.from_arrays(points, np.eye(3), (640, 480), **more)


def test_a_quarter_clockwise_puts_the_left_edge_on_top():
    found = turned(_features(orientations=[0.0, 1.0, 3.0]), math.pi / 2)
    assert found.image_size == (480, 640)
    assert torch.allclose(found.keypoints, torch.tensor([[479.0, 0.0], [0.0, 639.0], [429.0, 100.0]]), atol=1e-3)
    assert torch.allclose(found.orientations, torch.tensor([1.5708, 2.5708, 3 + 1.5708 - 2 * math.pi]), atol=1e-3)
    assert torch.equal(found.descriptors, torch.eye(3))


@pytest.mark.parametrize("angle", [0.3, -2.0, math.pi])
def test_back_again_is_the_same_on_a_canvas_that_holds_all(angle):
    before = _features(orientations=[0.0, 1.0, -3.0])
    there = turned(before, angle)
    width, height = there.image_size
    assert ((there.keypoints >= -0.5) & (there.keypoints <= torch.tensor([width, height]) - 0.5)).all()
    middle = torch.tensor(before.image_size) / 2 - torch.tensor(turned(there, -angle).image_size) / 2
    assert torch.allclose(turned(there, -angle).keypoints + middle, before.keypoints, atol=1e-2)
    assert torch.allclose(turned(there, -angle).orientations, before.orientations, atol=1e-4)


def test_features_without_orientations_are_refused():
    with pytest.raises(ConfigError, match="no orientations"):
        turned(_features(), 1.0)
