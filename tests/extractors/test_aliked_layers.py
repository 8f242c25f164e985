"""Each short cut of ALIKED's network against the plain way."""

import math

import pytest
import torch
from torch.nn import functional

from photoglue.extractors import aliked_layers as module
from photoglue.extractors.aliked import ALIKED, ALIKEDConfig
from photoglue.extractors.aliked_layers import Block, JoinedMap, gate

SIZES = [(64, 96), (32, 32), (160, 32), (1, 1), (45, 70), (3, 200)]


def lively(variant: str = "t16") -> ALIKED:
    """Random weights, and batch norms that do something."""
    network = ALIKED(ALIKEDConfig(variant=variant, precision="float32")).eval().requires_grad_(False)
    for name, tensor in network.state_dict().items():
        if name.endswith(("bn1.weight", "bn2.weight", "running_var")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("bn1.bias", "bn2.bias", "running_mean")):
            tensor.normal_(std=0.2)
    return network


def plain_joined(joined: JoinedMap) -> torch.Tensor:
    """The joined map of the padded image, as the paper draws it."""
    size = joined.fine.shape[2:]
    fine = functional.selu(functional.conv2d(joined.fine, joined.fine_weight))
    upsampled = [functional.interpolate(c, size, mode="bilinear", align_corners=True) for c in joined.coarse]
    return torch.cat([fine, *upsampled], dim=1)


def plain_block(block: Block, maps: torch.Tensor) -> torch.Tensor:
    """Layer by layer, with torch's own batch norms."""
    hidden = functional.selu(block.bn1(block.conv1(maps)))
    hidden = block.bn2(block.conv2(hidden))
    return functional.selu(hidden if block.downsample is None else hidden + block.downsample(maps))


def cropped(maps: torch.Tensor, joined: JoinedMap) -> torch.Tensor:
    (left, top), (width, height) = joined.corner, joined.image_size
    return maps[..., top : top + height, left : left + width]


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
    monkeypatch.setattr(module, "_STRIP", rows)
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
def test_scores_equal_those_of_the_joined_map(height, width):
    network = lively()
    joined = network._encode(torch.rand(3, height, width))
    layers = torch.nn.Sequential(*network.score_head)
    wanted = cropped(layers(plain_joined(joined))[0, 0].sigmoid(), joined)
    found = network.score_head(joined)
    assert found.shape == (height, width)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


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
