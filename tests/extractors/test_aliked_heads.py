"""The heads of ALIKED against the plain way."""

import math

import pytest
import torch
from aliked_networks import SIZES, cropped, lively, plain_joined

from photoglue.extractors import aliked_heads as module


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_scores_equal_those_of_the_joined_map(height, width):
    network = lively()
    joined = network._encode(torch.rand(3, height, width))
    layers = torch.nn.Sequential(*network.score_head)
    wanted = cropped(layers(plain_joined(joined))[0, 0].sigmoid(), joined)
    found = network.score_head(joined)
    assert found.shape == (height, width)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_descriptors_do_not_depend_on_chunks_or_order(monkeypatch):
    network = lively()
    joined = network._encode(torch.rand(3, 70, 90))
    points = torch.rand(60, 2) * torch.tensor([89.0, 69.0])
    whole = network.desc_head(joined, points)
    monkeypatch.setattr(module, "_CHUNK", 7)
    torch.testing.assert_close(network.desc_head(joined, points), whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(network.desc_head(joined, points.flip(0)), whole.flip(0), atol=1e-6, rtol=1e-5)


def test_patches():
    """Centred on the pixel rounded down; inside; and one pixel further inside at the right and at the bottom."""
    points = torch.tensor([[4.9, 3.0], [0.2, 0.9], [19.0, 9.0], [18.0, 8.0], [17.5, 7.5]])
    x, y = (values.view(5, 3, 3) for values in module._patches(points, (20, 10)))
    assert x[:, 0].tolist() == [[3, 4, 5], [0, 1, 2], [16, 17, 18], [16, 17, 18], [16, 17, 18]]
    assert y[:, :, 0].tolist() == [[2, 3, 4], [0, 1, 2], [6, 7, 8], [6, 7, 8], [6, 7, 8]]
    x, y = (values.view(1, 3, 3) for values in module._patches(torch.tensor([[1.0, 30.0]]), (2, 40)))
    assert x[0, 0].tolist() == [0, 1, 1], "an image narrower than a patch repeats its last pixel"
    assert y[0, :, 0].tolist() == [29, 30, 31]


def test_random_descriptor_weights_keep_the_scale():
    head = module.DescriptorHead(64, 16)
    assert head.agg_weights.std().item() == pytest.approx(1 / math.sqrt(16 * 64), rel=0.05)
