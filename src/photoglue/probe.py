"""What is fastest on this machine, measured and not read off the processor's flags.

Flags promise what a processor can do, not how fast: bfloat16 products may run at half the rate of float32 or at six
times it. So contenders take turns for some milliseconds, once a machine: what was measured is kept in the cache folder,
and all processes choose alike. Within a process a choice never changes.

``PHOTOGLUE_AUTO=rules`` measures nothing and goes by flags. ``PHOTOGLUE_AUTO=matching=float32,extraction=bfloat16``
fixes single choices; the others are measured.
"""

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from photoglue.errors import ConfigError, OutputError
from photoglue.files import cache_folder, write_whole

VARIABLE = "PHOTOGLUE_AUTO"
RULES = "rules"
FORMAT = 2
"""Raised when contenders change, so that what was measured before counts no more."""

Contenders = Mapping[str, Callable[[], object]]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen among several ways of computing one thing, and why."""

    name: str
    """What it is for, such as "matching" or "attention in float32"."""
    chosen: str
    """The way that is taken, such as "bfloat16" or "torch"."""
    reason: str
    """Why, in words: times that were measured, a flag, or a variable of the environment."""

    def __str__(self) -> str:
        return f"{self.name}: {self.chosen} ({self.reason})"


def settled(name: str, options: tuple[str, ...], rule: str) -> Choice | None:
    """The choice that the environment makes; None: it leaves it to a measurement.

    Args:
        name: What the choice is for, as ``PHOTOGLUE_AUTO`` spells it.
        options: All that could be chosen.
        rule: The one that the processor's flags speak for.

    Raises:
        ConfigError: If ``PHOTOGLUE_AUTO`` names something else.
    """
    value = os.environ.get(VARIABLE, "").strip()
    if value == RULES:
        return Choice(name=name, chosen=rule, reason=f"by the processor's flags: {VARIABLE}={RULES}")
    for part in filter(None, (part.strip() for part in value.split(","))):
        key, _, wanted = (word.strip() for word in part.partition("="))
        if key == name:
            if wanted not in options:
                raise ConfigError(f"{VARIABLE} wants {part!r}; {name} can be {', '.join(options)}.")
            return Choice(name=name, chosen=wanted, reason=f"{VARIABLE}={value}")
    return None


def fastest(
    name: str,
    contenders: Callable[[], Contenders],
    *,
    usual: str,
    margin: float,
    threads: bool = False,
    rounds: int = 5,
) -> Choice:
    """The usual way, or another one that was measured to be faster by a margin; in a process it is always the same.

    Args:
        name: What it is for; with the machine, the key of what is kept in the cache folder.
        contenders: Makes the functions that are measured, by name; called only if there is something to measure.
        usual: The contender that is taken if no other is faster by the margin.
        margin: How many times faster another one must be.
        threads: Whether the number of threads may change the answer. Where it changes results, processes with one
            thread and with many should choose alike.
        rounds: How often each contender runs, after once to warm up.
    """
    if name not in _CHOSEN:
        path = cache_folder() / "probes" / f"{_key(name, threads)}.json"
        ms = _read(path)
        if ms is None or usual not in ms:
            ms = _kept(path, _measured(contenders(), rounds), usual)
        _CHOSEN.setdefault(name, _chosen(name, ms, usual, margin))  # of several threads that measure, one decides
    return _CHOSEN[name]


_CHOSEN: dict[str, Choice] = {}


def _chosen(name: str, ms: Mapping[str, float], usual: str, margin: float) -> Choice:
    best = min(ms, key=lambda way: ms[way] * (1 if way == usual else margin))
    shown = ", ".join(f"{way} {value:.2f} ms" for way, value in ms.items())
    but = "" if best == min(ms, key=ms.__getitem__) else f"; another would have to be {margin:g} times as fast"
    return Choice(name=name, chosen=best, reason=f"measured: {shown}{but}")


@lru_cache(maxsize=1)
def processor() -> tuple[str, frozenset[str]]:
    """Name and flags of the processor; only Linux tells the flags."""
    facts: dict[str, str] = {}
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text().splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    return name, frozenset(facts.get("flags", facts.get("Features", "")).split())


def _key(name: str, threads: bool) -> str:
    """A name for the machine and what is measured on it. Virtual machines often hide their model, but not the flags."""
    cpu, flags = processor()
    capability = torch.backends.cpu.get_cpu_capability()
    facts = [FORMAT, name, cpu, sorted(flags), torch.__version__, capability, torch.get_num_threads() if threads else 0]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _measured(contenders: Contenders, rounds: int) -> dict[str, float]:
    """The least milliseconds of each contender: they take turns, so that what else the machine does hits all."""
    # One thread's own time does not run while other programs have the core; that of several threads cannot be told.
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    ms = dict.fromkeys(contenders, math.inf)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        for function in contenders.values():
            function()  # oneDNN builds its kernels at first use
        for _ in range(rounds):
            for name, function in contenders.items():
                start = clock()
                function()
                ms[name] = min(ms[name], 1000 * (clock() - start))
    return ms


def _read(path: Path) -> dict[str, float] | None:
    """What was measured before; None if there is nothing, or nothing that can be used."""
    try:
        ms = {str(way): float(value) for way, value in json.loads(path.read_bytes())["ms"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return ms if all(0 < value < math.inf for value in ms.values()) else None


def _kept(path: Path, ms: dict[str, float], usual: str) -> dict[str, float]:
    """Keep what was measured, unless another process was faster: then its numbers hold here, too."""
    mine = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError, OutputError):  # a folder that cannot be written to: the next process measures again
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(mine, json.dumps({"cpu": processor()[0], "ms": ms}).encode())
        try:
            os.link(mine, path)
        except OSError:  # it exists, or the file system knows no links
            if usual not in (_read(path) or {}):
                mine.replace(path)
    with suppress(OSError):
        mine.unlink(missing_ok=True)
    there = _read(path)
    return there if there is not None and usual in there else ms
