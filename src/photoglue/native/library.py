"""Finds and loads the compiled library; everything that uses it asks here, and goes on in torch if it is not there."""

import ctypes
import os
import sys
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ABI = 5
"""Changes whenever a function of the library takes or gives something else; a library of another number is not used."""
VARIABLE = "PHOTOGLUE_NATIVE"
"""The environment variable with the path of the library, if it is not beside this file; empty: use none."""
INT16_SETS = ("amx-int8", "avx512-vnni", "avx-vnni", "avx2")
"""Instruction sets with which products of int16 are faster than those of float32."""


def library_name(platform: str = sys.platform) -> str:
    """The name of the library's file on a system, as Python spells systems."""
    return "photoglue_native" + {"darwin": ".dylib", "win32": ".dll"}.get(platform, ".so")


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The library, or None if it was not built, cannot be loaded or is of another version; `absence` says which."""
    return _load()[0]


@lru_cache(maxsize=1)
def absence() -> str | None:
    """Why there is no library, as a sentence; None if there is one."""
    return _load()[1]


def available() -> bool:
    """Whether there is a library, with kernels for this processor."""
    return instruction_set() is not None


def instruction_set() -> str | None:
    """The instruction set that the kernels use here, such as "avx512-vnni"; None: there are none for this processor."""
    loaded = library()
    if loaded is None:
        return None
    name = ctypes.cast(loaded.photoglue_instruction_set(), ctypes.c_char_p).value
    return name.decode() if name else None


def int16_supported() -> bool:
    """Whether networks can compute in int16 here, faster than in float32."""
    return instruction_set() in INT16_SETS


def status() -> str:
    """What there is, in a line: the instruction set that it uses, or why it is not used."""
    if (reason := absence()) is not None:
        return reason
    from photoglue.native.build import up_to_date  # at the top, `python -m photoglue.native.build` would warn of it

    used = instruction_set() or "no kernels for this processor"
    path = _path()
    return used if up_to_date(path) else f"{used}; older than its sources: `python -m photoglue.native.build` renews it"


def _path() -> Path:
    return Path(os.environ.get(VARIABLE, FOLDER / library_name()))


@lru_cache(maxsize=1)
def _load() -> tuple[ctypes.CDLL | None, str | None]:
    path = _path()
    if not path.is_file():
        return None, "The native library was not built; `python -m photoglue.native.build` builds it."
    try:
        loaded = ctypes.CDLL(str(path))
        abi = int(loaded.photoglue_abi())
    except (OSError, AttributeError) as error:
        return None, f"The native library {str(path)!r} cannot be loaded: {error}."
    if abi != ABI:
        return None, f"The native library {str(path)!r} has the number {abi}, this version needs {ABI}: build it again."
    loaded.photoglue_instruction_set.restype = ctypes.c_void_p
    return loaded, None
