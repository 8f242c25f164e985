"""The CUDA kernel itself needs a GPU; a stand-in that follows its documentation shows that it is asked rightly."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from photoglue.errors import PhotoGlueWarning
from photoglue.matchers.lightglue.attention import attend
from photoglue.matchers.lightglue.engine import varlen
from photoglue.matchers.lightglue.packing import Segments


def documented_kernel(query, key, value, cu_seq_q, cu_seq_k, *longest, scale, num_splits):
    assert all(x.is_contiguous() for x in (query, key, value))
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    max_q, max_k = longest
    assert num_splits == 1  # or company would change results
    out = torch.empty_like(query)
    for (q0, q1), (k0, k1) in zip(cu_seq_q.unfold(0, 2, 1).tolist(), cu_seq_k.unfold(0, 2, 1).tolist(), strict=True):
        assert q1 - q0 <= max_q
        assert k1 - k0 <= max_k
        q, k, v = (x.transpose(0, 1) for x in (query[q0:q1], key[k0:k1], value[k0:k1]))
        out[q0:q1] = functional.scaled_dot_product_attention(q, k, v, scale=scale).transpose(0, 1)
    return out


@pytest.fixture(autouse=True)
def _forget():
    yield
    varlen._rehearsed.cache_clear()


@pytest.mark.parametrize("lengths", [(4, 4), (5, 3), (7, 1, 2, 9), (1, 6, 6, 1)])
@pytest.mark.parametrize("cross", [False, True])
def test_packed_equals_image_by_image(lengths, cross, monkeypatch):
    monkeypatch.setattr(varlen, "kernel", lambda: documented_kernel)
    q, k, v = (torch.randn(sum(lengths), 2, 8) for _ in range(3))
    packed = varlen.attend_packed(q, k, v, Segments(lengths), 8**-0.5, cross=cross).flatten(1)
    one_by_one = attend(*(x.transpose(0, 1) for x in (q, k, v)), Segments(lengths), cross=cross)
    torch.testing.assert_close(packed, one_by_one)


def test_what_inference_made_can_be_trained_with(monkeypatch):
    monkeypatch.setattr(varlen, "kernel", lambda: documented_kernel)
    varlen._layout.cache_clear()
    segments = Segments((3, 2))
    with torch.inference_mode():
        varlen.attend_packed(*(torch.randn(5, 1, 4) for _ in range(3)), segments, 1.0, cross=True)
    k = torch.randn(5, 1, 4, requires_grad=True)
    varlen.attend_packed(torch.randn(5, 1, 4), k, k, segments, 1.0, cross=True).sum().backward()
    assert k.grad is not None


def test_a_kernel_that_works_passes_the_rehearsal(monkeypatch):
    monkeypatch.setattr(varlen, "kernel", lambda: documented_kernel)
    assert varlen._rehearsed(torch.device("cpu"), torch.bfloat16, 64)


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (lambda q, *_, **__: q * 0 + 1, "differ"),
        (lambda *_, **__: (_ for _ in ()).throw(RuntimeError("FlashAttention only supports Ampere")), "Ampere"),
    ],
)
def test_one_that_does_not_is_left_alone_and_says_why(kernel, reason, monkeypatch):
    monkeypatch.setattr(varlen, "kernel", lambda: kernel)
    with pytest.warns(PhotoGlueWarning, match=reason):
        assert not varlen._rehearsed(torch.device("cpu"), torch.float16, 64)


def test_never_on_a_cpu():
    assert not varlen.packs_attention(torch.zeros(1, 1, 8, dtype=torch.bfloat16))


@pytest.mark.slow
def test_importing_the_package_does_not_load_torchs_compiler():
    """It comes with the kernel, and takes as long as all the rest."""
    program = "import photoglue, sys; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
