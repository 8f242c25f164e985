"""From a source of pairs to batches on the device, read ahead.

Pair number g of a run is a fixed pair of the source: whoever resumes at g, with any number of processes and workers,
gets what would have come. A batch travels as a few flat tensors, not as hundreds of small ones: from a worker through
one block of shared memory, to a GPU in one copy.
"""

import io
import itertools
import math
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from photoglue.errors import ConfigError, PhotoGlueError
from photoglue.training.config import TrainingConfig
from photoglue.training.distributed import Processes
from photoglue.training.pairs.base import PairSource, TrainingPair


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedPairs:
    """Pairs whose tensors stand back to back in one flat tensor for each type."""

    skeleton: bytes
    """The pairs, pickled, with numbers in place of tensors."""
    layout: tuple[tuple[torch.dtype, tuple[int, ...]], ...]
    """Type and shape of each tensor, in their order."""
    flat: tuple[Shaped[Tensor, " _"], ...]
    """A flat tensor for each type, in the order in which the types first appear."""

    @classmethod
    def pack(cls, pairs: Sequence[Any]) -> "PackedPairs":
        """Pack pairs that are in main memory, prepared or not."""
        tensors: list[Tensor] = []
        text = io.BytesIO()
        _Numbering(text, tensors).dump(list(pairs))
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor.detach().flatten())
        return cls(
            skeleton=text.getvalue(),
            layout=tuple((tensor.dtype, tuple(tensor.shape)) for tensor in tensors),
            flat=tuple(torch.cat(same) for same in kinds.values()),
        )

    def unpack(self) -> list[Any]:
        """The pairs again; their tensors are views of the flat ones."""
        parts = {
            flat.dtype: iter(
                torch.split(flat, [math.prod(shape) for dtype, shape in self.layout if dtype == flat.dtype])
            )
            for flat in self.flat
        }
        tensors = [next(parts[dtype]).view(shape) for dtype, shape in self.layout]
        return list(_Filling(io.BytesIO(self.skeleton), tensors).load())

    def to(self, device: torch.device) -> "PackedPairs":
        """Copy to a device; from pinned memory the copy runs while the GPU works."""
        return replace(self, flat=tuple(flat.to(device, non_blocking=True) for flat in self.flat))

    def pin_memory(self) -> "PackedPairs":
        """Copy to memory that a GPU reads by itself; torch's loader calls this."""
        return replace(self, flat=tuple(flat.pin_memory() for flat in self.flat))


class Batches:
    """The batches of one process, from a given one on; it measures how long the trainer waits for them."""

    def __init__(
        self,
        source: PairSource,
        config: TrainingConfig,
        processes: Processes,
        *,
        start: int = 0,
        prepare: Callable[[TrainingPair, int], Any] | None = None,
    ) -> None:
        """
        Args:
            source: Gives the pairs.
            config: Batch size, parts and workers of the run.
            processes: The processes that train together; each gets an equal part of a batch.
            start: Number of the first batch.
            prepare: Applied to each pair and its number in the run by the process that reads it; None: pairs come as
                they are.

        Raises:
            ConfigError: If a batch cannot be divided equally, or the source is empty.
        """  # noqa: D205, D212
        share = config.batch_size // (processes.count * config.accumulate)
        if share * processes.count * config.accumulate != config.batch_size:
            raise ConfigError(
                f"A batch of {config.batch_size} pairs cannot be divided equally among {processes.count} processes "
                f"with {config.accumulate} parts each. Choose a multiple of {processes.count * config.accumulate}."
            )
        if not len(source):
            raise ConfigError("There are no pairs to train on.")
        workers = _readers(processes.device) if config.workers is None else config.workers
        self.waited_s = 0.0
        """Seconds that the trainer has waited so far."""
        self._device = processes.device
        loader: DataLoader[PackedPairs | PhotoGlueError] = DataLoader(
            _Numbered(source, config, processes, prepare, workers),
            batch_size=None,
            sampler=itertools.count(start),
            num_workers=workers,
            worker_init_fn=_begin_worker,
            pin_memory=processes.device.type == "cuda",
        )
        self._batches: Iterator[PackedPairs | PhotoGlueError] = iter(loader)

    def __iter__(self) -> Iterator[list[Any]]:
        return self

    def __next__(self) -> list[Any]:
        """This process's part of the next batch, on its device."""
        before = time.perf_counter()
        try:
            packed = next(self._batches)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise PhotoGlueError(
                "A process that reads pairs ended unexpectedly (killed for lack of memory?). Resume the run from its "
                "last checkpoint, with fewer --workers."
            ) from error
        self.waited_s += time.perf_counter() - before
        if isinstance(packed, PhotoGlueError):
            raise packed
        return packed.to(self._device).unpack()

    def close(self) -> None:
        """End the workers."""
        self._batches = iter(())


class _Numbered(Dataset[PackedPairs | PhotoGlueError]):
    """Batch number → this process's part of it."""

    def __init__(
        self,
        source: PairSource,
        config: TrainingConfig,
        processes: Processes,
        prepare: Callable[[TrainingPair, int], Any] | None,
        workers: int,
    ) -> None:
        self.source, self.prepare, self.workers, self.batch_size = source, prepare, workers, config.batch_size
        size = config.batch_size // processes.count
        self.part = range(processes.rank * size, (processes.rank + 1) * size)

    def __getitem__(self, batch: int) -> PackedPairs | PhotoGlueError:
        first = batch * self.batch_size
        try:
            # Sources give their pairs in an order that is random already.
            pairs = [(self.source.pair(*divmod(first + i, len(self.source))), first + i) for i in self.part]
            prepare = self.prepare or (lambda pair, _: pair)
            return PackedPairs.pack([prepare(*numbered) for numbered in pairs])
        except PhotoGlueError as error:  # raised again in the trainer's process, without this one's traceback
            if self.workers == 0:
                raise
            return error


class _Numbering(pickle.Pickler):
    """Pickles all but tensors, which it collects."""

    def __init__(self, file: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.tensors = tensors

    def persistent_id(self, item: Any) -> int | None:
        if not isinstance(item, Tensor):
            return None
        self.tensors.append(item)
        return len(self.tensors) - 1


class _Filling(pickle.Unpickler):
    """Puts the tensors back. Reads only what this program has just pickled itself."""

    def __init__(self, file: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(file)
        self.tensors = tensors

    def persistent_load(self, number: int) -> Tensor:
        return self.tensors[number]


def _readers(device: torch.device) -> int:
    """Processes that read for one that trains: a core reads and labels some 250 pairs a second, GPUs train on more."""
    if device.type == "cpu":
        return 1
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(8, cores - 1))


def _begin_worker(_: int) -> None:
    # Ctrl-C goes to all processes of a terminal, SIGTERM to all of a batch system's job. The trainer finishes its step
    # and ends the workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
