"""The native kernels of extractors, called with tensors; ``extract.hpp`` says what each does.

All tensors are on the CPU, float32 and dense; maps are height × width × channels in memory, their channels multiples
of 16, or 8 where ALIKED's smallest network has 8. Results are the same for any number of threads.
"""

import ctypes
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.native.library import library

Value: TypeAlias = Tensor | int | float | tuple[Tensor, ...] | tuple[int, ...] | None


def _fields(*groups: str) -> list[tuple[str, type]]:
    """Fields of a structure: by turns pointers and whole numbers; ``name:3`` is an array of three."""
    fields: list[tuple[str, type]] = []
    for names, kind in zip(groups, (ctypes.c_void_p, ctypes.c_int32) * 2, strict=False):
        for name, _, count in (each.partition(":") for each in names.split()):
            fields.append((name, kind * int(count) if count else kind))
    return fields


class FirstBlock(ctypes.Structure):
    """Block 1 of ALIKED."""

    _fields_ = _fields(
        "planes:3 weights1 bias1 weights2 bias2 fine halved", "height width channels corner:2 image_size:2"
    )


class SecondBlock(ctypes.Structure):
    """Block 2 of ALIKED."""

    _fields_ = _fields(
        "maps weights1 bias1 weights2 bias2 shortcut shortcut_bias reduction reduced pooled",
        "height width inputs outputs quarter",
    )


class ScoreHead(ctypes.Structure):
    """The score head of ALIKED."""

    _fields_ = _fields(
        "fine fine_weights mix:4 coarse:3 convs:3 scores", "height width channels quarter heights:3 widths:3"
    )


class Deform(ctypes.Structure):
    """A deformable convolution of 3 × 3, a summand and a gate."""

    _fields_ = _fields("maps offset_weights offset_bias weights bias add result", "height width inputs outputs")


class Describe(ctypes.Structure):
    """The descriptor head of ALIKED."""

    _fields_ = _fields(
        "fine fine_weights coarse:3 points hidden hidden_bias offset offset_bias samples seen descriptors",
        "height width channels quarter heights:3 widths:3 corner:2 image_size:2 count sampled",
    )


class Maxima(ctypes.Structure):
    """Suppression of what is no local maximum."""

    _fields_ = [*_fields("scores found", "height width radius rounds"), ("threshold", ctypes.c_float)]


class Conv(ctypes.Structure):
    """A 3 × 3 convolution and a ReLU."""

    _fields_ = _fields("maps weights bias result", "height width inputs outputs halved")


class Opening(ctypes.Structure):
    """The first two convolutions of SuperPoint."""

    _fields_ = _fields("plane weights1 bias1 weights2 bias2 result", "height width channels")


class Pointwise(ctypes.Structure):
    """A linear layer."""

    _fields_ = _fields("rows weights bias result", "count inputs outputs gated")


JOINED = (
    "below below_factor below_shift beside beside_factor beside_shift slopes",
    "height width below_channels beside_channels",
)
"""Fields of joined maps of DISK."""


class DiskConv(ctypes.Structure):
    """A convolution of DISK."""

    _fields_ = _fields(*JOINED, "weights bias result pooled", "outputs unused")


class DiskFirst(ctypes.Structure):
    """The first convolution of DISK."""

    _fields_ = _fields("planes weights bias result pooled", "height width outputs")


class Moments(ctypes.Structure):
    """Means and squared differences of a map's rows."""

    _fields_ = _fields("maps result", "height width channels doubled")


class DiskLogits(ctypes.Structure):
    """The output of DISK that is needed everywhere."""

    _fields_ = _fields(*JOINED, "weights bias result")


class DiskDescribe(ctypes.Structure):
    """The outputs of DISK that are needed at points."""

    _fields_ = _fields(*JOINED, "weights bias pixels result", "count outputs")


