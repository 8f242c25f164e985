"""Each native kernel against torch, and the same result with any number of threads."""

import math

import pytest
import torch
from instruction_sets import chosen
from torch.nn import functional

from photoglue.extractors.deform_conv import deform_conv
from photoglue.extractors.keypoints import iterated_maxima
from photoglue.native import extract as native

pytestmark = pytest.mark.skipif(not native.has_kernels(), reason="the native library was not built")


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(params=[b"amx-int8", b"avx512-vnni", b"avx2"])
def instructions(request):
    """Has kernels use an instruction set: of vectors of 16 numbers, but for the last."""
    with chosen(request.param):
        yield request.param


def rows(*shape: int) -> torch.Tensor:
    """A random map with its channels side by side."""
    return torch.randn(1, *shape).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (32, 48), (128, 144), (8, 8), (8, 16), (16, 8)])
@pytest.mark.parametrize(("height", "width"), [(8, 16), (7, 9), (1, 1), (2, 130)])
@pytest.mark.parametrize("halved", [0, 1])
def test_convolution(inputs, outputs, height, width, halved, threads):
    maps, weight, bias = (
        rows(inputs, height, width),
        torch.randn(outputs, inputs, 3, 3) / inputs**0.5,
        torch.randn(outputs),
    )
    wanted = functional.relu(functional.conv2d(maps, weight, bias, padding=1))
    if halved:
        wanted = functional.max_pool2d(wanted, 2) if min(height, width) > 1 else wanted[:, :, :0, :0]
    result = rows(outputs, max(height // 2, 1) if halved else height, max(width // 2, 1) if halved else width)
    sizes = {"height": height, "width": width, "inputs": inputs, "outputs": outputs}
    native.run(native.Conv, maps=maps, weights=native.packed(weight), bias=bias, result=result, halved=halved, **sizes)
    found = result[:, :, : wanted.shape[2], : wanted.shape[3]]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("inputs", "outputs"), [(48, 80), (8, 16), (16, 8)])
@pytest.mark.parametrize("count", [1, 5, 48, 99])
@pytest.mark.parametrize("gated", [False, True])
def test_pointwise(inputs, outputs, count, gated, threads):
    maps, weight, bias = rows(inputs, 1, count), torch.randn(outputs, inputs, 1, 1), torch.randn(outputs)
    wanted = functional.conv2d(maps, weight, bias)
    found = native.pointwise(maps, native.packed(weight), bias, outputs, gated=gated)
    torch.testing.assert_close(found, functional.selu(wanted) if gated else wanted, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "values", [torch.linspace(-90, 5, 40_000), torch.linspace(-1, 1, 40_000), torch.tensor([0.0] * 8)]
)
def test_gate(values, instructions):
    """To some units in the last place of what is near 1, also where the exponential is as good as 0."""
    one = torch.zeros(16, 8, 1, 1)
    one[:, 0] = 1
    maps = rows(8, 1, len(values)).zero_()
    maps[0, 0, 0] = values
    found = native.pointwise(maps, native.packed(one), None, 16, gated=True)
    wanted = functional.selu(values.double()).float()
    torch.testing.assert_close(found[0, 5, 0], wanted, atol=4e-7, rtol=2e-7)


@pytest.mark.parametrize("channels", [8, 16])
@pytest.mark.parametrize(("image_size", "corner", "size"), [((3, 5), (9, 1), (20, 8)), ((35, 4), (0, 0), (36, 4))])
def test_first_block(channels, image_size, corner, size, threads, instructions):
    """Of few pixels in much padding, and of an odd number of tiles side by side."""
    image = torch.rand(3, image_size[1], image_size[0])
    weights = [torch.randn(channels, count, 3, 3) / (3 * count**0.5) for count in (3, channels)]
    biases = [torch.randn(channels) for _ in weights]
    sides = (corner[0], size[0] - image_size[0] - corner[0], corner[1], size[1] - image_size[1] - corner[1])
    wanted = functional.pad(image[None], sides, mode="replicate")
    for weight, bias in zip(weights, biases, strict=True):
        wanted = functional.selu(functional.conv2d(wanted, weight, bias, padding=1))
    fine, halved = rows(channels, size[1], size[0]), rows(channels, size[1] // 2, size[0] // 2)
    native.run(
        native.FirstBlock,
        planes=tuple(image),
        weights1=weights[0].permute(1, 2, 3, 0).contiguous(),
        bias1=biases[0],
        weights2=native.packed(weights[1]),
        bias2=biases[1],
        fine=fine,
        halved=halved,
        height=size[1],
        width=size[0],
        channels=channels,
        corner=corner,
        image_size=image_size,
    )
    torch.testing.assert_close(fine, wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(halved, functional.avg_pool2d(wanted, 2), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(12, 20), (5, 7), (1, 3)])
@pytest.mark.parametrize("strength", [0.3, 8.0])
def test_deformable_convolution(height, width, strength, threads):
    maps, weight, bias = rows(32, height, width), torch.randn(64, 32, 3, 3) / 17, torch.randn(64)
    offsets, moves = strength * torch.randn(18, 32, 3, 3) / 17, torch.randn(18)
    add, result, limit = rows(64, height, width), rows(64, height, width), max(height, width) / 4
    displaced = functional.conv2d(maps, offsets, moves, padding=1).clamp(-limit, limit)
    wanted = functional.selu(deform_conv(maps, displaced, weight, bias) + add)
    native.run(
        native.Deform,
        maps=maps,
        offset_weights=native.packed(offsets),
        offset_bias=native.padded(moves),
        weights=native.packed_taps(weight),
        bias=bias,
        add=add,
        result=result,
        height=height,
        width=width,
        inputs=32,
        outputs=64,
    )
    torch.testing.assert_close(result, wanted, atol=2e-3, rtol=1e-3)
    assert (result - wanted).abs().mean() < 1e-5


@pytest.mark.parametrize("size", [(70, 90), (1, 5), (33, 16), (200, 3)])
@pytest.mark.parametrize(("radius", "rounds"), [(2, 2), (3, 1), (1, 0), (0, 2), (20, 1)])
@pytest.mark.parametrize("threshold", [-math.inf, 0.0, 0.9])
def test_maxima_with_many_equal_scores(size, radius, rounds, threshold, threads, monkeypatch):
    scores = (torch.rand(size) * 30).round() / 30
    found = iterated_maxima(scores[None], radius, rounds, threshold)
    monkeypatch.setattr(native, "has_kernels", lambda: False)
    assert torch.equal(found, iterated_maxima(scores[None], radius, rounds, threshold))


def test_what_is_not_above_the_threshold_is_looked_at_by_nobody():
    scores = torch.rand(1, 60, 50)
    assert torch.equal(iterated_maxima(scores, 2, 2, 0.8), iterated_maxima(scores, 2, 2) & (scores > 0.8))


@pytest.mark.parametrize("doubled", [0, 1])
def test_moments(doubled, threads):
    maps = rows(48, 6, 10) + 3
    whole = functional.interpolate(maps, scale_factor=2, mode="bilinear") if doubled else maps
    result = torch.empty(whole.shape[2], 2, 48)
    native.run(native.Moments, maps=maps, result=result, height=6, width=10, channels=48, doubled=doubled)
    torch.testing.assert_close(result[:, 0], whole[0].mean(dim=2).T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(result[:, 1], whole[0].var(dim=2, correction=0).T, atol=1e-5, rtol=1e-4)


def test_unfit_tensors_are_refused():
    assert native.usable(torch.zeros(2))
    assert not native.usable(torch.zeros(2, dtype=torch.float64))
    assert not native.usable(torch.zeros(2, device="meta"))
    assert not native.usable(torch.zeros(2, requires_grad=True))
    with torch.no_grad():
        assert native.usable(torch.zeros(2, requires_grad=True))
