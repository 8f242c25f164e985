"""Products and attention on CPUs."""

import pytest
import torch
from torch.nn import functional

from photoglue.matchers.lightglue.engine import kernels
from photoglue.matchers.lightglue.packing import Segments


@pytest.mark.parametrize("lengths", [(70, 33), (64, 128), (5, 600, 1, 64)])
@pytest.mark.parametrize("cross", [False, True])
def test_attention_in_blocks_takes_nothing_from_rows_to_spare(lengths, cross):
    if not kernels._ONE_DNN:
        pytest.skip("no oneDNN")
    segments = Segments(lengths)
    tokens = segments.total
    q, k, v = torch.randn(3, 2, tokens, 16)
    wanted = kernels.attend_in_blocks(q, k, v, segments, cross=cross)
    q, k, v = (functional.pad(x, (0, 0, 0, kernels.STEP), value=torch.nan) for x in (q, k, v))
    found = kernels.attend_in_blocks(q, k, v[:, : tokens + 20], segments, cross=cross)
    assert torch.equal(found[:tokens], wanted)
    assert torch.equal(found[tokens:], torch.zeros(20, 32))


def test_attention_in_blocks_of_too_many_points(monkeypatch):
    """So many that not one row of them fits into a block."""
    q, k, v = torch.randn(3, 2, 230, 16)
    wanted = kernels.attend_in_blocks(q, k, v, Segments((30, 200)), cross=True)
    monkeypatch.setattr(kernels, "BLOCK_ELEMENTS", 1)
    found = kernels.attend_in_blocks(q, k, v, Segments((30, 200)), cross=True)
    torch.testing.assert_close(found, wanted)


def test_bf16_where_one_dnn_has_none(monkeypatch):
    """Processors without AVX-512: slow, but what was asked for."""
    monkeypatch.setattr(kernels, "_ONE_DNN_TYPES", {torch.float32})
    monkeypatch.delattr(torch.ops.mkldnn, "_linear_pointwise", raising=False)
    x, weight, bias = torch.randn(5, 8).bfloat16(), torch.randn(4, 8).bfloat16(), torch.randn(4).bfloat16()
    assert torch.equal(kernels.linear(x, weight, bias), functional.linear(x, weight, bias))


def test_projections_of_the_network():
    """In training, and in the validation of a training in half precision, they are torch's own."""
    layer = torch.nn.Linear(64, 32)
    x = torch.randn(7, 64)
    assert kernels.project(layer, x).requires_grad
    with torch.no_grad():
        torch.testing.assert_close(kernels.project(layer, x), layer(x))
        with torch.autocast("cpu", torch.bfloat16):
            for mixed in (x, x.bfloat16()):
                found = kernels.project(layer, mixed)
                assert found.dtype == torch.bfloat16
                assert torch.equal(found, layer(mixed))
