"""The deformable convolution against kornia's and, without displacements, against torch's own convolution."""

import pytest
import torch
from torch.nn import functional

from photoglue.extractors import deform_conv as module
from photoglue.extractors.deform_conv import DeformConv, bilinear_corners, deform_conv, linear, pointwise, weighted_rows

SIZES = [(1, 1, 1), (2, 1, 7), (1, 6, 1), (2, 5, 8), (1, 22, 32)]


def layers(batch: int, height: int, width: int, dtype=torch.float64):
    """Maps, a kernel and a bias: 3 channels in, 4 out."""
    maps = torch.randn(batch, 3, height, width, dtype=dtype)
    return maps, torch.randn(4, 3, 3, 3, dtype=dtype), torch.randn(4, dtype=dtype)


@pytest.mark.parametrize("spread", [0.3, 3.0, 40.0])
@pytest.mark.parametrize(("batch", "height", "width"), SIZES)
def test_equals_kornia(batch, height, width, spread):
    reference = pytest.importorskip("kornia.feature.aliked.deform_conv2d", exc_type=ImportError).deform_conv2d
    maps, weight, bias = layers(batch, height, width)
    offsets = spread * torch.randn(batch, 18, height, width, dtype=maps.dtype)
    wanted = reference(maps, offsets, weight, bias, padding=1)
    torch.testing.assert_close(deform_conv(maps, offsets, weight, bias), wanted, atol=1e-10, rtol=1e-10)
    last = maps.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(deform_conv(last, offsets, weight, bias), wanted, atol=1e-10, rtol=1e-10)


def test_equals_kornia_in_single_precision_at_aliked_s_size():
    reference = pytest.importorskip("kornia.feature.aliked.deform_conv2d", exc_type=ImportError).deform_conv2d
    maps, weight = torch.randn(1, 32, 44, 64), torch.randn(64, 32, 3, 3) / 17
    offsets = 2 * torch.randn(1, 18, 44, 64)
    wanted = reference(maps, offsets, weight, padding=1)
    torch.testing.assert_close(deform_conv(maps, offsets, weight), wanted, atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize(("batch", "height", "width"), SIZES)
def test_without_displacement_it_is_a_convolution(batch, height, width):
    maps, weight, bias = layers(batch, height, width)
    still = maps.new_zeros(batch, 18, height, width)
    wanted = functional.conv2d(maps, weight, bias, padding=1)
    torch.testing.assert_close(deform_conv(maps, still, weight, bias), wanted, atol=1e-12, rtol=1e-12)


def test_whole_displacements_move_the_map():
    """One pixel down and two to the right for all taps: the convolution of the map moved up and to the left."""
    maps, weight, _ = layers(1, 6, 9)
    offsets = torch.tensor([1.0, 2.0], dtype=maps.dtype).repeat(9)[None, :, None, None].expand(1, 18, 6, 9)
    # Zeros where it looks beyond the edge.
    wanted = functional.conv2d(functional.pad(maps, (1, 3, 1, 2))[:, :, 1:, 2:], weight)
    found = deform_conv(maps, offsets, weight)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)


def test_chunks_change_nothing(monkeypatch):
    maps, weight, bias = layers(2, 7, 9)
    offsets = torch.randn(2, 18, 7, 9, dtype=maps.dtype)
    whole = deform_conv(maps, offsets, weight, bias)
    monkeypatch.setattr(module, "BAGS_AT_ONCE", 50)
    torch.testing.assert_close(deform_conv(maps, offsets, weight, bias), whole, atol=1e-13, rtol=1e-13)


@pytest.mark.slow
def test_gradients():
    maps, weight, bias = (tensor.requires_grad_() for tensor in layers(2, 3, 4))
    # Between pixels: at whole pixels interpolation has a kink.
    offsets = (
        torch.rand(2, 18, 3, 4, dtype=maps.dtype) * 0.8 + 0.1 + torch.randint(-2, 2, (2, 18, 3, 4))
    ).requires_grad_()
    assert torch.autograd.gradcheck(deform_conv, (maps, offsets, weight, bias))


def test_the_layer_limits_its_offsets():
    """To a quarter of the longer side: 2 pixels here."""
    layer = DeformConv(3, 4).requires_grad_(False)
    maps = torch.randn(1, 3, 5, 8)
    torch.nn.init.constant_(layer.offset_conv.weight, 0)
    torch.nn.init.constant_(layer.offset_conv.bias, 100.0)
    wanted = deform_conv(maps, torch.full((1, 18, 5, 8), 2.0), layer.regular_conv.weight)
    torch.testing.assert_close(layer(maps), wanted)
    assert wanted.abs().max() > 0


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5), (6, 1), (7, 4)])
def test_corners_interpolate_like_grid_sample(width, height):
    maps = torch.randn(1, 2, height, width, dtype=torch.float64)
    x = torch.rand(50, dtype=torch.float64) * (width - 1)
    y = torch.rand(50, dtype=torch.float64) * (height - 1)
    x[0], y[0] = width - 1, height - 1
    corners, shares = bilinear_corners(x, y, width, height)
    assert corners.min() >= 0
    assert corners.max() < width * height
    found = weighted_rows(maps[0].flatten(1).T, corners, shares)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=1)[None, None]
    wanted = functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)[0, :, 0].T
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)


def test_corners_of_a_map_with_more_pixels_than_single_precision_counts():
    width, height = 5001, 5003
    x, y = torch.tensor([4999.25]), torch.tensor([5001.5])
    corners, shares = bilinear_corners(x, y, width, height)
    assert corners.tolist() == [[5001 * width + 4999, 5001 * width + 5000, 5002 * width + 4999, 5002 * width + 5000]]
    assert shares.tolist() == [[0.375, 0.125, 0.375, 0.125]]


def test_products_equal_torch_s():
    rows, weight, bias = torch.randn(37, 24), torch.randn(16, 24), torch.randn(16)
    torch.testing.assert_close(linear(rows, weight, bias), functional.linear(rows, weight, bias), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(linear(rows, weight), rows @ weight.T, atol=1e-5, rtol=1e-5)
    maps = torch.randn(2, 24, 5, 7)
    wanted = functional.conv2d(maps, weight[:, :, None, None], bias)
    torch.testing.assert_close(pointwise(maps, weight[:, :, None, None], bias), wanted, atol=1e-5, rtol=1e-5)
