import math

import pytest
import torch
from torch.nn import functional

from photoglue.matchers.lightglue.attention import attend
from photoglue.matchers.lightglue.engine import kernels
from photoglue.matchers.lightglue.engine.blocks_grad import attend_with_gradients, trains_in_blocks
from photoglue.matchers.lightglue.packing import Segments

one_dnn = pytest.mark.skipif(not kernels._ONE_DNN, reason="torch was built without oneDNN")


def inputs(batch, heads, n, m, channels, scale=1.0):
    rng = torch.Generator().manual_seed(n)
    q = torch.randn(batch, heads, n, channels, generator=rng) * scale
    k, v = (torch.randn(batch, heads, m, channels, generator=rng) for _ in range(2))
    return [x.requires_grad_(True) for x in (q, k * scale, v)]


def value_and_gradients(function, tensors, direction):
    tensors = [x.detach().clone().requires_grad_(True) for x in tensors]
    message = function(*tensors)
    (message * direction.to(message.dtype)).sum().backward()
    return [message.detach(), *(x.grad for x in tensors)]


def attended(q, k, v):
    return attend_with_gradients(q, k, v, q.shape[-1] ** -0.5)


def relative(found, wanted):
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


@one_dnn
@pytest.mark.parametrize(("n", "m", "scale"), [(1, 1, 1.0), (5, 33, 1.0), (300, 200, 1.0), (64, 64, 4.0)])
def test_message_and_gradients_are_those_of_double_precision(n, m, scale):
    tensors = inputs(2, 2, n, m, 16, scale)
    direction = torch.randn(2, 2, n, 16, generator=torch.Generator().manual_seed(9))
    found = value_and_gradients(attended, tensors, direction)
    wanted = value_and_gradients(
        functional.scaled_dot_product_attention, [x.detach().double() for x in tensors], direction.double()
    )
    for name, ours, exact in zip(("message", "q", "k", "v"), found, wanted, strict=True):
        if exact.norm() < 1e-9:  # one key: nothing depends on the similarity
            assert ours.float().norm() < 1e-2, name
        else:
            assert relative(ours, exact) < 0.02, name  # bf16 has 8 bits


@one_dnn
def test_blocks_of_rows_change_nothing(monkeypatch):
    tensors = inputs(1, 2, 200, 100, 16)
    direction = torch.ones(1, 2, 200, 16)
    whole = value_and_gradients(attended, tensors, direction)
    monkeypatch.setattr("photoglue.matchers.lightglue.engine.blocks_grad.BLOCK_ELEMENTS", 64 * 100)
    parts = value_and_gradients(attended, tensors, direction)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a.float(), b.float(), atol=0.02, rtol=0.02)


@one_dnn
def test_similarity_is_not_rounded_to_bf16():
    """Two keys whose similarities, 300.0 and 300.9, are the same number in bf16."""
    q = torch.full((1, 1, 1, 16), 1.0)
    k = torch.stack([torch.full((16,), 75.0), torch.full((16,), 75.225)])[None, None]
    v = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat_interleave(8, dim=1)[None, None]
    with torch.enable_grad():
        message = attended(q, k, v)
    assert message[0, 0, 0, -1].item() == pytest.approx(1 / (1 + math.exp(-0.9)), abs=0.01)


@one_dnn
@pytest.mark.parametrize("lengths", [(40, 40, 40, 40), (40, 30, 7, 9)])
@pytest.mark.parametrize("cross", [False, True])
def test_attend_uses_it_under_autocast_only(lengths, cross, monkeypatch):
    monkeypatch.setattr(kernels, "_AMX", False)
    total = sum(lengths)
    q, k, v = (torch.randn(2, total, 16, requires_grad=True) for _ in range(3))
    segments = Segments(lengths)
    exact = attend(q, k, v, segments, cross=cross)
    assert not trains_in_blocks(v)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert trains_in_blocks(v)
        half = attend(q, k, v, segments, cross=cross)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, atol=0.03, rtol=0.03)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert not trains_in_blocks(v)
