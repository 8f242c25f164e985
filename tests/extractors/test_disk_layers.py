"""Each short cut of DISK's network against the plain way."""

import pytest
import torch
from torch.nn import functional

from photoglue.extractors import disk_layers as module
from photoglue.extractors.disk_layers import UNet

SIZES = [(16, 16), (48, 80), (32, 160)]


@pytest.fixture
def network() -> UNet:
    """Random weights, but slopes that differ by channel."""
    unet = UNet().eval().requires_grad_(False)
    for name, tensor in unet.state_dict().items():
        if name.endswith("1.weight"):
            tensor.uniform_(-0.3, 1.2)
    return unet


def plain(network: UNet, image: torch.Tensor) -> torch.Tensor:
    """All output channels, layer by layer in double precision, with torch's own instance norms."""
    network, maps, skipped = network.double(), image.double(), []

    def convolve(block, maps, gated):
        if gated:
            # Of a single pixel torch's own refuses to take the norm.
            maps = functional.instance_norm(maps) if maps[0, 0].numel() > 1 else torch.zeros_like(maps)
            maps = functional.prelu(maps, block[1].weight)
        return block[3](maps)

    for level, down in enumerate(network.path_down):
        maps = convolve(down[1], functional.avg_pool2d(maps, 2) if level else maps, level > 0)
        skipped.append(maps)
    skipped.pop()
    for up in network.path_up:
        larger = functional.interpolate(maps, scale_factor=2, mode="bilinear")
        maps = convolve(up.conv, torch.cat([larger, skipped.pop()], dim=1), True)
    network.float()
    return maps.float()


@pytest.mark.slow
@pytest.mark.parametrize("rows", [2, 4, 16, 64])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_strips_give_what_the_plain_network_gives(network, monkeypatch, height, width, rows):
    monkeypatch.setattr(module, "_STRIP", rows)
    image = torch.rand(1, 3, height, width)
    wanted = plain(network, image)[0]
    joined = network(image)
    torch.testing.assert_close(network.logits(joined), wanted[-1], atol=1e-4, rtol=1e-4)
    y, x = (index.flatten() for index in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    found = network.descriptors(joined, torch.stack([x, y], dim=1))
    torch.testing.assert_close(found.T.reshape(-1, height, width), wanted[:-1], atol=1e-4, rtol=1e-4)


def test_half_precision_is_near(network):
    image = torch.rand(1, 3, 64, 96)
    wanted = network.logits(network(image))
    found = network.logits(network(image, torch.bfloat16))
    assert found.dtype == torch.float32
    error = (found - wanted).std() / wanted.std()
    assert 1e-5 < error < 0.02


def test_the_first_map_is_the_convolution_but_for_constants_that_make_its_mean_zero(network):
    """So a bright photo is held in half precision as exactly as a dark one."""
    conv = network.path_down[0][1]
    image = 0.9 + 0.1 * torch.rand(1, 3, 160, 192)
    kept, pooled = conv.of_image(image, torch.float32)
    plain = functional.conv2d(image, conv[3].weight, padding=2)
    taken = (plain - kept).flatten(2)
    torch.testing.assert_close(taken, taken.mean(dim=2, keepdim=True).expand_as(taken), atol=1e-5, rtol=0)
    inner = kept[:, :, 2:-2, 2:-2]
    assert (inner.mean(dim=(2, 3)).abs() < 0.01 * plain.abs().max()).all()
    torch.testing.assert_close(pooled, functional.avg_pool2d(kept, 2))


def test_gradients_reach_every_weight():
    network = UNet()
    joined = network(torch.rand(1, 3, 32, 48))
    (network.logits(joined).sum() + network.descriptors(joined, torch.tensor([[3, 4], [47, 31]])).sum()).backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None]
    # An instance norm forgets the bias before it; the first one is not even computed.
    assert without == ["path_down.0.1.3.bias"]
