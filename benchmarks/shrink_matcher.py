"""A narrower, shorter LightGlue that begins with what a trained one computes, instead of with its leading channels.

Between the layers a network hands on its states, which nothing normalises; they nearly lie in a subspace. The narrow
network's states are their coordinates there. Its linear layers are fitted one after the other by least squares, each
from what the narrow network itself has so far to what the wide one has at that place, so that every layer also
corrects what those before it got wrong. Of the heads and of the hidden units of the wide network those are taken that
its outputs depend on most. No gradients are needed: a few thousand points and a minute of one core.
"""

from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from photoglue import Features, LightGlue, LightGlueConfig
from photoglue.matchers.lightglue import LightGlueShape
from photoglue.matchers.lightglue.attention import attend
from photoglue.matchers.lightglue.blocks import CrossBlock, SelfBlock, TransformerLayer
from photoglue.matchers.lightglue.encoding import positions_of, rotate
from photoglue.matchers.lightglue.packing import Segments

Block: TypeAlias = SelfBlock | CrossBlock
RIDGE = 1e-5
"""Share of the inputs' mean variance that is added to each, so that those that hardly vary get no large weights."""


@torch.no_grad()
def shrunk(
    wide: LightGlue, pairs: Sequence[tuple[Features, Features]], shape: LightGlueShape | None = None
) -> tuple[LightGlue, list[float]]:
    """A smaller network fitted to a larger one, and the share of the states' variance that it has after each block.

    Args:
        wide: The larger network; its heads have as many channels as the smaller one's.
        pairs: Features of pairs of photos, ten or more.
        shape: Shape of the smaller network; None: 5 layers of width 128.
    """
    shape = shape or LightGlueShape.edge(input_dim=wide.shape.input_dim, kinds=wide.shape.kinds)
    narrow = LightGlue(LightGlueConfig.accurate(), shape=shape).eval()
    images = [image for pair in pairs for image in pair]
    place = _Place(images, wide)
    descriptors = torch.cat([image.descriptors for image in images])
    x = wide.input_proj(descriptors)
    basis = _basis(wide, x, place, shape)
    assert isinstance(narrow.input_proj, nn.Linear)
    fit(narrow.input_proj, descriptors, x @ basis)
    narrow.posenc.Wr.weight.copy_(wide.posenc.Wr.weight)
    z, shares = narrow.input_proj(descriptors), []
    for number in range(shape.n_layers):
        large, small = _layer(wide, number), _layer(narrow, number)
        blocks: list[tuple[Block, Block]] = [(large.self_attn, small.self_attn), (large.cross_attn, small.cross_attn)]
        for block, fitted in blocks:
            x, z = _fitted_block(block, fitted, x, z, basis, place)
            shares.append(explained(z, x @ basis))
        _fit_heads(wide, narrow, number, x, z)
    return narrow, shares


class _Place:
    """Where the tokens are: in which image, and at which position."""

    def __init__(self, images: Sequence[Features], net: LightGlue) -> None:
        self.segments = Segments(tuple(len(image) for image in images))
        self.encoding = net.posenc(positions_of(images, self.segments, net.shape.add_scale_ori))


def _layer(net: LightGlue, number: int) -> TransformerLayer:
    layer = net.transformers[number]
    assert isinstance(layer, TransformerLayer)
    return layer


def _basis(wide: LightGlue, x: Tensor, place: _Place, shape: LightGlueShape) -> Tensor:
    """The directions that the states of the first layers vary most in, all blocks alike."""
    moments = _moment(x)
    for number in range(shape.n_layers):
        layer = _layer(wide, number)
        x = layer.self_attn(x, place.encoding, place.segments)
        moments += _moment(x)
        x = layer.cross_attn(x, place.segments)
        moments += _moment(x)
    directions: Tensor = torch.linalg.eigh(moments).eigenvectors
    return directions[:, -shape.descriptor_dim :].float()


def _moment(x: Tensor) -> Tensor:
    x = x.double()
    return x.T @ x / x.square().sum()


def _fitted_block(
    large: Block, small: Block, x: Tensor, z: Tensor, basis: Tensor, place: _Place
) -> tuple[Tensor, Tensor]:
    """Fit one block; the states of both networks after it."""
    attended, message, output = _attention(large, x, place)
    heads = _best_heads(attended, output, large.heads, small.heads)
    narrow_attended, narrow_output = _fitted_attention(large, small, x, z, heads, place)
    centred = (message - message.mean(0)).double()
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -z.shape[1] :].float()
    fit(narrow_output, narrow_attended, message @ directions)
    inputs = torch.cat([z, narrow_output(narrow_attended)], dim=1)
    wide_hidden = large.ffn[0](torch.cat([x, message], dim=1))
    normed = large.ffn[1](wide_hidden)
    units = _best_units(large.ffn[2](normed), cast("nn.Linear", large.ffn[3]), 2 * z.shape[1])
    plain = functional.layer_norm(wide_hidden, wide_hidden.shape[1:])
    fit(cast("nn.Linear", small.ffn[0]), inputs, plain[:, units])
    _fit_norm(cast("nn.LayerNorm", small.ffn[1]), small.ffn[0](inputs), normed[:, units])
    x = x + large.ffn[3](large.ffn[2](normed))
    hidden = small.ffn[:3](inputs)
    fit(cast("nn.Linear", small.ffn[3]), hidden, x @ basis - z)
    return x, z + small.ffn[3](hidden)


