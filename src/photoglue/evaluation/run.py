"""The main line of an evaluation: features, matches, geometry, result; for each data set and method.

Whatever is random hangs on the seeds of the protocol card, and pairs are matched in fixed blocks: the same call gives
the same numbers, also if it was killed and started again.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TypeAlias

import numpy as np

from photoglue.datasets.base import DataSet, EvaluationPair
from photoglue.errors import OutputError, PhotoGlueError
from photoglue.evaluation.benchmarks.table import BENCHMARKS
from photoglue.evaluation.features import digest_of_features, feature_file
from photoglue.evaluation.jobs import Job, Settings, jobs_of
from photoglue.evaluation.journal import Journal, PairValues, digest_of_pairs
from photoglue.evaluation.matching import PairMatcher
from photoglue.evaluation.methods import Method
from photoglue.evaluation.pose_check import pose_warning
from photoglue.evaluation.results import PairRecord, Result, write_result
from photoglue.evaluation.solving import SolverPool, Task
from photoglue.files import digest_of
from photoglue.pipeline import Pipeline
from photoglue.store import FeatureStore
from photoglue.structs import Matches

PAIRS_AT_ONCE: Mapping[str, int] = MappingProxyType({"cpu": 4, "cuda": 32})
"""Matched in one call of ``match_many``, by device. A block is always matched whole, so that a resumed run has the same
blocks; a killed one loses one of them."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being done, how much of it is done, how much there is)."""


def measure(
    datasets: Sequence[DataSet],
    methods: Sequence[str | Method],
    out: Path,
    settings: Settings | None = None,
    progress: Progress = lambda what, done, total: None,  # noqa: ARG005
) -> list[Result]:
    """Measure all methods on all data sets, without a report (``evaluate`` writes one).

    Each result is written to ``out`` as ``DATASET.METHOD.json`` once it is there. ``out/features`` keeps features, and
    ``out/unfinished`` what was measured so far: it is emptied when all is done.

    Args:
        datasets: From ``load_dataset``; no two of one name.
        methods: Names as ``Method.parse`` takes them, or methods of your own.
        out: A folder; made if it is not there.
        settings: None: the defaults.
        progress: Called with how far the work is.

    Returns:
        For each data set the results of the methods, in order.

    Raises:
        ConfigError: If a method, protocol or estimator does not exist, or two data sets have one name.
        ImageError: If an image cannot be read.
        OutputError: If a file cannot be written.
        LicenceError: If weights are non-commercial and that was not accepted.
        WeightsError: If weights cannot be had or are corrupt.
        MissingExtra: If the estimator's package or h5py is not installed.
        PhotoGlueError: If a process that solves geometry was ended from outside.
    """
    settings = settings or Settings()
    jobs = jobs_of(datasets, methods, settings)
    try:
        for folder in ("features", "unfinished"):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(out)!r} cannot be made: {error.strerror}.") from error
    results: list[Result] = []
    journals: list[Path] = []
    with _worker_loss_explained(), SolverPool(settings.workers) as pool:
        for group in _groups(jobs, settings):
            for result, journal in _measure(group, out, settings, pool, progress):
                write_result(result, out / f"{result.dataset}.{safe_name(result.method)}.json")
                results.append(result)
                journals.append(journal)
    for journal in journals:
        journal.unlink(missing_ok=True)
    return results


def features_of(job: Job, pipeline: Callable[[], Pipeline], out: Path, settings: Settings, progress: Progress) -> Path:
    """The file with the features of a job's images.

    Args:
        job: Whose images.
        pipeline: Builds the job's extractor and matcher; called if features are missing.
        out: Folder of the run; the file lies in ``out/features``.
        settings: How the run is made.
        progress: Called with how far the extraction is.
    """
    fingerprint = job.method.fingerprint(settings.torch_device)
    options = {name: fingerprint.get(name) for name in ("extractor", "source", "precision", "device")} | {
        name: getattr(job.protocol, name)
        for name in ("resize", "resize_side", "max_keypoints", "nms_radius", "detection_threshold")
    }
    return feature_file(
        job.dataset,
        lambda: pipeline().extractor,
        options,
        out / "features",
        lambda done, total: progress(f"{job.dataset.name}: extract {options['extractor']}", done, total),
    )


@contextmanager
def _worker_loss_explained() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise PhotoGlueError(
            "A process that solves geometry was ended from outside, perhaps because memory ran out. What was measured "
            "is kept: run the same again, with fewer workers (0: none) if it happens again."
        ) from error


def _groups(jobs: Sequence[Job], settings: Settings) -> list[list[Job]]:
    """Jobs that are measured together: those of a data set if their times are to be compared, else each alone."""
    if not settings.time_singly:
        return [[job] for job in jobs]
    return [list(group) for _, group in groupby(jobs, key=lambda job: job.dataset.name)]


def _measure(
    jobs: Sequence[Job], out: Path, settings: Settings, pool: SolverPool, progress: Progress
) -> list[tuple[Result, Path]]:
    """The results of the jobs of one data set, each with the file that kept its values meanwhile."""
    pairs = jobs[0].dataset.pairs
    size = 1 if settings.time_singly else PAIRS_AT_ONCE.get(settings.torch_device.type, 4)
    with ExitStack() as stack:
        runs = [stack.enter_context(_Run(job, out, settings, pool, progress)) for job in jobs]
        for number, start in enumerate(range(0, len(pairs), size)):
            block = range(start, min(len(pairs), start + size))
            for one in runs if number % 2 == 0 else reversed(runs):
                one.match(block)
        return [(one.result(), one.journal.path) for one in runs]


