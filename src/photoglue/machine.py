"""What this machine is, in one line and as facts."""

import os
import platform
import sys
from typing import Any

import torch

from photoglue.matchers.lightglue.engine.choice import matching_choice, matching_precision
from photoglue.matchers.lightglue.engine.kernels import attention_choice
from photoglue.native import library
from photoglue.native.extract import has_kernels
from photoglue.precision import Precision, choose_device
from photoglue.precision import auto_precision as auto_precision_of
from photoglue.probe import Choice, processor
from photoglue.version import __version__

CPU_FLAGS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "sve",
)
"""Flags of processors that say how fast matrix products can be, as Linux spells them."""


def version_line() -> str:
    """Version, torch, what the machine computes on, and the precision that "auto" chooses for matching there."""
    device = choose_device(None)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return (
        f"photoglue {__version__} · torch {torch.__version__} · Python {platform.python_version()} · {name} · "
        f"precision {auto_precision(device)}"
    )


def choices() -> list[Choice]:
    """What was chosen on this machine, measured or by its flags, and why: the first call on a machine measures."""
    device = choose_device(None)
    extraction = auto_precision_of(device, "extraction")
    found = [matching_choice(device), extraction]
    if device.type == "cpu" and has_kernels():
        reason = f"native, ALIKED and DISK; others {extraction.chosen}, {extraction.reason}"
        found[1] = Choice(name="extraction", chosen="float32", reason=reason)
    if device.type == "cpu":
        types = dict.fromkeys(choice.chosen for choice in found if choice.chosen != "int16")
        found += [attention_choice(getattr(torch, name)) for name in types]
    return found


def choice_lines() -> list[str]:
    """The choices and the native library, a line each, for people."""
    return [*map(str, choices()), f"native: {library.status()}"]


def machine() -> dict[str, Any]:
    """The facts that timings depend on, to be stored with them: processor, threads, GPU, versions."""
    device = choose_device(None)
    name, flags = processor()
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in flags],
        "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None,
        "auto_precision": auto_precision(device),
        "choices": {choice.name: [choice.chosen, choice.reason] for choice in choices()},
        "native": library.status(),
        "system": platform.platform(),
        "versions": {"photoglue": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
    }


def auto_precision(device: torch.device) -> Precision:
    """The precision that "auto" chooses for LightGlue on a device, such as "int16"."""
    return matching_precision("auto", device)
