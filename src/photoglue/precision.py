"""Which floating type to compute in: as fast as the machine natively can, unless told otherwise."""

from typing import Literal, TypeAlias, get_args

import torch

from photoglue.errors import ConfigError

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
"""A floating type, or "auto": bfloat16 where the hardware multiplies it natively (CPUs with AMX or AVX512-BF16, CUDA
from compute capability 8.0), float16 on older CUDA devices, else float32."""


def choose_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The type to compute in on a device; an explicit one always wins.

    Raises:
        ConfigError: If there is no such precision.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is {precision!r}; it must be one of {', '.join(get_args(Precision))}.")
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bfloat16() else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively."""
    return bool(
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    )