class _Run:
    """One job while it is measured: its features and journal are open, and some pairs wait for the solver."""

    def __init__(self, job: Job, out: Path, settings: Settings, pool: SolverPool, progress: Progress) -> None:
        self.job, self.settings, self.pool, self.progress = job, settings, pool, progress
        self.device = settings.torch_device
        self.features = features_of(job, lambda: self.pipeline, out, settings, progress)
        run = {
            "method": job.method.fingerprint(self.device),
            "features": digest_of_features(self.features),
            "pairs": digest_of_pairs(job.dataset.pairs),
            "card": job.card,
            "timing": [settings.time_singly, settings.clock],
        }
        name = f"{job.dataset.name}.{safe_name(job.method.name)}.{digest_of(run)}.jsonl"
        self.journal = Journal(out / "unfinished" / name, run, pairs=len(job.dataset.pairs))
        self.matcher = PairMatcher(job, self.device)
        self.pending: deque[tuple[int, float, Future[PairValues]]] = deque()
        self.warm = not settings.time_singly

    @cached_property
    def pipeline(self) -> Pipeline:
        """Built when something is to be extracted or matched."""
        return self.job.build(self.settings)

    def __enter__(self) -> "_Run":
        self.journal.__enter__()
        self.store = FeatureStore.open(self.features)
        self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()
        self.journal.__exit__(kind, error, trace)

    def match(self, block: Sequence[int]) -> None:
        """Match some pairs and send them to the solver, unless all are done."""
        if all(i in self.journal.done for i in block):
            return
        pairs = [self.job.dataset.pairs[i] for i in block]
        verdict = self.pipeline.matcher.verdict
        read = self.matcher.read(self.store, pairs)
        if not self.warm:  # what is prepared on first use is not a pair's
            self.matcher.match(self.pipeline, read)
            self.warm = True
        now = time.process_time if self.settings.clock == "cpu" else time.perf_counter
        start = now()
        matched = self.matcher.match(self.pipeline, read)
        seconds = (now() - start) / len(block)
        for i, matches in zip(block, matched, strict=True):
            if i not in self.journal.done:
                probability = None if verdict is None else verdict(matches)
                task = _task(self.job, self.job.dataset.pairs[i], matches, probability)
                self.pending.append((i, seconds, self.pool.submit(task)))
        self._write_down(leave=2 * len(block))

    def result(self) -> Result:
        """What was measured on all pairs; waits until they are solved."""
        while self.pending:
            self._write_down(leave=len(self.pending) - 1)
        result = _result(self.job, self.journal.done, self.settings)
        first_seed = {i: values[0] for i, values in sorted(self.journal.done.items())}
        return replace(result, warning=pose_warning(self.job.dataset, first_seed, self._matches))

    def _matches(self, pairs: Sequence[EvaluationPair]) -> list[Matches]:
        return self.matcher.match(self.pipeline, self.matcher.read(self.store, pairs))

    def _write_down(self, leave: int) -> None:
        """Keeps what is solved, and waits for the oldest if there are more than ``leave`` left."""
        while self.pending and (len(self.pending) > leave or self.pending[0][2].done()):
            i, seconds, future = self.pending.popleft()
            self.journal.append(i, [{**values, "match_s": seconds} for values in future.result()])
        self._show()

    def _show(self) -> None:
        label = f"{self.job.dataset.name}: {self.job.method.name}"
        self.progress(label, len(self.journal.done), len(self.job.dataset.pairs))


def _task(job: Job, pair: EvaluationPair, matches: Matches, overlap_probability: float | None) -> Task:
    return Task(
        benchmark=job.dataset.benchmark,
        truth=pair.truth,
        matches=matches.numpy(),
        size0=job.dataset.sizes[pair.name0],
        size1=job.dataset.sizes[pair.name1],
        overlap_probability=overlap_probability,
        card=job.card,
    )


def _result(job: Job, values: Mapping[int, PairValues], settings: Settings) -> Result:
    dataset, benchmark = job.dataset, BENCHMARKS[job.dataset.benchmark]
    groups: dict[str, list[int]] = {}
    scenes: dict[str, list[int]] = {}
    for i, pair in enumerate(dataset.pairs):
        scenes.setdefault(pair.scene, []).append(i)
        group = benchmark.group_of(pair.scene)
        if group is not None:
            groups.setdefault(group, []).append(i)

    def summaries(members: Sequence[int]) -> list[dict[str, float]]:
        return [benchmark.summary([values[i][seed] for i in members]) for seed in range(job.card.seeds)]

    everything = summaries(range(len(dataset.pairs)))
    parts = {name: _mean(summaries(members)) for name, members in (groups | scenes).items()}
    return Result(
        benchmark=dataset.benchmark,
        dataset=dataset.name,
        method=job.method.resolved_name(settings.torch_device),
        card=job.card,
        values=_mean(everything),
        spread=_deviation(everything) if job.card.seeds > 1 else {},
        scenes=parts,
        records=tuple(
            PairRecord(scene=pair.scene, name0=pair.name0, name1=pair.name1, values=values[i][0])
            for i, pair in enumerate(dataset.pairs)
        ),
        images=str(dataset.folder.resolve()),
    )


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _deviation(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Standard deviation of a sample (divided by n - 1); exactly 0 for what has nothing to do with the seed."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: 0.0 if len(set(each)) == 1 else float(np.std(each, ddof=1)) for name, each in columns.items()}


def safe_name(name: str) -> str:
    """A name that a file may have; different for different names."""
    safe = re.sub(r"[^\w+.@~-]", "_", name)
    return safe if safe == name else f"{safe[-60:]}.{digest_of(name)}"
