"""The two kernels that inference spends its time in, each as fast as the machine can do it.

On a CPU, torch's own leave much unused. Its fp32 matrix product is MKL's, which on AMD processors runs at less than
half the speed of oneDNN's; its attention has a bf16 path for AMX only, and runs bf16 at the speed of fp32 elsewhere. So
linear layers go to oneDNN, and attention may be done in blocks of rows that stay in the cache: a product, an
exponential, a product. Which is faster is measured: blocks were on AMD's Zen 5, torch's own on two Xeons. GPUs and CPUs
without oneDNN use torch's own attention.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from photoglue.matchers.lightglue.packing import Segments
from photoglue.probe import Choice, Contenders, fastest, settled

LOG2_E = math.log2(math.e)
BLOCK_ELEMENTS = 2**19
"""Similarities that a thread works on at once, two megabytes: more fall out of its cache, fewer make small products."""
STEP = 64
"""Products in blocks have multiples of so many rows and columns. oneDNN builds a product anew for each new shape, which
takes 0.4 ms, longer than many a product, and it keeps some thousand of them; pruned images have a new size after each
layer, and without rounding all their shapes would be new."""
CLEARLY = 1.1
"""Times as fast that another attention than the usual one must be."""
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
    """The output of a linear layer, computed by ``linear`` where neither a gradient nor autocast is asked for."""
    plain = torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type)
    projected: Tensor = layer(x) if plain else linear(x, layer.weight, layer.bias)
    return projected


def attends_in_blocks(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether inference with values of this type attends in blocks here, because that is faster than torch's kernel."""
    possible = _ONE_DNN and device.type == "cpu" and dtype != torch.float16
    return possible and attention_choice(dtype).chosen == "blocks"


def blocks_by_rule(dtype: torch.dtype) -> bool:
    """Whether blocks mostly are the faster attention on CPUs with such flags as this one's."""
    return _ONE_DNN and not (_AMX and dtype != torch.float32)


@lru_cache
def attention_choice(dtype: torch.dtype) -> Choice:
    """What computes attention on this CPU with values of a type, "blocks" or "torch", and why."""
    name = f"attention-{str(dtype).removeprefix('torch.')}"
    usual = "blocks" if blocks_by_rule(dtype) else "torch"
    return settled(name, ("blocks", "torch"), usual) or fastest(
        name, lambda: _attentions(dtype), usual=usual, margin=CLEARLY, threads=True
    )


def _attentions(dtype: torch.dtype) -> Contenders:
    """Self-attention of one photo with 512 points, four heads of 64 channels."""
    segments, scale = Segments((512,)), 1 / LOG2_E
    q, k = torch.ones(4, 512 + STEP, 64), torch.ones(4, 512 + STEP, 64)
    v = torch.ones(4, 512, 64, dtype=dtype)
    half_q, half_k = (x[None, :, :512].to(dtype).contiguous() for x in (q, k))
    return {
        "blocks": lambda: attend_in_blocks(q, k, v, segments, cross=False),
        "torch": lambda: functional.scaled_dot_product_attention(half_q, half_k, v[None], scale=scale),
    }


def attend_in_blocks(
    q: Float[Tensor, "h s e"], k: Float[Tensor, "h s e"], v: Float[Tensor, "h t e"], segments: Segments, *, cross: bool
) -> Float[Tensor, "t d"]:
    """Softmax attention to the base 2 inside segments, in blocks of rows that stay in the cache.

    To the base 2, because on CPUs torch's exp2 is several times faster than its exp. The similarity is fp32: it
    reaches several hundred, where the steps of bfloat16 are factors of the weight.

    Args:
        q: Queries in fp32, multiplied by log2(e) / √e. All three may have rows after the last token, with anything in
            them; ``STEP`` more of queries and keys spare copies.
        k: Keys in fp32.
        v: Values, in the precision of the result.
        segments: Where each image's tokens lie; none is empty.
        cross: Whether each image attends to its partner, or to itself.

    Returns:
        The message to each token, its heads side by side; zeros after the last token.
    """
    message = v.new_empty(v.shape[1], v.shape[0], v.shape[2])
    message[segments.total :] = 0
    for rows, others in zip(segments.slices(), segments.partners() if cross else segments.slices(), strict=True):
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
    """Write the message to one block of queries; rows of ``q`` and ``k`` after the last ones may hold anything."""
    weights = linear(q, k)
    weights[:, partners:] = -math.inf
    # What is 2^64 times less likely than the best does not matter; as a subnormal number it would cost time.
    weights.sub_(weights.amax(dim=-1, keepdim=True)).clamp_min_(-64).exp2_()
    total = weights.sum(dim=-1, keepdim=True)[: len(message)]
    torch.div(linear(weights.to(columns.dtype), columns)[: len(message)], total, out=message)


def rounds_up(device: torch.device) -> bool:
    """Whether products on a device are faster with multiples of ``STEP`` rows."""
    return _ONE_DNN and device.type == "cpu"


def rounded_up(count: int) -> int:
    """The smallest multiple of ``STEP`` that is not below a count."""
    return -(-count // STEP) * STEP


def _rows(x: Tensor, start: int, count: int) -> Tensor:
    """``count`` rows from ``start`` on, with zeros where there are fewer."""
    rows = x[start : start + count]
    return rows if len(rows) == count else functional.pad(rows, (0, 0, 0, count - len(rows)))
