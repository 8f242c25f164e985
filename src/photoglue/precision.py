"""Where to compute and in which floating type: as fast as the machine natively can, unless told otherwise."""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

import torch
from torch import nn
from torch.nn import functional

from photoglue.errors import ConfigError
from photoglue.native.library import absence, int16_supported
from photoglue.probe import Choice, Contenders, fastest, settled

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16", "int16"]
"""A floating type; "int16": products of 16-bit integers with exact sums, by the native library on a CPU; or "auto":
what this machine was measured to be fastest in, of what costs few matches. On CPUs LightGlue computes in int16 where
the library has fast products of them, else in float32; bfloat16 must be half as fast again (with AMX it may be). CUDA:
bfloat16 from compute capability 8.0, float16 before.

int16 is LightGlue's; its rounding changes scores by about a tenth of what bfloat16's does. Extractors compute in
float32 where it is asked for."""
Work: TypeAlias = Literal["products", "extraction"]
"""What is computed: linear layers, or the convolutions of an extractor."""
WORTH_IT = 1.5
"""bfloat16 costs a hundredth of the matches: it must be so many times as fast as what is more exact."""


def choose_precision(precision: Precision, device: torch.device, work: Work = "products") -> torch.dtype:
    """The type to compute in on a device; an explicit one always wins.

    Args:
        precision: The wish; "auto" measures on a CPU, once.
        device: Where it is computed.
        work: What is computed.

    Raises:
        ConfigError: If there is no such precision, int16 is asked for where it cannot be had, or ``PHOTOGLUE_AUTO``
            names no precision.
    """
    check_precision(precision)
    if precision == "int16":
        if work == "extraction":
            return torch.float32
        require_int16(device)
        return torch.int16
    name = precision if precision != "auto" else auto_precision(device, work).chosen
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def check_precision(precision: str) -> None:
    """Refuse what is no precision.

    Raises:
        ConfigError: If there is none of that name.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is {precision!r}; it must be one of {', '.join(get_args(Precision))}.")


def auto_precision(device: torch.device, work: Work) -> Choice:
    """What "auto" means for some work on a device, and why."""
    if device.type != "cpu":
        return auto_elsewhere(device, work)
    return _auto_on_cpu(work)


@lru_cache
def _auto_on_cpu(work: Work) -> Choice:
    if not cpu_has_bfloat16():
        return Choice(name=work, chosen="float32", reason="this CPU has no bfloat16 products")
    contenders = {"products": _linear_layers, "extraction": _convolutions}[work]
    fixed = settled(work, ("float32", "bfloat16"), bfloat16_by_rule())
    return fixed or fastest(work, contenders, usual="float32", margin=WORTH_IT)


def auto_elsewhere(device: torch.device, name: str) -> Choice:
    """What "auto" means for anything on a device that is no CPU."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        chosen = "bfloat16" if (major, minor) >= (8, 0) else "float16"
        return Choice(name=name, chosen=chosen, reason=f"compute capability {major}.{minor}")
    return Choice(name=name, chosen="float32", reason=f"nothing is known of {device.type}")


def bfloat16_by_rule() -> Literal["float32", "bfloat16"]:
    """The type that a CPU's flags speak for: only AMX multiplies bfloat16 much faster than float32 everywhere."""
    return "bfloat16" if torch.cpu._is_amx_tile_supported() else "float32"


def _linear_layers() -> Contenders:
    """A linear layer of a matcher with the points of one photo."""
    tensors = [torch.ones(512, 512), torch.ones(512, 512), torch.ones(512)]

    def layer(dtype: torch.dtype) -> Callable[[], object]:
        arguments = [tensor.to(dtype) for tensor in tensors]
        return lambda: torch.ops.mkldnn._linear_pointwise(*arguments, "none", [], "")

    return {"float32": layer(torch.float32), "bfloat16": layer(torch.bfloat16)}


def _convolutions() -> Contenders:
    """A convolution of the middle of an extractor."""

    def layer(dtype: torch.dtype) -> Callable[[], object]:
        image, kernel = (
            torch.ones(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
            for shape in ((1, 64, 64, 64), (64, 64, 3, 3))
        )
        return lambda: functional.conv2d(image, kernel, padding=1)

    return {"float32": layer(torch.float32), "bfloat16": layer(torch.bfloat16)}


def require_int16(device: torch.device) -> None:
    """Refuse int16 where the native library is not there, or has nothing for the device.

    Raises:
        ConfigError: If so; the message says what to do.
    """
    if device.type != "cpu":
        raise ConfigError(f'precision "int16" is for CPUs; the device is {str(device)!r}. Use "auto" there.')
    if not int16_supported():
        reason = absence() or "The native library has no kernels for this processor: it needs AVX2 or better."
        raise ConfigError(f'precision is "int16". {reason} precision="float32" works everywhere.')


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device to compute on: the one that is named; None: a GPU if there is one, else the CPU.

    Raises:
        ConfigError: If there is no such device, or torch cannot use it here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (AssertionError, RuntimeError) as error:  # an assertion if torch was built without that kind of device
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"The device {str(device)!r} cannot be used here: {reason}. Use 'cpu', or leave the device out."
        ) from error
    return chosen


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively."""
    return bool(
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    )


def without_autocast(device: torch.device) -> torch.autocast:
    """A context in which networks compute in what they were told, whatever ``torch.autocast`` is around it.

    Positions and scores in half precision, as autocast would have them, are off by pixels.
    """
    return torch.autocast(device.type, enabled=False)


def require_float32(module: nn.Module) -> None:
    """Refuse a network whose weights ``half()``, ``double()`` or the like converted.

    Raises:
        ConfigError: If its weights are of another type than float32.
    """
    parameter = next(module.parameters(), None)
    if parameter is not None and parameter.dtype != torch.float32:
        raise ConfigError(
            f"The weights are {parameter.dtype}; they must be torch.float32. Use .float(), and choose what is computed "
            'in by precision="float16" or the like, which knows what has to stay exact.'
        )
