"""Fair timing: the contestants take turns, so that what else the machine does hits all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Some measurements of one thing."""

    median: float
    low: float
    """The lower quartile."""
    high: float
    """The upper quartile."""
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """The spread of at least one value."""
        if len(values) == 1:
            return cls(*values * 5)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, min(values), max(values))


def alternate(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run: all once to warm up, then ``rounds`` times all in turn.

    Every second round goes backwards, so that nobody always follows the same one.
    """
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds):
        names = list(functions)
        for name in names if turn % 2 == 0 else reversed(names):
            start = time.perf_counter()
            functions[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def speedups(seconds: Mapping[str, list[float]], reference: str) -> dict[str, Spread]:
    """How many times faster than the reference each is: the ratio within each round, then its spread."""
    return {
        name: Spread.of([theirs / own for theirs, own in zip(seconds[reference], times, strict=True)])
        for name, times in seconds.items()
    }
