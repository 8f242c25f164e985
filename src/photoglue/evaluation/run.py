"""The main line of an evaluation: features, matches, geometry, result; for each data set and method.

Whatever is random hangs on the seeds of the protocol card, and pairs are matched in fixed blocks: the same call gives
the same numbers, also if it was killed and started again.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch

from photoglue.errors import ConfigError, OutputError
from photoglue.evaluation.base import DataSet, EvaluationPair
from photoglue.evaluation.benchmarks import BENCHMARKS
from photoglue.evaluation.cached import feature_file
from photoglue.evaluation.journal import Journal, PairValues, digest_of, digest_of_pairs
from photoglue.evaluation.methods import Method
from photoglue.evaluation.protocols import Protocol, protocol_named
from photoglue.evaluation.results import PairRecord, ProtocolCard, Result
from photoglue.evaluation.solving import SolverPool, Task
from photoglue.matchers.base import Matcher
from photoglue.store import FeatureStore
from photoglue.structs import Matches

PAIRS_AT_ONCE: Mapping[str, int] = MappingProxyType({"cpu": 4, "cuda": 32})
"""Matched in one call of ``match_many``, by device. A block is always matched whole, so that a resumed run has the same
blocks; a killed one loses one of them."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being done, how much of it is done, how much there is)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to evaluate."""

    protocol: str = "photoglue"
    """Name of the protocol."""
    estimator: str | None = None
    """Another estimator than the protocol's."""
    threshold_px: float | None = None
    """Another threshold than the protocol's, pixels."""
    seeds: int = 1
    """Over so many seeds of the estimator values are averaged; matching is done once."""
    device: str | None = None
    """Where to extract and match; None: on a GPU if there is one."""
    workers: int | None = None
    """Processes that solve geometry; 0: none, None: one for each core but one."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially."""

    @property
    def torch_device(self) -> torch.device:
        """The chosen device."""
        return torch.device(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))


@dataclass(frozen=True, kw_only=True)
class Job:
    """One method on one data set."""

    dataset: DataSet
    """Without the scenes that the protocol drops."""
    method: Method
    """What is measured."""
    protocol: Protocol
    """Of the data set's kind of benchmark."""
    card: ProtocolCard
    """The protocol with what was overridden."""


def evaluate(
    datasets: Sequence[DataSet],
    methods: Sequence[str],
    out: Path,
    settings: Settings | None = None,
    progress: Progress = lambda what, done, total: None,  # noqa: ARG005
) -> list[Result]:
    """Measure all methods on all data sets.

    Each result is written to ``out`` as ``DATASET.METHOD.json`` once it is there. ``out/features`` keeps features, and
    ``out/unfinished`` what was measured so far: it is emptied when all is done.

    Args:
        datasets: From ``load_dataset``; no two of one name.
        methods: Names as ``Method.parse`` takes them.
        out: A folder; made if it is not there.
        settings: None: the defaults.
        progress: Told how far the work is.

    Returns:
        For each data set the results of the methods, in order.

    Raises:
        ConfigError: If a method, protocol or estimator does not exist, or two data sets have one name.
        ImageError: If an image cannot be read.
        OutputError: If a file cannot be written.
        LicenceError: If weights are non-commercial and that was not accepted.
        WeightsError: If weights cannot be had or are corrupt.
        MissingExtra: If the estimator's package or h5py is not installed.
    """
    settings = settings or Settings()
    jobs = jobs_of(datasets, methods, settings)
    try:
        for folder in ("features", "unfinished"):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(out)!r} cannot be made: {error.strerror}.") from error
    results, journals = [], []
    with SolverPool(settings.workers) as pool:
        for job in jobs:
            values, journal = _measure(job, out, settings, pool, progress)
            result = _result(job, values, settings)
            result.to_json(out / f"{_file_name(result)}.json")
            results.append(result)
            journals.append(journal)
    for journal in journals:
        journal.unlink(missing_ok=True)
    return results


def jobs_of(datasets: Sequence[DataSet], methods: Sequence[str], settings: Settings) -> list[Job]:
    """What there is to do; refuses what cannot be done before anything is."""
    names = [dataset.name for dataset in datasets]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"Two data sets are named {name!r}; their results would be mixed up. Rename a folder.")
    jobs = []
    for dataset in datasets:
        protocol = protocol_named(settings.protocol, dataset.benchmark)
        kept = _without_dropped(dataset, protocol)
        card = protocol.card(
            kept.image_set, estimator=settings.estimator, threshold_px=settings.threshold_px, seeds=settings.seeds
        )
        jobs += [Job(dataset=kept, method=Method.parse(text), protocol=protocol, card=card) for text in methods]
    return jobs


