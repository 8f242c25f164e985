"""ALIKED's network by way of the native kernels: the same numbers as those of the layers in torch, in less time.

Only without gradients, in single precision, and on a CPU.
"""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from photoglue.extractors.aliked_heads import DescriptorHead, ScoreHead
from photoglue.extractors.aliked_layers import Block, JoinedMap
from photoglue.extractors.deform_conv import DeformConv, empty_map
from photoglue.extractors.memory import Memory
from photoglue.image import to_rgb
from photoglue.native import extract as native


def first_block(
    block: Block, image: Float[Tensor, "c h w"], padding: tuple[int, int, int, int], memory: Memory
) -> tuple[Float[Tensor, "1 d h32 w32"], Float[Tensor, "1 d h2 w2"]]:
    """Block 1 of a padded image, and its averages over 2 × 2 pixels.

    Args:
        block: The block.
        image: RGB or gray, in [0, 1].
        padding: Pixels by which the image's edges are repeated on the left, right, at the top and the bottom; padded
            sides are multiples of 4.
        memory: Memory for the results.
    """
    left, right, top, bottom = padding
    height, width = image.shape[1] + top + bottom, image.shape[2] + left + right
    (weight1, bias1), (weight2, bias2) = block.folded(1), block.folded(2)
    taps, second = block.derived.get(
        "native", (weight1, weight2), lambda: (weight1.permute(1, 2, 3, 0).contiguous(), native.packed(weight2))
    )
    channels = len(bias1)
    fine = memory.take("fine", channels, height, width)
    halved = memory.take("halved", channels, height // 2, width // 2)
    native.run(
        native.FirstBlock,
        planes=tuple(plane.contiguous() for plane in to_rgb(image)),
        weights1=taps,
        bias1=bias1,
        weights2=second,
        bias2=bias2,
        fine=fine,
        halved=halved,
        height=height,
        width=width,
        channels=channels,
        corner=(left, top),
        image_size=(image.shape[2], image.shape[1]),
    )
    return fine, halved


def second_block(
    block: Block, reduction: nn.Conv2d, maps: Float[Tensor, "1 c h w"], memory: Memory
) -> tuple[Float[Tensor, "1 q h w"], Float[Tensor, "1 d h4 w4"]]:
    """Block 2 of a map, reduced by another convolution and a gate, and its averages over 4 × 4 pixels."""
    height, width = maps.shape[2:]
    shortcut = cast("nn.Conv2d", block.downsample)
    (weight1, bias1), (weight2, bias2) = block.folded(1), block.folded(2)
    sources = (weight1, weight2, shortcut.weight, reduction.weight)
    kernels = block.derived.get("native", sources, lambda: tuple(map(native.packed, sources)))
    reduced = memory.take("second", reduction.out_channels, height, width)
    pooled = empty_map(maps, len(bias2), height // 4, width // 4, torch.float32)
    native.run(
        native.SecondBlock,
        maps=maps,
        **dict(zip(("weights1", "weights2", "shortcut", "reduction"), kernels, strict=True)),
        bias1=bias1,
        bias2=bias2,
        shortcut_bias=shortcut.bias,
        reduced=reduced,
        pooled=pooled,
        height=height,
        width=width,
        inputs=maps.shape[1],
        outputs=len(bias2),
        quarter=reduction.out_channels,
    )
    return reduced, pooled


def deformable_block(block: Block, maps: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 d h w"]:
    """Block 3 or 4 of a map."""
    shortcut = cast("nn.Conv2d", block.downsample)
    maps = native.dense(maps)
    hidden = _deformed(block, 1, maps, None)
    kernel = block.derived.get("shortcut", (shortcut.weight,), lambda: native.packed(shortcut.weight))
    return _deformed(block, 2, hidden, native.pointwise(maps, kernel, shortcut.bias, shortcut.out_channels))


def _deformed(
    block: Block, number: int, maps: Float[Tensor, "1 c h w"], add: Float[Tensor, "1 d h w"] | None
) -> Float[Tensor, "1 d h w"]:
    offsets = cast("DeformConv", block.conv(number)).offset_conv
    weight, bias = block.folded(number)
    offset_bias = cast("Tensor", offsets.bias)
    kernel, offset_kernel, moves = block.derived.get(
        ("native", number),
        (weight, offsets.weight, offset_bias),
        lambda: (native.packed_taps(weight), native.packed(offsets.weight), native.padded(offset_bias)),
    )
    result = empty_map(maps, len(bias), maps.shape[2], maps.shape[3], torch.float32)
    native.run(
        native.Deform,
        maps=maps,
        offset_weights=offset_kernel,
        offset_bias=moves,
        weights=kernel,
        bias=bias,
        add=add,
        result=result,
        height=maps.shape[2],
        width=maps.shape[3],
        inputs=maps.shape[1],
        outputs=len(bias),
    )
    return result


def encode(
    blocks: Sequence[Block],
    reductions: Sequence[nn.Conv2d],
    image: Float[Tensor, "c h w"],
    padding: tuple[int, int, int, int],
    memory: Memory,
) -> JoinedMap:
    """The four maps of an image, padded to multiples of 32 pixels; see ``first_block`` and ``JoinedMap``.

    Whoever is done with it may call ``release``.
    """
    fine, halved = first_block(blocks[0], image, padding, memory)
    second, eighth = second_block(blocks[1], reductions[1], halved, memory)
    memory.give("halved", halved)
    third = deformable_block(blocks[2], eighth)
    fourth = deformable_block(blocks[3], functional.avg_pool2d(third, 4))
    reduced = [
        native.pointwise(maps, native.packed(conv.weight), None, conv.out_channels, gated=True)
        for maps, conv in zip((third, fourth), reductions[2:], strict=True)
    ]
    return JoinedMap(
        fine=fine,
        fine_weight=reductions[0].weight,
        coarse=(second, reduced[0], reduced[1]),
        image_size=(image.shape[2], image.shape[1]),
        corner=(padding[0], padding[2]),
        native=True,
    )


def release(joined: JoinedMap, memory: Memory) -> None:
    """Leave the memory of a map that nobody needs any more to the next one."""
    if joined.native:
        memory.give("fine", joined.fine)
        memory.give("second", joined.coarse[0])


def scores(head: ScoreHead, joined: JoinedMap) -> Float[Tensor, "h w"]:
    """Scores in [0, 1] of the image without its padding."""
    height, width = joined.fine.shape[2:]
    mix, *convs = (layer.weight for layer in head if isinstance(layer, nn.Conv2d))
    quarters = head.derived.get("native", (mix,), lambda: tuple(map(native.packed, mix.chunk(4, dim=1))))
    result = joined.fine.new_empty(height, width)
    native.run(
        native.ScoreHead,
        **_maps_of(joined),
        mix=quarters,
        convs=tuple(weight.contiguous() for weight in convs),
        scores=result,
    )
    (left, top), (inner_width, inner_height) = joined.corner, joined.image_size
    return result[top : top + inner_height, left : left + inner_width].contiguous()


def describe(head: DescriptorHead, joined: JoinedMap, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
    """Descriptors at points (x, y) in pixels of the image."""
    hidden, last = (layer for layer in head.offset_conv if isinstance(layer, nn.Conv2d))
    sources = (hidden.weight, last.weight, head.sf_conv.weight, head.agg_weights)
    kernels = head.derived.get(
        "native",
        sources,
        lambda: (
            native.packed_taps(hidden.weight),
            native.packed(last.weight),
            native.packed(head.sf_conv.weight),
            native.packed(head.agg_weights.flatten(0, 1).T[:, :, None, None]),
        ),
    )
    descriptors = points.new_empty(len(points), head.sf_conv.out_channels)
    # From top to bottom, so that the cache holds what the next points look at.
    order = points[:, 1].argsort()
    native.run(
        native.Describe,
        **_maps_of(joined),
        **dict(zip(("hidden", "offset", "samples", "seen"), kernels, strict=True)),
        hidden_bias=hidden.bias,
        offset_bias=last.bias,
        points=points[order].contiguous(),
        descriptors=descriptors,
        corner=joined.corner,
        image_size=joined.image_size,
        count=len(points),
        sampled=last.out_channels // 2,
    )
    return torch.empty_like(descriptors).index_copy_(0, order, descriptors)


def _maps_of(joined: JoinedMap) -> dict[str, native.Value]:
    """What the heads' structures have in common."""
    return {
        "fine": joined.fine,
        "fine_weights": native.packed(joined.fine_weight),
        "coarse": joined.coarse,
        "height": joined.fine.shape[2],
        "width": joined.fine.shape[3],
        "channels": joined.fine.shape[1],
        "quarter": len(joined.fine_weight),
        "heights": tuple(each.shape[2] for each in joined.coarse),
        "widths": tuple(each.shape[3] for each in joined.coarse),
    }