def _attention(block: Block, x: Tensor, place: _Place) -> tuple[Tensor, Tensor, nn.Linear]:
    """What the heads of a block gather, the message made of it, and the layer that makes it."""
    if isinstance(block, SelfBlock):
        q, k, v = block.Wqkv(x).unflatten(1, (block.heads, -1, 3)).unbind(-1)
        q, k, v = (t.transpose(0, 1) for t in (rotate(q, place.encoding), rotate(k, place.encoding), v.contiguous()))
        attended, output = attend(q, k, v, place.segments, cross=False), block.out_proj
    else:
        qk, v = (layer(x).unflatten(1, (block.heads, -1)).transpose(0, 1) for layer in (block.to_qk, block.to_v))
        attended, output = attend(qk, qk, v, place.segments, cross=True), block.to_out
    return attended, output(attended), output


def _fitted_attention(
    large: Block, small: Block, x: Tensor, z: Tensor, heads: Tensor, place: _Place
) -> tuple[Tensor, nn.Linear]:
    """Fit the projections of some heads; what these gather in the narrow network, and its output layer."""
    if isinstance(large, SelfBlock):
        assert isinstance(small, SelfBlock)
        fit(small.Wqkv, z, large.Wqkv(x).unflatten(1, (large.heads, -1, 3))[:, heads].flatten(1))
    else:
        for name in ("to_qk", "to_v"):
            wanted = getattr(large, name)(x).unflatten(1, (large.heads, -1))[:, heads].flatten(1)
            fit(getattr(small, name), z, wanted)
    attended, _, output = _attention(small, z, place)
    return attended, output


def _best_heads(attended: Tensor, output: nn.Linear, heads: int, count: int) -> Tensor:
    """Of the heads, so many that the message varies most with, in their order."""
    parts = zip(attended.chunk(heads, dim=1), output.weight.chunk(heads, dim=1), strict=True)
    share = torch.stack([(part @ weight.T).var(0).sum() for part, weight in parts])
    return share.topk(count).indices.sort().values


def _best_units(hidden: Tensor, contract: nn.Linear, count: int) -> Tensor:
    """The hidden units that the block's update varies most with, in their order."""
    return (hidden.var(0) * contract.weight.square().sum(0)).topk(count).indices.sort().values


def _fit_norm(norm: nn.LayerNorm, hidden: Tensor, wanted: Tensor) -> None:
    """The factor and the summand of each channel."""
    plain = functional.layer_norm(hidden, hidden.shape[1:])
    factor = ((plain - plain.mean(0)) * (wanted - wanted.mean(0))).mean(0) / plain.var(0, unbiased=False)
    norm.weight.copy_(factor)
    norm.bias.copy_(wanted.mean(0) - factor * plain.mean(0))


def _fit_heads(wide: LightGlue, narrow: LightGlue, number: int, x: Tensor, z: Tensor) -> None:
    """The heads that read a layer's states."""
    large, small = (net._head(number) for net in (wide, narrow))
    descriptors = large.final_proj(x)
    directions = torch.linalg.svd(descriptors - descriptors.mean(0), full_matrices=False)[2][: z.shape[1]].T
    # Similarities are divided by the square root of the width.
    scale = (z.shape[1] / x.shape[1]) ** 0.25
    fit(small.final_proj, z, descriptors @ directions * scale)
    fit(small.matchability, z, large.matchability(x))
    if number < len(narrow.token_confidence):
        sure, read = (cast("nn.Linear", net._confidence(number).token[0]) for net in (wide, narrow))
        fit(read, z, sure(x))


def fit(layer: nn.Linear, inputs: Tensor, wanted: Tensor) -> None:
    """Set a linear layer to the least-squares solution from inputs to what is wanted, rows alike."""
    x, y = inputs.double(), wanted.double()
    mean, middle = x.mean(0), y.mean(0)
    x, y = x - mean, y - middle
    square = x.T @ x / len(x)
    square += RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
    weight = torch.linalg.solve(square, x.T @ y / len(x)).T
    layer.weight.copy_(weight)
    layer.bias.copy_(middle - weight @ mean)


def explained(found: Tensor, wanted: Tensor) -> float:
    """The share of the variance that is found."""
    return 1 - float((found - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum())
