"""Each short cut of ALIKED's network against the plain way."""

import pytest
import torch
from aliked_networks import SIZES, cropped, lively, plain_joined
from torch.nn import functional

from photoglue.extractors import aliked_layers as module
from photoglue.extractors.aliked_layers import Block, gate


def plain_block(block: Block, maps: torch.Tensor) -> torch.Tensor:
    """Layer by layer, with torch's own batch norms."""
    hidden = functional.selu(block.bn1(block.conv1(maps)))
    hidden = block.bn2(block.conv2(hidden))
    return functional.selu(hidden if block.downsample is None else hidden + block.downsample(maps))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0])
def test_gate_is_selu(scale):
    maps = scale * torch.randn(2, 3, 40, 50)
    wanted = functional.selu(maps.double()).float()
    found = gate(maps)
    torch.testing.assert_close(found, wanted, atol=3e-7, rtol=1e-6)
    assert found is maps


def test_gate_has_a_gradient():
    maps = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: gate(values.clone()), maps)


@pytest.mark.parametrize("name", ["block1", "block2", "block3", "block4"])
def test_folded_norms_equal_batch_norms(name):
    block = getattr(lively(), name)
    channels = block.conv1.in_channels if name in ("block1", "block2") else block.downsample.in_channels
    maps = torch.randn(1, channels, 22, 31)
    torch.testing.assert_close(block(maps), plain_block(block, maps), atol=1e-5, rtol=1e-5)


def test_norms_use_running_statistics_also_while_training():
    block = lively().block2
    maps = torch.randn(1, 8, 20, 30)
    wanted = block(maps)
    before = block.bn1.running_mean.clone()
    torch.testing.assert_close(block.train()(maps), wanted)
    torch.testing.assert_close(block.bn1.running_mean, before)


@pytest.mark.parametrize("height", [32, 96, 160])
@pytest.mark.parametrize("rows", [4, 32, 64])
def test_strips_equal_the_whole(height, rows, monkeypatch):
    monkeypatch.setattr(module, "STRIP", rows)
    network = lively()
    maps = torch.randn(1, 3, height, 64)
    whole = network.block1(maps)
    kept, averaged = network.block1.in_strips(maps, 2)
    torch.testing.assert_close(kept, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(averaged, functional.avg_pool2d(whole, 2), atol=1e-5, rtol=1e-5)
    second = network.block2(averaged)
    kept, averaged = network.block2.in_strips(averaged, 4, network.conv2)
    torch.testing.assert_close(kept, functional.selu(network.conv2(second)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(averaged, functional.avg_pool2d(second, 4), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_joined_pixels_equal_those_of_the_joined_map(height, width):
    joined = lively()._encode(torch.rand(3, height, width))
    y, x = (index.flatten() for index in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    wanted = cropped(plain_joined(joined)[0], joined).flatten(1).T
    torch.testing.assert_close(joined.at(x, y), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(45, 70), (3, 200), (32, 32)])
def test_samples_equal_grid_sample_also_outside(height, width):
    joined = lively()._encode(torch.rand(3, height, width))
    x, y = torch.rand(300) * (width + 8) - 4, torch.rand(300) * (height + 8) - 4
    maps = functional.normalize(cropped(plain_joined(joined), joined), dim=1)
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=1)[None, None]
    wanted = functional.grid_sample(maps, grid, align_corners=True)[0, :, 0].T
    found = joined.sample(x, y)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert (found.norm(dim=1) == 0).any(), "some lie outside"
