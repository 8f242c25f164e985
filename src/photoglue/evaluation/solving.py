"""Measuring pairs in worker processes, while the next ones are matched."""

import os
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
import torch

from photoglue.datasets.truths import Truth, resized_truth
from photoglue.evaluation.benchmarks.base import MatchedPair, PairBenchmark
from photoglue.evaluation.benchmarks.table import BENCHMARKS
from photoglue.evaluation.features import resize_to
from photoglue.evaluation.journal import PairValues
from photoglue.evaluation.results import ProtocolCard
from photoglue.structs import Matches
from photoglue.workers import process_pool

MOST_WORKERS = 8


@dataclass(frozen=True, kw_only=True)
class Task:
    """A pair to be measured; it can be sent to another process."""

    benchmark: str
    """A key of ``BENCHMARKS``."""
    truth: Truth
    """The truth, in pixels of the images as read and turned."""
    matches: Mapping[str, Any]
    """What ``Matches.numpy()`` gives: tensors would travel through shared memory, whose handles run out."""
    size0: tuple[int, int]
    """(width, height) of image 0 as read and turned, pixels."""
    size1: tuple[int, int]
    """(width, height) of image 1 as read and turned, pixels."""
    overlap_probability: float | None = None
    """The matcher's own verdict on the pair, in (0, 1); None: it has none."""
    card: ProtocolCard
    """The estimator, its threshold and seeds, and in which frame pixels count."""


def solve(task: Task) -> PairValues:
    """The values of a pair for each seed of the estimator; the same in every process."""
    benchmark = BENCHMARKS[task.benchmark]
    assert isinstance(benchmark, PairBenchmark)
    pair = _framed(task)
    measured = benchmark.measure(pair)
    seeds = range(task.card.seed, task.card.seed + task.card.seeds)
    return [
        measured | benchmark.estimate(pair, task.card.estimator, float(task.card.threshold_px), seed) for seed in seeds
    ]


class SolverPool:
    """Worker processes that measure pairs.

    Args:
        workers: How many; 0: none, tasks are done at once by this process. None: as many as there are other cores, 8
            at most.
    """

    def __init__(self, workers: int | None = None) -> None:
        count = min(MOST_WORKERS, (os.cpu_count() or 1) - 1) if workers is None else workers
        self._executor: ProcessPoolExecutor | None = process_pool(count) if count > 0 else None

    def submit(self, task: Task) -> "Future[PairValues]":
        """A future of the pair's values: measured by another process, or at once if there is none."""
        if self._executor is not None:
            return self._executor.submit(solve, task)
        done: Future[PairValues] = Future()
        done.set_result(solve(task))
        return done

    def __enter__(self) -> "SolverPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def _framed(task: Task) -> MatchedPair:
    """The pair in the pixels that the card says."""
    fields: dict[str, Any] = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in task.matches.items()
    }
    matches, card = Matches(**fields), task.card
    pair = MatchedPair(
        truth=task.truth,
        matches=matches,
        size0=task.size0,
        size1=task.size1,
        overlap_probability=task.overlap_probability,
    )
    if not card.resized_frame:
        return pair
    resize0, resize1 = (resize_to(size, card.resize_side, card.resize) for size in (task.size0, task.size1))
    return replace(
        pair,
        truth=resized_truth(task.truth, resize0, resize1),
        matches=replace(
            matches, keypoints0=resize0.redo(matches.keypoints0), keypoints1=resize1.redo(matches.keypoints1)
        ),
        size0=resize0.resized_size,
        size1=resize1.resized_size,
    )
