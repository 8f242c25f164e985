"""Attention on CUDA for packed sequences of any lengths: torch's variable-length flash kernel, where it works.

It has not run on a GPU of ours yet. So the first use on a device is a rehearsal against plain attention; where it fails
or disagrees, a notice says so and attention goes image by image.
"""

import inspect
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from photoglue.errors import PhotoGlueWarning
from photoglue.matchers.lightglue.packing import Segments


def _varlen_kernel() -> Callable[..., Any] | None:
    """Since torch 2.10; None before."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if {"scale", "num_splits"} <= set(inspect.signature(varlen_attn).parameters) else None


KERNEL = _varlen_kernel()


def packs_attention(values: Tensor) -> bool:
    """Whether ``attend_packed`` can be used for these values."""
    return (
        KERNEL is not None
        and values.device.type == "cuda"
        and values.dtype in (torch.float16, torch.bfloat16)
        and _rehearsed(values.device, values.dtype, values.shape[-1])
    )


def attend_packed(
    q: Float[Tensor, "t h e"],
    k: Float[Tensor, "t h e"],
    v: Float[Tensor, "t h e"],
    segments: Segments,
    scale: float,
    *,
    cross: bool,
) -> Float[Tensor, "t h e"]:
    """Softmax attention inside segments, all in one call; a pair gets the same alone and in any company."""
    assert KERNEL is not None
    offsets, swapped, rows = _layout(segments, q.device)
    if cross:
        k, v = k[rows], v[rows]
    longest = max(segments.lengths)
    message: Tensor = KERNEL(
        q.contiguous(),
        k.contiguous(),
        v.contiguous(),
        offsets,
        swapped if cross else offsets,
        longest,
        longest,
        scale=scale,
        num_splits=1,
    )
    return message


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # training may need these tensors after inference made them
def _layout(segments: Segments, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(offsets, offsets with each pair's images swapped, rows in that order); all layers share them."""
    partners = [i ^ 1 for i in range(len(segments.lengths))]
    turned = Segments(tuple(segments.lengths[i] for i in partners))
    slices = segments.slices()
    rows = torch.cat([torch.arange(slices[i].start, slices[i].stop) for i in partners])
    offsets, swapped = (torch.tensor(s.offsets, dtype=torch.int32) for s in (segments, turned))
    return offsets.to(device), swapped.to(device), rows.to(device)


@lru_cache(maxsize=8)
def _rehearsed(device: torch.device, dtype: torch.dtype, channels: int) -> bool:
    """Whether the kernel gives what plain attention gives, for two small pairs."""
    segments = Segments((5, 3, 2, 4))
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(14, 2, channels, generator=generator).to(device, dtype) for _ in range(3))
    try:
        for cross in (False, True):
            found = attend_packed(q, k, v, segments, channels**-0.5, cross=cross)
            wanted = attend_one_by_one(q, k, v, segments, channels**-0.5, cross=cross)
            if not torch.allclose(found.float(), wanted.float(), atol=0.05, rtol=0.05):
                raise RuntimeError("its results differ from plain attention")
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        warnings.warn(
            f"Variable-length attention does not work on {device} in {dtype} ({reason}); attention goes image by "
            "image, which is slower for batches.",
            PhotoGlueWarning,
            stacklevel=2,
        )
        return False
    return True


def attend_one_by_one(
    q: Float[Tensor, "t h e"],
    k: Float[Tensor, "t h e"],
    v: Float[Tensor, "t h e"],
    segments: Segments,
    scale: float,
    *,
    cross: bool,
) -> Float[Tensor, "t h e"]:
    """The same, image by image, by torch's attention."""
    slices = segments.slices()
    parts = []
    for i, own in enumerate(slices):
        other = slices[i ^ 1] if cross else own
        query, key, value = (x[rows].transpose(0, 1)[None] for x, rows in ((q, own), (k, other), (v, other)))
        message = functional.scaled_dot_product_attention(query, key, value, scale=scale)
        parts.append(message[0].transpose(0, 1))
    return torch.cat(parts)
