"""Where the chunks of a batch are worked on: in this process, or in several."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, TypeVar, final

import torch

from photoglue.errors import ConfigError
from photoglue.workers import in_order

State = TypeVar("State")
Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


class Engine(ABC):
    """Has a function applied to every chunk, in any order, each at least once.

    A chunk is known by its key. Doing one again gives the same result, so that an engine may repeat what was lost with
    a process or a machine.
    """

    for_cpus: ClassVar[bool] = False
    """Whether its workers compute on CPUs alone."""

    @abstractmethod
    def map(
        self, work: Callable[[State, Chunk], Result], state: State, chunks: Mapping[str, Chunk]
    ) -> Iterator[tuple[str, Result]]:
        """(key, ``work(state, chunk)``) of each chunk, as they are done.

        Args:
            work: A function at the top of a module.
            state: What all chunks need.
            chunks: Chunks by key.
        """

    def checked_for(self, device: torch.device) -> "Engine":
        """This engine, if what it is to send to its workers is on a device that they can use.

        Raises:
            ConfigError: If it is not.
        """
        if self.for_cpus and device.type != "cpu":
            name = type(self).__name__
            raise ConfigError(f"The workers of {name} are for CPUs, and this is for {device}. Use Inline().")
        return self


@final
@dataclass(frozen=True)
class Inline(Engine):
    """All work is done by this process, with all threads of torch."""

    def map(
        self, work: Callable[[State, Chunk], Result], state: State, chunks: Mapping[str, Chunk]
    ) -> Iterator[tuple[str, Result]]:
        """One chunk after the other."""
        for key, chunk in chunks.items():
            yield key, work(state, chunk)


@final
@dataclass(frozen=True, kw_only=True)
class Threads(Engine):
    """Several threads of this process, for work most of which other threads need not wait for, such as PoseLib's."""

    workers: int
    """How many threads, at least 1."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers is {self.workers}; it must be at least 1. Without threads, use Inline().")

    def map(
        self, work: Callable[[State, Chunk], Result], state: State, chunks: Mapping[str, Chunk]
    ) -> Iterator[tuple[str, Result]]:
        """Several chunks at a time, given back in their order."""
        pool = ThreadPoolExecutor(self.workers)
        waiting: deque[tuple[str, Future[Result]]] = deque()
        try:
            for key, chunk in chunks.items():
                waiting.append((key, pool.submit(work, state, chunk)))
                if len(waiting) > 2 * self.workers:  # not all at once: results wait in memory
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@final
@dataclass(frozen=True, kw_only=True)
class Processes(Engine):
    """Several processes of one thread each, on CPUs. A script that starts them must be guarded by ``__name__``."""

    for_cpus: ClassVar[bool] = True
    workers: int
    """How many processes, at least 1."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers is {self.workers}; it must be at least 1. Without processes, use Inline().")

    def map(
        self, work: Callable[[State, Chunk], Result], state: State, chunks: Mapping[str, Chunk]
    ) -> Iterator[tuple[str, Result]]:
        """Several chunks at a time, given back in their order."""
        yield from zip(chunks, in_order(work, state, chunks.values(), self.workers), strict=True)
