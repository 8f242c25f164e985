"""Attention for training on CPUs without AMX, where torch's own bf16 kernel runs no faster than fp32 does.

Each head of each image is a few products on a block of rows that stays in the cache, as for inference (`kernels.py`).
The weights are kept in bf16 for the backward pass, which then needs no exponential and no fp32 product: 2 bytes for
each pair of points, head and direction, so that long sequences want gradient checkpointing.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.matchers.lightglue.engine.kernels import BLOCK_ELEMENTS, LOG2_E, blocks_by_rule, linear


def trains_in_blocks(values: Tensor) -> bool:
    """Whether ``attend_with_gradients`` is the fastest way here to the message of these values and its gradient."""
    half = torch.is_autocast_enabled(values.device.type) and torch.get_autocast_dtype(values.device.type)
    on_cpu = values.device.type == "cpu" and blocks_by_rule(torch.bfloat16)
    return half == torch.bfloat16 and torch.is_grad_enabled() and on_cpu


def attend_with_gradients(
    q: Float[Tensor, "b h n e"], k: Float[Tensor, "b h m e"], v: Float[Tensor, "b h m e"], scale: float
) -> Float[Tensor, "b h n e"]:
    """Softmax attention with similarity and softmax in fp32, everything else in bf16, gradients included.

    Args:
        q: Queries of each image.
        k: Keys that they attend to.
        v: Values of these keys.
        scale: Factor of the similarity q·k, before the softmax to the base e.
    """
    with torch.autocast(q.device.type, enabled=False):
        message: Tensor = _BlockAttention.apply(q, k, v, scale)  # type: ignore[no-untyped-call]
    return message


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        batch, heads, rows, channels = q.shape
        queries, keys = q.float().contiguous(), k.float().contiguous()
        columns = v.bfloat16().transpose(2, 3).contiguous()
        weights = columns.new_empty(batch, heads, rows, k.shape[2])
        message = columns.new_empty(batch, heads, rows, channels)
        for image in range(batch):
            for head in range(heads):
                for block in _blocks(rows, k.shape[2]):
                    own = (image, head, block)
                    similarity = linear(queries[own] * (scale * LOG2_E), keys[image, head])
                    # To the base 2; see `kernels.attend_in_blocks` for the clamp.
                    similarity.sub_(similarity.amax(dim=-1, keepdim=True)).clamp_min_(-64).exp2_()
                    weights[own].copy_(similarity.div_(similarity.sum(dim=-1, keepdim=True)))
                    message[own] = linear(weights[own], columns[image, head])
        ctx.save_for_backward(q, k, v, weights, message)
        ctx.scale = scale
        return message

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, weights, message = ctx.saved_tensors
        batch, heads, rows, _ = q.shape
        into = gradients[0].bfloat16().contiguous()
        # Row by row the part of the softmax's gradient that keeps its sum at 1.
        drift = (into.float() * message.float()).sum(dim=-1, keepdim=True).bfloat16()
        queries, keys, values = (x.bfloat16().contiguous() for x in (q * ctx.scale, k * ctx.scale, v))
        of_q, of_k, of_v = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
        for image in range(batch):
            for head in range(heads):
                for block in _blocks(rows, k.shape[2]):
                    own, other = (image, head, block), (image, head)
                    of_v[other] += weights[own].t() @ into[own]
                    slope = linear(into[own], values[other]).sub_(drift[own]).mul_(weights[own])
                    torch.mm(slope, keys[other], out=of_q[own])
                    of_k[other] += slope.t() @ queries[own]
        return of_q.to(q.dtype), of_k.to(k.dtype), of_v.to(v.dtype), None


def _blocks(rows: int, columns: int) -> list[slice]:
    count = max(BLOCK_ELEMENTS * torch.get_num_threads() // columns, 64)
    return [slice(start, start + count) for start in range(0, rows, count)]
