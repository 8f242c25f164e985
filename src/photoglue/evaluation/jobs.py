"""What there is to evaluate: settings, and for each data set and method a job."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from photoglue.datasets.base import DataSet
from photoglue.errors import ConfigError
from photoglue.evaluation.methods import Method
from photoglue.evaluation.protocols import Protocol, protocol_named
from photoglue.evaluation.results import ProtocolCard
from photoglue.pipeline import Pipeline
from photoglue.precision import choose_device


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
    time_singly: bool = False
    """Match pairs one by one, each by all methods in turn, so that ``match_s`` is a pair's own and can be compared
    between methods. Otherwise pairs are matched in blocks, and share the time of their block."""
    clock: Literal["wall", "cpu"] = "wall"
    """What ``match_s`` counts: seconds that pass, or those that this process computes, all its threads together. The
    latter is for one thread on a machine that does other work too."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially."""

    @property
    def torch_device(self) -> torch.device:
        """The chosen device."""
        return choose_device(self.device)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One method on one data set."""

    dataset: DataSet
    """The data set, without the scenes that the protocol drops."""
    method: Method
    """What is measured."""
    protocol: Protocol
    """The protocol for the data set's kind of benchmark, with the points and sizes of the method if it has its own."""
    card: ProtocolCard
    """The protocol with what was overridden."""

    def build(self, settings: Settings) -> Pipeline:
        """The extractor and the matcher of the method.

        Raises:
            ConfigError, LicenceError, WeightsError: As ``Method.build`` does.
        """
        return self.method.build(self.protocol, settings.torch_device, allow_noncommercial=settings.allow_noncommercial)


def jobs_of(datasets: Sequence[DataSet], methods: Sequence[str | Method], settings: Settings) -> list[Job]:
    """What there is to do, data set by data set; refuses what cannot be done before anything is.

    Raises:
        ConfigError: If a method, protocol or estimator does not exist, two data sets have one name, or two methods are
            the same on this device.
    """
    chosen = [Method.parse(method) if isinstance(method, str) else method for method in methods]
    names = [dataset.name for dataset in datasets]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"Two data sets are named {name!r}; their results would be mixed up. Rename a folder.")
    resolved = [method.resolved_name(settings.torch_device) for method in chosen]
    for method, name in zip(chosen, resolved, strict=True):
        if resolved.count(name) > 1:
            raise ConfigError(f"{method.name!r} is asked for twice: on this machine it is {name!r}. Name it once.")
    jobs = []
    for dataset in datasets:
        protocol = protocol_named(settings.protocol, dataset.benchmark)
        kept = _without_dropped(dataset, protocol)
        card = protocol.card(
            kept.image_set, estimator=settings.estimator, threshold_px=settings.threshold_px, seeds=settings.seeds
        )
        jobs += [Job(dataset=kept, method=method, protocol=method.seen(protocol), card=card) for method in chosen]
    return jobs


def _without_dropped(dataset: DataSet, protocol: Protocol) -> DataSet:
    kept = tuple(pair for pair in dataset.pairs if pair.scene.split("/")[-1] not in protocol.dropped_scenes)
    if len(kept) == len(dataset.pairs):
        return dataset
    if not kept:
        raise ConfigError(f"The protocol {protocol.name!r} leaves out all scenes of {dataset.name!r}.")
    scenes = {pair.scene for pair in dataset.pairs} - {pair.scene for pair in kept}
    return replace(dataset, pairs=kept, image_set=f"{dataset.image_set}, without {len(scenes)} scenes")
