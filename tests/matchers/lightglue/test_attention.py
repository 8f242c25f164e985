"""One function chooses the kernel; whichever it is, the message is that of the formula."""

import pytest
import torch
from torch.nn import functional

from photoglue.matchers.lightglue.attention import attend
from photoglue.matchers.lightglue.engine import kernels
from photoglue.matchers.lightglue.packing import Segments


@pytest.mark.parametrize("lengths", [(4, 4, 4, 4), (3, 5, 1, 2)])
@pytest.mark.parametrize("cross", [False, True])
def test_against_the_formula(lengths, cross):
    segments = Segments(lengths)
    q, k, v = torch.randn(3, 2, segments.total, 8, dtype=torch.float64)
    found = attend(q, k, v, segments, cross=cross).unflatten(1, (2, 8))
    for i, rows in enumerate(segments.slices()):
        others = segments.slices()[i ^ 1 if cross else i]
        for head in range(2):
            weights = (q[head, rows] @ k[head, others].T / 8**0.5).softmax(dim=1)
            torch.testing.assert_close(found[rows, head], weights @ v[head, others])


@pytest.mark.parametrize("kernel", ["blocks", "plain"])
@pytest.mark.parametrize("lengths", [(300, 513), (256, 256), (3, 1, 9, 4), (5, 5, 5, 5)])
@pytest.mark.parametrize("cross", [False, True])
def test_to_the_base_2_against_the_formula(monkeypatch, kernel, lengths, cross):
    """Both kernels, whatever this machine would choose; logits of many hundred neither overflow nor vanish."""
    if kernel == "blocks" and not kernels._ONE_DNN:
        pytest.skip("no oneDNN")
    monkeypatch.setattr(kernels, "attends_in_blocks", lambda *_: kernel == "blocks")
    segments = Segments(lengths)
    for size in (1, 40):
        q, k, v = torch.randn(3, 2, segments.total, 16)
        q *= size
        found = attend(q, k, v, segments, cross=cross, base2=True).unflatten(1, (2, 16))
        for i, rows in enumerate(segments.slices()):
            others = segments.slices()[i ^ 1 if cross else i]
            for head in range(2):
                logits = q[head, rows].double() @ k[head, others].double().T / kernels.LOG2_E
                wanted = logits.softmax(dim=1) @ v[head, others].double()
                torch.testing.assert_close(found[rows, head].double(), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("lengths", [(5, 5), (4, 6)])
def test_rows_to_spare_come_out_as_zeros(monkeypatch, lengths):
    monkeypatch.setattr(kernels, "attends_in_blocks", lambda *_: False)
    q, k, v = torch.randn(3, 2, 10, 8)
    wanted = attend(q, k, v, Segments(lengths), cross=True)
    q, k, v = (functional.pad(x, (0, 0, 0, 3), value=torch.nan) for x in (q, k, v))
    found = attend(q, k, v, Segments(lengths), cross=True)
    assert torch.equal(found[:10], wanted)
    assert torch.equal(found[10:], torch.zeros(3, 16))


def test_partners_trade_keys_and_values():
    """Value and gradients are exactly those of an index that swaps the images of each pair."""
    chance = torch.Generator().manual_seed(0)
    tensors = [torch.randn(2, 6 * 5, 16, generator=chance, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    direction = torch.randn(6 * 5, 32, generator=chance, dtype=torch.float64)
    found = attend(*tensors, Segments((5,) * 6), cross=True)
    q, k, v = (x.view(2, 6, 5, 16).transpose(0, 1) for x in tensors)
    partner = torch.tensor([1, 0, 3, 2, 5, 4])
    wanted = functional.scaled_dot_product_attention(q, k[partner], v[partner]).transpose(1, 2).reshape(30, 32)
    assert torch.equal(found, wanted)
    for one, other in zip(
        *(torch.autograd.grad((message * direction).sum(), tensors) for message in (found, wanted)), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [(64, 64, 64, 64), (30, 70)])
@pytest.mark.parametrize("cross", [False, True])
def test_torch_takes_its_flash_kernel(monkeypatch, dtype, lengths, cross):
    """torch falls back silently if a layout does not suit it; those of the plain layers and of the folded ones do."""
    monkeypatch.setattr(kernels, "attends_in_blocks", lambda *_: False)
    segments = Segments(lengths)
    heads_first = torch.randn(3, 4, segments.total, 64).to(dtype)
    tokens_first = heads_first.transpose(1, 2).contiguous()
    with torch.no_grad(), torch.profiler.profile() as profile:
        attend(*heads_first, segments, cross=cross, base2=True)
        attend(*tokens_first.transpose(1, 2), segments, cross=cross)
    calls = {event.key: event.count for event in profile.key_averages()}
    assert calls["aten::_scaled_dot_product_flash_attention_for_cpu"] == 2 * (1 if segments.equal else len(lengths))
    assert "aten::_scaled_dot_product_attention_math" not in calls
