"""The two kernels that inference spends its time in, each as fast as the machine can do it.

On a CPU, torch's own leave much unused. Its fp32 matrix product is MKL's, which on AMD processors runs at less than
half the speed of oneDNN's; its attention has a bf16 path for AMX only, and runs bf16 at the speed of fp32 elsewhere. So
linear layers go to oneDNN, and attention without AMX is done in blocks of rows that stay in the cache: a product, an
exponential, a product. GPUs, AMX, and CPUs without oneDNN use torch's own attention.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from photoglue.matchers.lightglue.engine.varlen import Layout, attend_packed, packs_attention
from photoglue.matchers.lightglue.packing import Segments

LOG2_E = math.log2(math.e)
BLOCK_ELEMENTS = 2**19
"""Similarities that a thread works on at once, two megabytes: more fall out of its cache, fewer make small products."""
STEP = 64
"""Products in blocks have multiples of so many rows and columns. oneDNN builds a product anew for each new shape, which
takes 0.4 ms, longer than many a product, and it keeps some thousand of them; pruned images have a new size after each
layer, and without rounding all their shapes would be new."""
_ONE_DNN = bool(
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    and hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
)
_ONE_DNN_TYPES = {torch.float32}
if _ONE_DNN and torch.ops.mkldnn._is_mkldnn_bf16_supported():
    _ONE_DNN_TYPES.add(torch.bfloat16)
_AMX = bool(torch.cpu._is_amx_tile_supported())


def linear(x: Float[Tensor, "t i"], weight: Float[Tensor, "o i"], bias: Tensor | None = None) -> Float[Tensor, "t o"]:
    """``x @ weight.T + bias``, for contiguous arguments."""
    if _ONE_DNN and x.device.type == "cpu" and x.dtype in _ONE_DNN_TYPES and len(x):
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return product
    return functional.linear(x, weight, bias)


def project(layer: nn.Linear, x: Float[Tensor, "t i"]) -> Float[Tensor, "t o"]:
    """What the layer gives; by ``linear`` where neither a gradient nor autocast is asked for."""
    plain = torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type)
    projected: Tensor = layer(x) if plain else linear(x, layer.weight, layer.bias)
    return projected


def attends_in_blocks(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether ``attend_base2`` works in blocks here; then queries and keys are to be fp32, whatever the values are."""
    return _ONE_DNN and device.type == "cpu" and not (_AMX and dtype != torch.float32) and dtype != torch.float16


def attend_base2(
    q: Float[Tensor, "h s e"],
    k: Float[Tensor, "h s e"],
    v: Float[Tensor, "h t e"],
    segments: Segments | Layout,
    *,
    cross: bool,
) -> Float[Tensor, "t d"]:
    """Softmax attention to the base 2 inside segments; the heads of a token come out side by side.

    The caller has multiplied q·k by log2(e) / √e: to the base 2, because on CPUs torch's exp2 is several times faster
    than its exp. The similarity is fp32 wherever it is ours: LightGlue's reach several hundred, where the steps of
    bfloat16 are factors of the weight.

    Args:
        q: Queries of the whole pack. All three may have rows after the last token, with anything in them; in blocks,
            ``STEP`` more of queries and keys spare copies.
        k: Keys.
        v: Values, in the precision of the result.
        segments: Where each image's tokens lie; none is empty. A layout: for the variable-length kernel, unasked.
        cross: Whether each image attends to its partner, or to itself.
    """
    if isinstance(segments, Layout):
        return _attend_packed(q, k, v, segments, cross)
    images = len(segments.lengths)
    if attends_in_blocks(q.device, v.dtype):
        return _attend_in_blocks(q, k, v, segments, cross)
    tokens = segments.total
    if v.shape[1] > tokens:
        message = attend_base2(q[:, :tokens], k[:, :tokens], v[:, :tokens], segments, cross=cross)
        return functional.pad(message, (0, 0, 0, v.shape[1] - tokens))
    if images > 1 and segments.equal:
        return _attend_equal(q, k, v, images, cross)
    if images > 1 and packs_attention(v):
        return _attend_packed(q, k, v, segments, cross)
    message = v.new_empty(q.shape[1], q.shape[0], q.shape[2])
    slices = segments.slices()
    for i, rows in enumerate(slices):
        others = slices[i ^ 1] if cross else rows
        message[rows] = _attend_plain(q[None, :, rows], k[None, :, others], v[None, :, others])[0].transpose(0, 1)
    return message.flatten(1)


def _attend_packed(q: Tensor, k: Tensor, v: Tensor, segments: Segments | Layout, cross: bool) -> Tensor:
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    return attend_packed(q, k, v, segments, 1 / LOG2_E, cross=cross).flatten(1)


def _attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, segments: Segments, cross: bool) -> Tensor:
    message = v.new_empty(v.shape[1], v.shape[0], v.shape[2])
    message[segments.total :] = 0
    slices = segments.slices()
    for i, rows in enumerate(slices):
        others = slices[i ^ 1] if cross else rows
        partners = others.stop - others.start
        width = rounded_up(partners)
        columns = v.new_zeros(v.shape[0], v.shape[2], width)
        columns[:, :, :partners] = v[:, others].transpose(1, 2)
        count = max(rounded_up(BLOCK_ELEMENTS * torch.get_num_threads() // max(width, 1024)), STEP)
        for head in range(len(q)):
            keys = _rows(k[head], others.start, width)
            for start in range(rows.start, rows.stop, count):
                block = slice(start, min(start + count, rows.stop))
                own = _rows(q[head], start, rounded_up(block.stop - start))
                _attend_block(own, keys, columns[head], partners, message[block, head])
    return message.flatten(1)


def _attend_block(q: Tensor, k: Tensor, columns: Tensor, partners: int, message: Tensor) -> None:
    """Into ``message``; rows of ``q`` after its last one and of ``k`` after the last partner may hold anything."""
    weights = linear(q, k)
    weights[:, partners:] = -math.inf
    # What is 2^64 times less likely than the best does not matter; as a subnormal number it would cost time.
    weights.sub_(weights.amax(dim=-1, keepdim=True)).clamp_min_(-64).exp2_()
    total = weights.sum(dim=-1, keepdim=True)[: len(message)]
    torch.div(linear(weights.to(columns.dtype), columns)[: len(message)], total, out=message)


def rounds_up(device: torch.device) -> bool:
    """Whether products there like multiples of ``STEP``."""
    return _ONE_DNN and device.type == "cpu"


def rounded_up(count: int) -> int:
    """To a multiple of ``STEP``."""
    return -(-count // STEP) * STEP


def _rows(x: Tensor, start: int, count: int) -> Tensor:
    """``count`` rows, with zeros where there are fewer."""
    found = x[start : start + count]
    return found if len(found) == count else functional.pad(found, (0, 0, 0, count - len(found)))


def _attend_plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, scale=1 / LOG2_E)


def _attend_equal(q: Tensor, k: Tensor, v: Tensor, images: int, cross: bool) -> Tensor:
    """All images have the same number of tokens: one call."""
    q, k, v = (x.view(len(x), images, -1, x.shape[-1]).transpose(0, 1) for x in (q, k, v))
    if cross:
        partner = torch.arange(images, device=q.device) ^ 1
        k, v = k[partner], v[partner]
    return _attend_plain(q, k, v).transpose(1, 2).flatten(0, 1).flatten(1)
