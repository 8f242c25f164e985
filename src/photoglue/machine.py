"""What this machine is, in a line and as facts."""

import os
import platform
import sys
from pathlib import Path
from typing import Any, cast

import torch

from photoglue.precision import Precision, choose_device, choose_precision
from photoglue.version import __version__

CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16", "sve")
"""Those that say how fast matrix products can be, as Linux spells them."""


def version_line() -> str:
    """Version, torch, what the machine computes on, and the precision that "auto" chooses there."""
    device = choose_device(None)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return (
        f"photoglue {__version__} · torch {torch.__version__} · Python {platform.python_version()} · {name} · "
        f"precision {auto_precision(device)}"
    )


def machine() -> dict[str, Any]:
    """What timings depend on, for files of them: processor, threads, GPU, versions."""
    device = choose_device(None)
    name, flags = _processor()
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in flags],
        "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None,
        "auto_precision": auto_precision(device),
        "system": platform.platform(),
        "versions": {"photoglue": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
    }


def auto_precision(device: torch.device) -> Precision:
    """What "auto" means on a device, such as "bfloat16"."""
    return cast(Precision, str(choose_precision("auto", device)).removeprefix("torch."))


def _processor() -> tuple[str, frozenset[str]]:
    """Its name and flags; only Linux tells the flags."""
    facts: dict[str, str] = {}
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text().splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    return name, frozenset(facts.get("flags", facts.get("Features", "")).split())
