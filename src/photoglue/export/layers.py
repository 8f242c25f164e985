"""The layers of LightGlue for padded batches, in operations that every runtime has: products, finite masks.

Of the weights only the order of channels differs from the packed network's: queries, keys and values lie side by side
instead of interleaved, and the two halves that rotary encoding turns into each other lie side by side in queries and
keys alike, which leaves their products alone.
"""

from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from photoglue.matchers.lightglue.blocks import CrossBlock, SelfBlock, TransformerLayer

MASKED = -3e4
"""What stands for minus infinity: finite in half precision too, so that an image of masked points gives no NaN."""


def gelu(x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """The exact GELU, in an order of operations that OpenCV 5.0 reads; on what torch writes for its own it crashes."""
    return (x * 0.5) * (1 + torch.erf(x * 0.7071067811865476))


class Product(nn.Module):
    """A linear layer that computes in a floating type of its own and gives back single precision."""

    def __init__(self, weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"] | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype), requires_grad=False)

    @classmethod
    def of(cls, layer: nn.Module, dtype: torch.dtype) -> "Product":
        """From a layer of torch."""
        linear = cast("nn.Linear", layer)
        return cls(linear.weight, linear.bias, dtype)

    def forward(self, x: Float[Tensor, "b n i"]) -> Float[Tensor, "b n o"]:
        """The product, in single precision."""
        return functional.linear(x.to(self.weight.dtype), self.weight, self.bias).float()


class FeedForward(nn.Module):
    """The update of a state from the state and its message."""

    def __init__(self, layers: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__()
        self.first, self.norm, self.last = Product.of(layers[0], dtype), layers[1], Product.of(layers[3], dtype)

    def forward(self, x: Float[Tensor, "b n d"], message: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """The state after the update."""
        out: Tensor = x + self.last(gelu(self.norm(self.first(torch.cat([x, message], dim=-1)))))
        return out


class PlainLayer(nn.Module):
    """Self-attention in both images, then cross-attention between them."""

    def __init__(self, layer: TransformerLayer, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        own, cross = layer.self_attn, layer.cross_attn
        self.heads, self.dtype = own.heads, dtype
        self.qkv = Product(*_side_by_side(own), dtype)
        self.self_out, self.self_ffn = Product.of(own.out_proj, dtype), FeedForward(own.ffn, dtype)
        self._cross(cross, dtype)

    def _cross(self, cross: CrossBlock, dtype: torch.dtype) -> None:
        self.to_qk, self.to_v = Product.of(cross.to_qk, dtype), Product.of(cross.to_v, dtype)
        self.cross_out, self.cross_ffn = Product.of(cross.to_out, dtype), FeedForward(cross.ffn, dtype)

    def forward(
        self,
        x0: Float[Tensor, "b m d"],
        x1: Float[Tensor, "b n d"],
        turn0: Float[Tensor, "2 b 1 m f"],
        turn1: Float[Tensor, "2 b 1 n f"],
        mask0: Bool[Tensor, "b m"] | None = None,
        mask1: Bool[Tensor, "b n"] | None = None,
    ) -> tuple[Float[Tensor, "b m d"], Float[Tensor, "b n d"]]:
        """The states of both images after this layer; no attention is paid to points whose mask is False."""
        x0, x1 = self._self(x0, turn0, mask0), self._self(x1, turn1, mask1)
        qk0, qk1, v0, v1 = (self._heads(t) for t in (self.to_qk(x0), self.to_qk(x1), self.to_v(x0), self.to_v(x1)))
        alike = (qk0 @ qk1.mT).float() * qk0.shape[-1] ** -0.5
        message0 = self.cross_out(self._seen(alike, v1, mask1))
        message1 = self.cross_out(self._seen(alike.mT, v0, mask0))
        return self.cross_ffn(x0, message0), self.cross_ffn(x1, message1)

    def _self(
        self, x: Float[Tensor, "b n d"], turn: Float[Tensor, "2 b 1 n f"], mask: Bool[Tensor, "b n"] | None
    ) -> Float[Tensor, "b n d"]:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = (_turned(self._split(part), turn).to(self.dtype) for part in (q, k))
        alike = (q @ k.mT).float() * q.shape[-1] ** -0.5
        out: Tensor = self.self_ffn(x, self.self_out(self._seen(alike, self._heads(v), mask)))
        return out

    def _seen(
        self, alike: Float[Tensor, "b h n k"], values: Float[Tensor, "b h k e"], mask: Bool[Tensor, "b k"] | None
    ) -> Float[Tensor, "b n d"]:
        """The mean of the values, weighted by the softmax of the similarities."""
        if mask is not None:
            alike = torch.where(mask[:, None, None], alike, MASKED)
        message = (alike.softmax(dim=-1).to(values.dtype) @ values).transpose(1, 2)
        return message.reshape(message.shape[0], message.shape[1], -1).float()

    def _split(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b h n e"]:
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def _heads(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b h n e"]:
        return self._split(x).to(self.dtype)


def _side_by_side(block: SelfBlock) -> tuple[Float[Tensor, "o i"], Float[Tensor, " o"]]:
    """Weight and bias that give queries, keys and values one after the other, heads inside; of queries and keys each
    head's even channels come before its odd ones."""  # noqa: D205, D209
    weight, bias = block.Wqkv.weight, block.Wqkv.bias
    rows = torch.arange(len(weight)).view(block.heads, -1, 3)
    halves = torch.cat([rows[:, 0::2, :2], rows[:, 1::2, :2]], dim=1)
    order = torch.cat([halves[..., 0].flatten(), halves[..., 1].flatten(), rows[..., 2].flatten()])
    return weight[order], bias[order]


def _turned(x: Float[Tensor, "b h n e"], turn: Float[Tensor, "2 b 1 n f"]) -> Float[Tensor, "b h n e"]:
    cosine, sine = turn[0], turn[1]
    even, odd = x.chunk(2, dim=-1)
    return torch.cat([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1)
