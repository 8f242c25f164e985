"""The stages of a map: how far each is, and how long it took."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Is told the stage, how much of it is done, and of how much: "extract", "match", "verify", "map"."""


class Stages:
    """The clock of all stages: ``with stages("match") as told: told(done, total)``."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._progress = progress

    @contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Time what happens inside, and tell how far it is."""
        start, cpu = time.perf_counter(), sum(os.times()[:4])
        yield lambda done, total: self._progress(name, done, total)
        spent, cpu_spent = time.perf_counter() - start, sum(os.times()[:4]) - cpu
        self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)
        self.cpu_seconds[name] = round(self.cpu_seconds.get(name, 0.0) + cpu_spent, 3)
