"""Files that are whole or absent, short names for contents, and dataclasses as JSON."""

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import dacite
import pooch

from photoglue.errors import ConfigError, OutputError

T = TypeVar("T")
CACHE_VARIABLE = "PHOTOGLUE_CACHE"
LONGEST_NAME = 230
"""Bytes of the longest file name that ``check_output`` accepts: systems take 255, and the temporary name is longer."""


def cache_folder() -> Path:
    """``$PHOTOGLUE_CACHE``, or the user's cache folder for this package."""
    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("photoglue"))


def write_whole(path: Path, content: bytes | memoryview, *, advice: str = "") -> None:
    """Write a file under a temporary name, make sure that it is on the disk, and move it into place.

    Nobody ever sees half of it, and what was there before stays until then. What killed processes left under temporary
    names of this file is removed.

    Args:
        path: The file to write; its folder exists.
        content: All of it.
        advice: A sentence for the error message that says how to go on.

    Raises:
        OutputError: If it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        _remove_left_over(path)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        raise OutputError(f"{str(path)!r} cannot be written: {reason}.{' ' * bool(advice)}{advice}") from error


def _remove_left_over(path: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote this file."""
    named = re.compile(re.escape(path.name) + r"\.(\d+)\.partial")
    for entry in os.scandir(path.parent):
        found = named.fullmatch(entry.name)
        if found and not _is_alive(int(found[1])):
            Path(entry).unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    """Whether a process of this machine lives, or may live."""
    if os.name != "posix":  # where signal 0 ends the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        pass
    return True


def check_output(path: Path, formats: tuple[str, ...]) -> None:
    """Refuse a file that could not be written, before the work is done.

    Args:
        path: The file to write later.
        formats: The endings that it may have, such as ".json".

    Raises:
        ConfigError: If it has another ending.
        OutputError: If its folder does not exist or cannot be written to, it is a folder, or its name is too long.
    """
    if path.suffix.lower() not in formats:
        raise ConfigError(f"{str(path)!r} has no known format; the name must end in {', '.join(formats)}.")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise OutputError(f"{path.name[:40] + '…'!r} is too long for the name of a file: {LONGEST_NAME} bytes at most.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder {str(path.parent)!r} does not exist; make it first.")
    if path.is_dir():
        raise OutputError(f"{str(path)!r} is a folder; give a file name.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder {str(path.parent)!r} cannot be written to.")


def check_name(path: Path) -> None:
    """Refuse a name that no file can have here, such as one that is too long.

    Raises:
        OutputError: If the system says so.
    """
    try:
        path.exists()
    except (OSError, ValueError) as error:
        shown = str(path) if len(str(path)) < 100 else f"{str(path)[:60]}…{str(path)[-30:]}"
        raise OutputError(f"{shown!r} cannot be the name of a file: {getattr(error, 'strerror', error)}.") from error


def digest_of(content: Any) -> str:
    """A name of 12 letters and digits for anything that JSON can hold; another content has another one."""
    return hashlib.sha256(json.dumps(as_json(content), sort_keys=True).encode()).hexdigest()[:12]


def digest_of_file(path: Path) -> str:
    """A name of 16 letters and digits for what is in a file.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def as_json(value: Any) -> Any:
    """A dataclass, mapping, list or plain value as JSON can hold it: infinity as ``"inf"``, paths as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any, *, indent: int | None = None) -> str:
    """A dataclass or anything that ``as_json`` takes, as text."""
    return json.dumps(as_json(value), indent=indent, allow_nan=False)


def from_json(kind: type[T], content: Any, *, origin: str) -> T:
    """The dataclass that ``to_json`` wrote, checked: no field may be unknown, missing or of another type.

    Args:
        kind: The dataclass; its fields may be dataclasses, tuples, mappings and paths.
        content: Text, or what ``json.loads`` made of it.
        origin: What it comes from, for the error message, such as the name of a file.

    Raises:
        ConfigError: If it is not such a thing; the message says why.
    """
    try:
        stored = json.loads(content) if isinstance(content, str | bytes) else content
        if not isinstance(stored, Mapping):
            raise TypeError(f"an object was wanted, this is {type(stored).__name__}")
        checks = dacite.Config(strict=True, cast=[tuple, Path], type_hooks={float: float})
        return dacite.from_dict(kind, stored, checks)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    except (dacite.DaciteError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())  # the wrong value may be of several lines
        raise ConfigError(f"{origin} holds no {kind.__name__} that can be used here: {reason}.") from error


def whole_lines(path: Path, check: Callable[[Any], object] = lambda row: None) -> tuple[list[Any], int]:  # noqa: ARG005
    """The lines of a file of JSON lines, up to the first that is damaged or was cut off in the middle.

    Args:
        path: The file.
        check: Called with what a line holds; if it raises ConfigError, the line counts as damaged.

    Returns:
        What the lines hold, and their length in bytes; nothing and 0 if there is no such file.

    Raises:
        OSError: If it cannot be read.
    """
    rows: list[Any] = []
    length = 0
    if not path.exists():
        return rows, length
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            row = json.loads(line)
            check(row)
        except (ValueError, RecursionError, ConfigError):
            break
        rows.append(row)
        length += len(line)
    return rows, length