FUNCTIONS: dict[type[ctypes.Structure], str] = {
    FirstBlock: "photoglue_first_block",
    SecondBlock: "photoglue_second_block",
    ScoreHead: "photoglue_score_head",
    Deform: "photoglue_deform",
    Describe: "photoglue_describe",
    Maxima: "photoglue_maxima",
    Conv: "photoglue_conv",
    Opening: "photoglue_opening",
    Pointwise: "photoglue_pointwise",
    DiskConv: "photoglue_disk_conv",
    DiskFirst: "photoglue_disk_first",
    Moments: "photoglue_moments",
    DiskLogits: "photoglue_disk_logits",
    DiskDescribe: "photoglue_disk_describe",
}
"""The function of the library that takes a structure."""


@lru_cache(maxsize=1)
def has_kernels() -> bool:
    """Whether there is a library with these kernels for this processor."""
    loaded = library()
    return loaded is not None and bool(loaded.photoglue_extract())


def run(structure: type[ctypes.Structure], **values: Value) -> None:
    """Call the function that takes such a structure, filled with these values, in as many threads as torch has."""
    loaded = library()
    assert loaded is not None
    task = structure(**{name: _plain(value) for name, value in values.items()})
    assert len(values) == len(structure._fields_)
    getattr(loaded, FUNCTIONS[structure])(ctypes.byref(task), ctypes.c_int32(torch.get_num_threads()))


def _plain(value: Value) -> object:
    if isinstance(value, tuple):
        kind: Any = ctypes.c_int32 if isinstance(value[0], int) else ctypes.c_void_p
        return (kind * len(value))(*map(_plain, value))
    if not isinstance(value, Tensor):
        return value
    assert value.is_cpu
    assert value.dtype in (torch.float32, torch.bool, torch.int32)
    return value.data_ptr()


def packed(weight: Float[Tensor, "d c k k"]) -> Float[Tensor, " n"]:
    """A convolution's weights as the kernels want them, those with a side of 3 or 5 transformed for Winograd's way."""
    loaded = library()
    assert loaded is not None
    outputs, inputs, side = weight.shape[:3]
    columns = outputs if outputs == 8 else -outputs % 16 + outputs
    plain = weight.detach().float().contiguous(memory_format=torch.contiguous_format)
    result = plain.new_empty(columns * inputs * (1 if side == 1 else 36))
    pointers = (ctypes.c_void_p(plain.data_ptr()), ctypes.c_void_p(result.data_ptr()))
    loaded.photoglue_pack(pointers[0], outputs, inputs, side, pointers[1])
    return result


def padded(bias: Float[Tensor, " d"]) -> Float[Tensor, " n"]:
    """A bias, with zeros up to a multiple of 16."""
    return torch.nn.functional.pad(bias.detach().float(), (0, -len(bias) % 16)).contiguous()


def pointwise(
    maps: Float[Tensor, "1 c h w"],
    kernel: Float[Tensor, " n"],
    bias: Float[Tensor, " d"] | None,
    outputs: int,
    *,
    gated: bool = False,
) -> Float[Tensor, "1 d h w"]:
    """A convolution with a packed kernel of one pixel, if wanted with a SELU; ``outputs`` is a multiple of 16."""
    height, width = maps.shape[2:]
    result = maps.new_empty(1, height, width, outputs)
    run(
        Pointwise,
        rows=maps,
        weights=kernel,
        bias=bias,
        result=result,
        count=height * width,
        inputs=maps.shape[1],
        outputs=outputs,
        gated=int(gated),
    )
    return result.permute(0, 3, 1, 2)


def packed_taps(weight: Float[Tensor, "d c k k"]) -> Float[Tensor, " n"]:
    """A kernel as the product of all that it looks at, tap by tap."""
    return packed(weight.permute(0, 2, 3, 1).flatten(1)[:, :, None, None])


def dense(maps: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
    """The map with its channels side by side in memory."""
    # Of a map with one row or column torch does not know which order it has: one more copy makes sure.
    return maps.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def usable(*tensors: Tensor) -> bool:
    """Whether kernels may compute with these tensors: plain numbers on the CPU, and no gradients are wanted."""
    return has_kernels() and all(
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and not (torch.is_grad_enabled() and tensor.requires_grad)
        for tensor in tensors
    )
