"""Chunks of a batch on many machines, by Ray (https://docs.ray.io).

All machines have PhotoGlue and see the same files under the same paths; they share nothing else. Results come back to
the process that asked, the only one that writes the store: the features of ten thousand photos pass a network of
1 Gbit/s in a minute and a half, and take hours to extract; and one file is resumed, checked and read as any other is.
"""

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, final

from photoglue.batch.engine import Chunk, Engine, Result, State
from photoglue.errors import ConfigError, PhotoGlueError, require
from photoglue.workers import set_threads

CHUNKS_AT_ONCE = 8
"""Chunks of a task, at most: with those of ``extract`` and ``match``, 64 photos or 256 pairs."""
IN_FLIGHT = 2
"""Tasks that a worker has at a time: one to work on, and the next."""
RETRIES = 3
"""How often a worker that died is started again, and a task that died with it repeated."""


@final
@dataclass(frozen=True, kw_only=True)
class Ray(Engine):
    """Workers of one CPU each, on one machine or many: actors of Ray, which get the extractor or matcher once.

    A worker that dies is started again, and what it was working on is done again, which costs up to 64 photos or 256
    pairs. Where Ray is connected already, that cluster is used; else this connects, and disconnects in the end.
    """

    for_cpus: ClassVar[bool] = True
    workers: int
    """How many, at least 1, and not more than the cluster has CPUs."""
    address: str | None = None
    """Address of a cluster, such as "auto" on one of its machines, or "HOST:6379"; None: a new one on this machine."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers is {self.workers}; it must be at least 1. Without Ray, use Inline().")

    def map(
        self, work: Callable[[State, Chunk], Result], state: State, chunks: Mapping[str, Chunk]
    ) -> Iterator[tuple[str, Result]]:
        """Several chunks at a time, given back as they are done.

        Raises:
            ConfigError: If the cluster cannot be reached, has too few CPUs, or its machines do not see this folder.
            PhotoGlueError: If workers die again and again.
            MissingExtra: If Ray is not installed.
        """
        if not chunks:
            return
        with self._connected() as ray:
            task = ray.put(ray.cloudpickle.dumps((work, state, str(Path.cwd()))))
            worker = ray.remote(_Worker).options(num_cpus=1, max_restarts=RETRIES, max_task_retries=RETRIES)
            tasks = deque(_grouped(list(chunks.items()), self.workers))
            actors = [worker.remote() for _ in range(min(self.workers, len(tasks)))]
            running: dict[Any, Any] = {}
            try:
                for actor in actors * IN_FLIGHT:
                    if tasks:  # [task], or Ray would send all of it with each call
                        running[actor.work.remote([task], tasks.popleft())] = actor
                while running:
                    (done,), _ = ray.wait(list(running), num_returns=1)
                    actor = running.pop(done)
                    results = _result(ray, done)
                    if tasks:
                        running[actor.work.remote([task], tasks.popleft())] = actor
                    yield from results
            finally:
                for actor in actors:
                    ray.kill(actor)

    @contextmanager
    def _connected(self) -> Iterator[ModuleType]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or it tells its makers
        ray = require("ray", extra="ray")
        ours = not ray.is_initialized()
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "WARNING"}
        try:
            if ours and self.address is None:
                ray.init("local", num_cpus=self.workers, include_dashboard=False, **options)
            elif ours:
                ray.init(self.address, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"There is no cluster of Ray at {self.address!r}: {str(error).splitlines()[0]} Start one with "
                "`ray start --head`, or give the address that it printed."
            ) from error
        try:
            if (there := ray.cluster_resources().get("CPU", 0)) < self.workers:
                raise ConfigError(f"{self.workers} workers need as many CPUs, and the cluster has {there:g}.")
            yield ray
        finally:
            if ours:
                ray.shutdown()


class _Worker:
    """What an actor does: keeps the task that it got first, and works on chunks."""

    def __init__(self) -> None:
        self.task: tuple[Callable[[Any, Any], Any], Any] | None = None

    def work(self, task: Sequence[Any], chunks: Sequence[tuple[str, Any]]) -> bytes:
        """The results in one piece, by key."""
        if self.task is None:
            set_threads(1, 1)
            work, state, folder = pickle.loads(require("ray", extra="ray").get(task[0]))
            if not Path(folder).is_dir():
                raise ConfigError(
                    f"{os.uname().nodename} sees no folder {folder!r}: all machines must see the same files under the "
                    "same paths."
                )
            os.chdir(folder)  # paths may be relative
            self.task = work, state
        work, state = self.task
        return pickle.dumps([(key, work(state, chunk)) for key, chunk in chunks])


def _grouped(chunks: Sequence[tuple[str, Chunk]], workers: int) -> Iterator[list[tuple[str, Chunk]]]:
    """The chunks of each task: fewer than the most where all workers would not get some."""
    size = max(1, min(CHUNKS_AT_ONCE, len(chunks) // (IN_FLIGHT * workers)))
    for start in range(0, len(chunks), size):
        yield list(chunks[start : start + size])


def _result(ray: ModuleType, reference: Any) -> Any:
    try:
        return pickle.loads(ray.get(reference))
    except ray.exceptions.RayActorError as error:
        raise PhotoGlueError(
            f"A worker ended unexpectedly more than {RETRIES} times (killed for lack of memory?). Run the same again, "
            "with fewer workers: it goes on from here."
        ) from error
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
