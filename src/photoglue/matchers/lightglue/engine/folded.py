"""The transformer layer folded for inference: fewer and larger products, in the precision of choice.

`fold` is the step from the layers that are trained to the folded ones. What changes on the way from
`blocks.TransformerLayer`, none of it the result:

- The rows of the joint projection are put in the order q, k, v, each head's even channels before its odd ones, so that
  rotary encoding turns contiguous halves. Dot products do not mind the order of channels.
- The scale of attention, and log2(e) for softmax to the base 2, go into the projections of q and k.
- The output projection goes into the first layer of the feed-forward network, which is linear in the message.
- Weights and activations may be half precision. The residual stream, layer norms' statistics and everything after the
  last layer stay fp32.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from photoglue.matchers.lightglue.attention import attend
from photoglue.matchers.lightglue.blocks import CrossBlock, SelfBlock, TransformerLayer
from photoglue.matchers.lightglue.engine import kernels
from photoglue.matchers.lightglue.engine.kernels import LOG2_E, STEP, linear, rounded_up, rounds_up
from photoglue.matchers.lightglue.engine.varlen import Layout
from photoglue.matchers.lightglue.packing import Segments


class FoldedFeedForward(nn.Module):
    """Output projection and feed-forward network of a block, from its context (heads side by side) to the new state."""

    weight1: Tensor
    bias1: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    weight2: Tensor
    bias2: Tensor

    def __init__(self, output: nn.Linear, ffn: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__()
        first, norm, _, second = ffn
        assert isinstance(first, nn.Linear)
        assert isinstance(norm, nn.LayerNorm)
        assert isinstance(second, nn.Linear)
        of_state, of_message = first.weight.detach().double().chunk(2, dim=1)
        folded = of_message @ output.weight.detach().double()
        _register(self, "weight1", torch.cat([of_state, folded], dim=1), dtype)
        _register(self, "bias1", first.bias.detach().double() + of_message @ output.bias.detach().double(), dtype)
        _register(self, "norm_weight", norm.weight.detach(), dtype)
        _register(self, "norm_bias", norm.bias.detach(), dtype)
        _register(self, "weight2", second.weight.detach(), dtype)
        _register(self, "bias2", second.bias.detach(), dtype)

    def forward(
        self, x: Float[Tensor, "t d"], half: Float[Tensor, "s d"], context: Float[Tensor, "s d"]
    ) -> Float[Tensor, "t d"]:
        """The new state; ``half`` is ``x`` in the precision of the weights, and may have more rows."""
        hidden = linear(torch.cat([half, context], dim=1), self.weight1, self.bias1)
        hidden = functional.layer_norm(hidden, hidden.shape[1:], self.norm_weight, self.norm_bias)
        return x + linear(functional.gelu(hidden), self.weight2, self.bias2)[: len(x)]


class FoldedLayer(nn.Module):
    """One self-attention and one cross-attention, folded; takes and gives what `TransformerLayer` does."""

    own_weight: Tensor
    own_bias: Tensor
    cross_weight: Tensor
    cross_bias: Tensor

    def __init__(self, layer: TransformerLayer, dtype: torch.dtype) -> None:
        super().__init__()
        own, cross = layer.self_attn, layer.cross_attn
        assert isinstance(own, SelfBlock)
        assert isinstance(cross, CrossBlock)
        self.heads = own.heads
        self.dtype = dtype
        order, scale = _order_and_scale(own)
        _register(self, "own_weight", own.Wqkv.weight.detach()[order].double() * scale[:, None], dtype)
        _register(self, "own_bias", own.Wqkv.bias.detach()[order].double() * scale, dtype)
        # Both roles of the shared projection get the root of the scale.
        root = math.sqrt(LOG2_E / math.sqrt(own.Wqkv.in_features // own.heads))
        weights = [cross.to_qk.weight.detach().double() * root, cross.to_v.weight.detach().double()]
        biases = [cross.to_qk.bias.detach().double() * root, cross.to_v.bias.detach().double()]
        _register(self, "cross_weight", torch.cat(weights), dtype)
        _register(self, "cross_bias", torch.cat(biases), dtype)
        self.own_ffn = FoldedFeedForward(own.out_proj, own.ffn, dtype)
        self.cross_ffn = FoldedFeedForward(cross.to_out, cross.ffn, dtype)

    def forward(
        self, x: Float[Tensor, "t d"], encoding: Float[Tensor, "2 t 1 f"], segments: Segments | Layout
    ) -> Float[Tensor, "t d"]:
        """The states of all tokens after this layer."""
        blocks = not isinstance(segments, Layout) and kernels.attends_in_blocks(x.device, self.dtype)
        half = self._half(x, segments)
        projected = linear(half, self.own_weight, self.own_bias).view(len(half), 3 * self.heads, -1)
        turned = _room(projected[:, : 2 * self.heads], blocks)
        _rotate(projected[: len(x), : 2 * self.heads], encoding, turned[:, : len(x)])
        values = _heads_first(projected[:, 2 * self.heads :], blocks)
        context = attend(turned[: self.heads], turned[self.heads :], values, segments, cross=False, base2=True)
        x = self.own_ffn(x, half, context)
        half = self._half(x, segments)
        projected = linear(half, self.cross_weight, self.cross_bias).view(len(half), 2 * self.heads, -1)
        keys = _room(projected[:, : self.heads], blocks)
        keys[:, : len(x)] = projected[: len(x), : self.heads].transpose(0, 1)
        values = _heads_first(projected[:, self.heads :], blocks)
        context = attend(keys, keys, values, segments, cross=True, base2=True)
        out: Tensor = self.cross_ffn(x, half, context)
        return out

    def _half(self, x: Float[Tensor, "t d"], segments: Segments | Layout) -> Float[Tensor, "s d"]:
        """The states in the precision of the weights, and rows of zeros at the end for products of few shapes."""
        half = x.to(self.dtype)
        missing = rounded_up(len(x)) - len(x) if rounds_up(x.device) and isinstance(segments, Segments) else 0
        return functional.pad(half, (0, 0, 0, missing)) if missing else half


def _room(x: Float[Tensor, "s h e"], blocks: bool) -> Float[Tensor, "h r e"]:
    """Memory for queries or keys, heads first; in fp32 and with rows to spare for attention in blocks."""
    tokens, heads, channels = x.shape
    if blocks:
        return x.new_empty(heads, tokens + STEP, channels, dtype=torch.float32)
    return x.new_empty(heads, tokens, channels)


def _rotate(x: Float[Tensor, "t h e"], encoding: Float[Tensor, "2 t 1 f"], turned: Float[Tensor, "h t e"]) -> None:
    """Turn each head's even channels (first half) and odd ones (second half) in fp32, and write them to ``turned``."""
    cosine, sine = encoding
    even, odd = x.chunk(2, dim=-1)
    even_out, odd_out = turned.transpose(0, 1).chunk(2, dim=-1)
    torch.addcmul(even * cosine, odd, sine, value=-1, out=even_out)
    torch.addcmul(odd * cosine, even, sine, out=odd_out)


