"""DISK's U-Net by way of the native kernels: the same numbers as those of the layers in torch, in less time."""

from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from photoglue.extractors.deform_conv import empty_map
from photoglue.extractors.disk_joined import Joined, Norm
from photoglue.extractors.disk_layers import EPSILON, Convolution, UNet
from photoglue.extractors.memory import Memory
from photoglue.native import extract as native


def join(unet: UNet, image: Float[Tensor, "3 h w"], missing: tuple[int, int], memory: Memory) -> Joined:
    """The input of the last convolution for an image; see ``UNet.forward``. Whoever is done with it may ``release`` it.

    Args:
        unet: The network.
        image: RGB in [0, 1].
        missing: Pixels (x, y) on the right and at the bottom up to a multiple of 16.
        memory: Memory for the results.
    """
    first, *downs = unet.downs
    maps, pooled = _of_image(first, image, missing, memory)
    skipped = [maps]
    for conv in downs:
        height, width = pooled.shape[2:]
        maps = empty_map(pooled, _outputs(conv), height, width, torch.float32)
        halved = (
            empty_map(pooled, _outputs(conv), height // 2, width // 2, torch.float32) if conv is not downs[-1] else None
        )
        _convolve(conv, {"below": None, **_normed("beside", pooled, _norm(pooled))}, maps, halved)
        skipped.append(maps)
        pooled = maps if halved is None else halved
    maps = skipped.pop()
    *ups, last = unet.ups
    for up in ups:
        beside = skipped.pop()
        result = memory.take(f"up{len(skipped)}", _outputs(up), *beside.shape[2:])
        _convolve(up, _joined(_join(maps, beside, up.slopes)), result, None)
        if len(skipped) < 2:
            memory.give(f"up{len(skipped) + 1}", maps)
        maps = result
    return _join(maps, skipped.pop(), last.slopes)


def release(joined: Joined, memory: Memory) -> None:
    """Leave the memory of a map that nobody needs any more to the next one."""
    memory.give("up1", joined.below)
    memory.give("down", joined.beside)


def logits(unet: UNet, joined: Joined) -> Float[Tensor, "h w"]:
    """The detection logit of every pixel; see ``UNet.logits``."""
    conv = cast("nn.Conv2d", unet.last[3])
    weight, bias = conv.weight, cast("Tensor", conv.bias)
    kernel = unet.last.derived.get(
        ("native", "logits"),
        (weight,),
        lambda: native.packed(weight[-1].permute(2, 1, 0).flatten(0, 1)[:, :, None, None]),
    )
    result = joined.beside.new_empty(joined.beside.shape[2:])
    native.run(native.DiskLogits, **_joined(joined), weights=kernel, bias=bias[-1:].contiguous(), result=result)
    return result


def descriptors(unet: UNet, joined: Joined, pixels: Int64[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
    """The other output channels at whole pixels (x, y), not normalised; see ``UNet.descriptors``."""
    conv = cast("nn.Conv2d", unet.last[3])
    weight, bias = conv.weight, cast("Tensor", conv.bias)
    kernel = unet.last.derived.get(("native", "descriptors"), (weight,), lambda: native.packed_taps(weight[:-1]))
    result = joined.beside.new_empty(len(pixels), len(bias) - 1)
    native.run(
        native.DiskDescribe,
        **_joined(joined),
        weights=kernel,
        bias=bias[:-1],
        pixels=pixels.to(torch.int32).contiguous(),
        result=result,
        count=len(pixels),
        outputs=result.shape[1],
    )
    return result


def _of_image(
    conv: Convolution, image: Float[Tensor, "3 h w"], missing: tuple[int, int], memory: Memory
) -> tuple[Float[Tensor, "1 c h16 w16"], Float[Tensor, "1 c h8 w8"]]:
    """The convolution of an image, brought to about zero mean, and its average over 2 × 2 pixels."""
    weight, _ = conv.parts("all", torch.float32)
    width, height = image.shape[2] + missing[0], image.shape[1] + missing[1]
    maps = memory.take("down", len(weight), height, width)
    pooled = empty_map(image, len(weight), height // 2, width // 2, torch.float32)
    native.run(
        native.DiskFirst,
        planes=functional.pad(image, (2, 2 + missing[0], 2, 2 + missing[1])),
        weights=conv.derived.get("native", (weight,), lambda: weight.permute(1, 2, 3, 0).contiguous()),
        bias=-weight.sum(dim=(2, 3)) @ (image.sum(dim=(1, 2)) / (height * width)),
        result=maps,
        pooled=pooled,
        height=height,
        width=width,
        outputs=len(weight),
    )
    return maps, pooled


def _convolve(
    conv: Convolution,
    joined: dict[str, native.Value],
    result: Float[Tensor, "1 d h w"],
    pooled: Float[Tensor, "1 d h2 w2"] | None,
) -> None:
    plain = cast("nn.Conv2d", conv[3])
    none: dict[str, native.Value] = {"below_factor": None, "below_shift": None, "below_channels": 0}
    native.run(
        native.DiskConv,
        **{**none, **joined, "slopes": conv.slopes},
        weights=conv.derived.get("native", (plain.weight,), lambda: native.packed(plain.weight)),
        bias=plain.bias,
        result=result,
        pooled=pooled,
        outputs=result.shape[1],
        unused=0,
    )


def _join(below: Float[Tensor, "1 c h2 w2"], beside: Float[Tensor, "1 s h w"], slopes: Float[Tensor, " k"]) -> Joined:
    norms = {"norm_below": _norm(below, doubled=True), "norm_beside": _norm(beside)}
    return Joined(below=below, beside=beside, **norms, slopes=slopes, native=True)


def _joined(joined: Joined) -> dict[str, native.Value]:
    """Joined maps as the kernels take them."""
    return {
        **_normed("below", joined.below, joined.norm_below),
        **_normed("beside", joined.beside, joined.norm_beside),
        "slopes": joined.slopes,
    }


def _normed(name: str, maps: Float[Tensor, "1 c h w"], norm: Norm) -> dict[str, native.Value]:
    size: dict[str, native.Value] = {"height": maps.shape[2], "width": maps.shape[3]} if name == "beside" else {}
    factor, shift = (value.flatten() for value in norm)
    return {name: maps, f"{name}_factor": factor, f"{name}_shift": shift, f"{name}_channels": maps.shape[1], **size}


def _norm(maps: Float[Tensor, "1 c h w"], *, doubled: bool = False) -> Norm:
    """Factor and summand of the instance norm of a map, or of the map at twice its size."""
    channels, height, width = maps.shape[1:]
    scale = 2 if doubled else 1
    rows = maps.new_empty(height * scale, 2, channels)
    native.run(
        native.Moments, maps=maps, result=rows, height=height, width=width, channels=channels, doubled=int(doubled)
    )
    means, squares = rows.double().unbind(dim=1)
    mean = means.mean(dim=0)
    variance = squares.mean(dim=0) + (means - mean).square().mean(dim=0)
    factor = (variance + EPSILON).rsqrt()
    return factor.float()[None, :, None, None], (-mean * factor).float()[None, :, None, None]


def _outputs(conv: Convolution) -> int:
    return cast("nn.Conv2d", conv[3]).out_channels
