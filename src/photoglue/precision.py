"""Where to compute and in which floating type: as fast as the machine natively can, unless told otherwise."""

from typing import Literal, TypeAlias, get_args

import torch
from torch import nn

from photoglue.errors import ConfigError
from photoglue.native.library import absence, int16_supported

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16", "int16"]
"""A floating type; "int16": products of 16-bit integers with exact sums, by the native library on a CPU; or "auto":
bfloat16 where the hardware multiplies it natively (CPUs with AMX or AVX512-BF16, CUDA from compute capability 8.0),
float16 on older CUDA devices, else float32.

int16 is LightGlue's; its rounding changes scores by about a tenth of what bfloat16's does. Extractors compute in
float32 where it is asked for."""


def choose_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The type to compute in on a device; an explicit one always wins.

    Raises:
        ConfigError: If there is no such precision, or int16 is asked for where it cannot be had.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is {precision!r}; it must be one of {', '.join(get_args(Precision))}.")
    if precision == "int16":
        require_int16(device)
        return torch.int16
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bfloat16() else torch.float32


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