def features_of(job: Job, out: Path, settings: Settings, progress: Progress) -> Path:
    """The file with the features of a job's images, extracted if they are not there yet."""
    fingerprint = job.method.fingerprint(settings.torch_device)
    options = {name: fingerprint[name] for name in ("extractor", "precision", "device")} | {
        name: getattr(job.protocol, name)
        for name in ("resize", "resize_side", "max_keypoints", "nms_radius", "detection_threshold")
    }
    return feature_file(
        job.dataset,
        lambda: job.method.build_extractor(
            job.protocol, settings.torch_device, allow_noncommercial=settings.allow_noncommercial
        ),
        options,
        out / "features",
        lambda done, total: progress(f"{job.dataset.name}: extract {job.method.extractor}", done, total),
    )


def match_block(
    store: FeatureStore, matcher: Matcher, pairs: Sequence[EvaluationPair], device: torch.device
) -> list[Matches]:
    """Matches of some pairs, in main memory."""
    names = sorted({name for pair in pairs for name in (pair.name0, pair.name1)})
    features = {name: store[name].to(device) for name in names}
    found = matcher.match_many([(features[pair.name0], features[pair.name1]) for pair in pairs])
    return [matches.cpu() for matches in found]


def _measure(
    job: Job, out: Path, settings: Settings, pool: SolverPool, progress: Progress
) -> tuple[dict[int, PairValues], Path]:
    """The values of all pairs by number, and the file that kept them meanwhile."""
    features = features_of(job, out, settings, progress)
    device, pairs = settings.torch_device, job.dataset.pairs
    run = {
        "method": job.method.fingerprint(device),
        "features": features.name,
        "pairs": digest_of_pairs(pairs),
        "card": asdict(job.card),
    }
    label = f"{job.dataset.name}: {job.method.name}"
    journal_path = out / "unfinished" / f"{job.dataset.name}.{_safe(job.method.name)}.{digest_of(run)}.jsonl"
    with Journal(journal_path, run) as journal, FeatureStore.open(features) as store:
        progress(label, len(journal.done), len(pairs))
        pending: deque[tuple[int, float, Future[PairValues]]] = deque()
        matcher: Matcher | None = None
        size = PAIRS_AT_ONCE.get(device.type, 4)
        for block in _blocks(len(pairs), size, journal.done):
            if matcher is None:
                kind = store[pairs[0].name0].kind or job.method.extractor
                matcher = job.method.build_matcher(kind, device)
            start = time.perf_counter()
            matched = match_block(store, matcher, [pairs[i] for i in block], device)
            seconds = (time.perf_counter() - start) / len(block)
            for i, matches in zip(block, matched, strict=True):
                if i not in journal.done:
                    pending.append((i, seconds, pool.submit(_task(job, pairs[i], matches))))
            _write_down(pending, journal, leave=2 * size)
            progress(label, len(journal.done), len(pairs))
        while pending:
            _write_down(pending, journal, leave=len(pending) - 1)
            progress(label, len(journal.done), len(pairs))
        return dict(journal.done), journal_path


def _blocks(count: int, size: int, done: Mapping[int, PairValues]) -> Iterator[range]:
    """The blocks that are not done."""
    for start in range(0, count, size):
        block = range(start, min(count, start + size))
        if any(i not in done for i in block):
            yield block


def _task(job: Job, pair: EvaluationPair, matches: Matches) -> Task:
    return Task(
        benchmark=job.dataset.benchmark,
        truth=pair.truth,
        matches=matches.numpy(),
        size0=job.dataset.sizes[pair.name0],
        size1=job.dataset.sizes[pair.name1],
        card=job.card,
    )


def _write_down(pending: deque[tuple[int, float, "Future[PairValues]"]], journal: Journal, leave: int) -> None:
    """Keeps what is solved, and waits for the oldest if there are more than ``leave`` left."""
    while pending and (len(pending) > leave or pending[0][2].done()):
        i, seconds, future = pending.popleft()
        # Reading the features counts; a block's time is shared equally by its pairs.
        journal.append(i, [{**values, "match_s": seconds} for values in future.result()])


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
    """Of the sample: divided by one less than there are; exactly 0 for what has nothing to do with the seed."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: 0.0 if len(set(each)) == 1 else float(np.std(each, ddof=1)) for name, each in columns.items()}


def _without_dropped(dataset: DataSet, protocol: Protocol) -> DataSet:
    kept = tuple(pair for pair in dataset.pairs if pair.scene.split("/")[-1] not in protocol.dropped_scenes)
    if len(kept) == len(dataset.pairs):
        return dataset
    if not kept:
        raise ConfigError(f"The protocol {protocol.name!r} leaves out all scenes of {dataset.name!r}.")
    scenes = {pair.scene for pair in dataset.pairs} - {pair.scene for pair in kept}
    return replace(dataset, pairs=kept, image_set=f"{dataset.image_set}, without {len(scenes)} scenes")


def _file_name(result: Result) -> str:
    return f"{result.dataset}.{_safe(result.method)}"


def _safe(name: str) -> str:
    """A name that a file may have; different for different names."""
    safe = re.sub(r"[^\w+.@-]", "_", name)
    return safe if safe == name else f"{safe[-60:]}.{digest_of(name)}"
