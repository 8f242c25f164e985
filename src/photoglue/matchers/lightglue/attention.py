"""Attention inside segments: the only part of the network that knows that the tokens belong to images."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from photoglue.matchers.lightglue.engine.blocks_grad import attend_in_blocks, trains_in_blocks
from photoglue.matchers.lightglue.engine.varlen import attend_packed, packs_attention
from photoglue.matchers.lightglue.packing import Segments


def attend(
    q: Float[Tensor, "t h e"], k: Float[Tensor, "t h e"], v: Float[Tensor, "t h e"], segments: Segments, *, cross: bool
) -> Float[Tensor, "t h e"]:
    """Softmax attention of each image's tokens to those of the same image or, if ``cross``, of its partner.

    No segment may be empty. The similarity matrix is not kept: the kernel works through it in blocks.
    """
    if segments.equal:
        return _attend_equal(q, k, v, len(segments.lengths), cross)
    if packs_attention(v):
        return attend_packed(q.to(v.dtype), k.to(v.dtype), v, segments, q.shape[-1] ** -0.5, cross=cross)
    parts = [
        _attend_equal(q[own], k[other], v[other], 1, cross=False)
        for own, other in zip(segments.slices(), _partners(segments.slices(), cross), strict=True)
    ]
    return torch.cat(parts)


def _attend_equal(q: Tensor, k: Tensor, v: Tensor, images: int, cross: bool) -> Tensor:
    """The same for ``images`` segments of one length, in one call."""
    # The fast kernels read (batch, heads, tokens, channels) through strides, as long as channels are contiguous.
    q, k, v = (x.view(images, -1, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))
    if cross:
        # Partners are neighbours. The gradient of an index would be a slow scatter; that of a flip is a flip.
        k, v = (x.view(images // 2, 2, *x.shape[1:]).flip(1).flatten(0, 1) for x in (k, v))
    kernel = attend_in_blocks if trains_in_blocks(v) else functional.scaled_dot_product_attention
    message = kernel(q, k, v)
    return message.transpose(1, 2).flatten(0, 1)


def _partners(slices: list[slice], cross: bool) -> list[slice]:
    return [slices[i ^ 1] for i in range(len(slices))] if cross else slices