def _heads_first(values: Float[Tensor, "s h e"], blocks: bool) -> Float[Tensor, "h s e"]:
    """The values with heads first; a view for attention in blocks, which makes a copy of its own."""
    turned = values.transpose(0, 1)
    return turned if blocks else turned.contiguous()


def fold(layers: nn.ModuleList, dtype: torch.dtype) -> nn.ModuleList:
    """The layers of a network folded for inference in ``dtype``, with copies of the weights as they are now."""
    return nn.ModuleList(FoldedLayer(layer, dtype) for layer in layers if isinstance(layer, TransformerLayer))


class FoldCache:
    """The folded layers of a network: made when they are first needed, and again when its weights have changed.

    They are no part of the network: nothing of them is saved or copied.
    """

    def __init__(self) -> None:
        self._last: _Folded | None = None

    def layers_of(self, layers: nn.ModuleList, dtype: torch.dtype) -> nn.ModuleList:
        """All layers of the network, folded to compute in ``dtype``."""
        folded: nn.ModuleList = self.made_of(layers, dtype, fold)
        return folded

    def made_of(self, layers: nn.Module, dtype: torch.dtype, make: Callable[[Any, torch.dtype], Any]) -> Any:
        """What ``make`` makes of modules for a type, made again when their weights have changed."""
        # Threads may come here at once: each goes on with what it sees, at worst two fold the same.
        last = self._last
        if last is not None and _fingerprint(_weights(last.places), dtype) == last.fingerprint:
            return last.layers
        places = [(module._parameters, name) for module in layers.modules() for name in module._parameters]
        weights = _weights(places)
        folded = make(layers, dtype)
        self._last = _Folded(places, weights, _fingerprint(weights, dtype), folded)
        return folded

    def clear(self) -> None:
        """Forget the folded layers."""
        self._last = None

    def __reduce__(self) -> tuple[type["FoldCache"], tuple[()]]:
        return FoldCache, ()


class _Folded(NamedTuple):
    """Folded layers, and what they were made of."""

    places: list[tuple[dict[str, nn.Parameter | None], str]]
    """Where the weights are; looking there is faster than to walk through the network each time."""
    weights: list[nn.Parameter]
    """Those that were there; held, so that no other can take its place in memory."""
    fingerprint: list[object]
    layers: Any


def _weights(places: list[tuple[dict[str, nn.Parameter | None], str]]) -> list[nn.Parameter]:
    there = (parameters.get(name) for parameters, name in places)
    return [weight for weight in there if weight is not None]


def _fingerprint(weights: list[nn.Parameter], dtype: torch.dtype) -> list[object]:
    """A value that differs if weights were written to, moved or replaced; in inference mode writing is not counted."""
    each: list[object] = [(id(x), x.data_ptr(), 0 if x.is_inference() else x._version) for x in weights]
    return [dtype, weights[0].device, *each]


def _order_and_scale(block: SelfBlock) -> tuple[Tensor, Tensor]:
    """For each output of the folded projection the official output, and its factor.

    Official: (head, channel, q | k | v). Folded: (q | k | v, head, channel), channels of q and k even first.
    """
    width = block.Wqkv.in_features
    official = torch.arange(3 * width).view(block.heads, -1, 3).permute(2, 0, 1)
    even_first = torch.cat([official[:2, :, 0::2], official[:2, :, 1::2]], dim=-1)
    order = torch.cat([even_first.flatten(), official[2].flatten()])
    scale = torch.ones(3 * width, dtype=torch.float64)
    scale[:width] = LOG2_E / math.sqrt(width // block.heads)
    return order, scale.to(block.Wqkv.weight.device)


def _register(module: nn.Module, name: str, tensor: Tensor, dtype: torch.dtype) -> None:
    """Give the module a buffer that moves with it and is not part of its state dict."""
    module.register_buffer(name, tensor.to(dtype).contiguous(), persistent=False)
