"""Attention inside segments: the only part of the network that knows that the tokens belong to images."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from photoglue.matchers.lightglue.engine import kernels
from photoglue.matchers.lightglue.engine.blocks_grad import attend_with_gradients, trains_in_blocks
from photoglue.matchers.lightglue.engine.varlen import Layout, attend_packed, packs_attention
from photoglue.matchers.lightglue.packing import Segments


def attend(
    q: Float[Tensor, "h s e"],
    k: Float[Tensor, "h s e"],
    v: Float[Tensor, "h t e"],
    segments: Segments | Layout,
    *,
    cross: bool,
    base2: bool = False,
) -> Float[Tensor, "t d"]:
    """Softmax attention of each image's tokens to those of the same image or of its partner, by the kernel that fits.

    Images of one length are one call. Others are one call of the variable-length kernel on CUDA, else one call each.
    Folded layers on most CPUs are done in blocks, see `engine/kernels.py`. No kernel keeps the similarity matrix.

    Args:
        q: Queries of the whole pack, heads first. All three may have rows after the last token, with anything in them.
        k: Keys.
        v: Values.
        segments: Where each image's tokens lie; none is empty. A layout, which only the device knows, is for the
            variable-length kernel.
        cross: Whether each image attends to its partner, or to itself.
        base2: Whether the caller has multiplied q·k by log2(e) / √e, as folded layers do, so that softmax is to the
            base 2; else q·k is divided by √e here. Where ``kernels.attends_in_blocks``, such queries and keys are fp32,
            whatever the values are.

    Returns:
        The message to each token, its heads side by side; zeros after the last token, unless it is a layout.
    """
    scale = 1 / kernels.LOG2_E if base2 else q.shape[-1] ** -0.5
    if isinstance(segments, Layout):
        return _attend_ragged(q, k, v, segments, cross, scale)
    if base2 and kernels.attends_in_blocks(v.device, v.dtype):
        return kernels.attend_in_blocks(q, k, v, segments, cross=cross)
    tokens, spare = segments.total, v.shape[1] - segments.total
    if spare:
        q, k, v = (x[:, :tokens] for x in (q, k, v))
    if segments.equal:
        message = _attend_equal(q, k, v, len(segments.lengths), cross, scale)
    elif packs_attention(v):
        message = _attend_ragged(q, k, v, segments, cross, scale)
    else:
        pairs = zip(segments.slices(), segments.partners() if cross else segments.slices(), strict=True)
        parts = [
            _attend_equal(q[:, own], k[:, other], v[:, other], 1, cross=False, scale=scale) for own, other in pairs
        ]
        message = torch.cat(parts)
    return functional.pad(message, (0, 0, 0, spare)) if spare else message


def _attend_equal(q: Tensor, k: Tensor, v: Tensor, images: int, cross: bool, scale: float) -> Tensor:
    """The message for so many images of one length, in one call."""
    # The fast kernels read (batch, heads, tokens, channels) through strides, as long as channels are contiguous.
    q, k, v = (x.view(len(x), images, -1, x.shape[-1]).transpose(0, 1) for x in (q, k, v))
    if cross:
        # Partners are neighbours. The gradient of an index would be a slow scatter; that of a flip is a flip.
        k, v = (x.view(images // 2, 2, *x.shape[1:]).flip(1).flatten(0, 1) for x in (k, v))
    if trains_in_blocks(v):
        message = attend_with_gradients(q, k, v, scale)
    else:
        message = functional.scaled_dot_product_attention(q, k, v, scale=scale)
    return message.transpose(1, 2).flatten(0, 1).flatten(1)


def _attend_ragged(q: Tensor, k: Tensor, v: Tensor, segments: Segments | Layout, cross: bool, scale: float) -> Tensor:
    """The message for images of any lengths, in one call on CUDA."""
    q, k, v = (x.to(v.dtype).transpose(0, 1) for x in (q, k, v))
    return attend_packed(q, k, v, segments, scale, cross=cross).flatten(1)
