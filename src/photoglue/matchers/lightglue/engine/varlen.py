"""Attention on CUDA for packed sequences of any lengths: torch's variable-length flash kernel, where it works.

It has not run on a GPU of ours yet. So the first use on a device is a rehearsal against plain attention; where it fails
or disagrees, a notice says so and attention goes image by image.
"""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor
from torch.nn import functional

from photoglue.errors import PhotoGlueWarning
from photoglue.matchers.lightglue.packing import Segments, uploaded


@lru_cache(maxsize=1)
def kernel() -> Callable[..., Any] | None:
    """The variable-length attention of torch, which has it since 2.10; None before that.

    Imported at first use: it brings torch's compiler with it, which would double the time of ``import photoglue``.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if {"scale", "num_splits"} <= set(inspect.signature(varlen_attn).parameters) else None


@dataclass(frozen=True)
class Layout:
    """Where each image's tokens lie, on the device, as the kernel reads it.

    Tokens may come after the last image's that belong to none: the kernel neither reads nor writes them.
    """

    offsets: Int32[Tensor, " o"]
    """First token of each image, and the end of the last one."""
    swapped: Int32[Tensor, " o"]
    """First token of each image if the images of each pair are swapped, and the end of the last one."""
    rows: Int64[Tensor, " t"]
    """The tokens in the order of swapped images."""
    longest: int
    """No image has more tokens."""


def packs_attention(values: Tensor) -> bool:
    """Whether ``attend_packed`` can be used for these values."""
    return (
        values.device.type == "cuda"
        and values.dtype in (torch.float16, torch.bfloat16)
        and kernel() is not None
        and _rehearsed(values.device, values.dtype, values.shape[-1])
    )


def attend_packed(
    q: Float[Tensor, "t h e"],
    k: Float[Tensor, "t h e"],
    v: Float[Tensor, "t h e"],
    segments: Segments | Layout,
    scale: float,
    *,
    cross: bool,
) -> Float[Tensor, "t h e"]:
    """Softmax attention inside segments, all in one call; a pair gets the same alone and in any company."""
    packed = kernel()
    assert packed is not None
    if isinstance(segments, Layout):
        layout = segments
    else:
        stream = torch.cuda.current_stream(q.device).cuda_stream if q.is_cuda else 0
        layout = _layout(segments, q.device, stream)
    if cross:
        k, v = k[layout.rows], v[layout.rows]
    message: Tensor = packed(
        q.contiguous(),
        k.contiguous(),
        v.contiguous(),
        layout.offsets,
        layout.swapped if cross else layout.offsets,
        layout.longest,
        layout.longest,
        scale=scale,
        num_splits=1,
    )
    return message


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # training may need these tensors after inference made them
def _layout(segments: Segments, device: torch.device, stream: int = 0) -> Layout:  # noqa: ARG001 (of the cache's key)
    """The layout of segments, which all layers on a stream share; on another one its numbers may not have arrived."""
    lengths = segments.lengths
    turned = Segments(tuple(lengths[i ^ 1] for i in range(len(lengths))))
    offsets, swapped = uploaded([segments.offsets, turned.offsets], torch.int32, device).unbind()
    # An image's tokens move together, by as much as its first one does.
    shift = offsets[:-1].view(-1, 2).flip(1).flatten() - swapped[:-1]
    shifts = shift.repeat_interleave(swapped.diff(), output_size=segments.total)
    return Layout(offsets, swapped, torch.arange(segments.total, device=device) + shifts, max(lengths))


@lru_cache(maxsize=8)
def _rehearsed(device: torch.device, dtype: torch.dtype, channels: int) -> bool:
    """Whether the kernel gives what plain attention gives, for two small pairs; a notice says why not."""
    segments = Segments((5, 3, 2, 4))
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(14, 2, channels, generator=generator).to(device, dtype) for _ in range(3))
    try:
        for cross in (False, True):
            message = attend_packed(q, k, v, segments, channels**-0.5, cross=cross)
            for own, other in zip(segments.slices(), segments.partners() if cross else segments.slices(), strict=True):
                one_q, one_k, one_v = (x.transpose(0, 1)[None] for x in (q[own], k[other], v[other]))
                expected = functional.scaled_dot_product_attention(one_q, one_k, one_v)[0].transpose(0, 1)
                if not torch.allclose(message[own].float(), expected.float(), atol=0.05, rtol=0.05):
                    raise RuntimeError("its results differ from plain attention")
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        warnings.warn(
            f"Variable-length attention does not work on {device} in {dtype} ({first_line(error)}); attention goes "
            "image by image, which is slower for batches.",
            PhotoGlueWarning,
            stacklevel=2,
        )
        return False
    return True


def first_line(error: Exception) -> str:
    """The first line of an error's message; the name of its type if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
