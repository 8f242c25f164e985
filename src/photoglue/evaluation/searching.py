"""Searches measured: for each data set and method the vectors of all photos, and what each query finds."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from photoglue.datasets.base import DataSet
from photoglue.errors import ConfigError
from photoglue.evaluation.benchmarks.retrieval import Retrieval
from photoglue.evaluation.features import feature_file
from photoglue.evaluation.jobs import Settings
from photoglue.evaluation.protocols import protocol_named
from photoglue.evaluation.results import PairRecord, ProtocolCard, Result, write_result
from photoglue.evaluation.run import Progress, safe_name
from photoglue.extractors import EXTRACTORS
from photoglue.extractors.named import named_extractor
from photoglue.image import read_image
from photoglue.retrieval import Describer, EfficientNetLite0, PhotoIndex, Vocabulary, mutual_neighbors
from photoglue.store import FeatureStore
from photoglue.structs import Features

NETWORK = "efficientnet"
VECTORS = ("vlad", "mean")
RERANKED = 40
"""The first photos of a ranking that "rerank" compares by their local features."""


@final
@dataclass(frozen=True, kw_only=True)
class SearchMethod:
    """What vectors are made of, and whether the first of a ranking are compared by local features."""

    name: str
    """The name that it was asked for by."""
    extractor: str | None
    """A key of ``EXTRACTORS``; None: local features are not looked at."""
    vector: str | None
    """``vlad``, or ``mean``: of the descriptors, less the mean of the vocabulary's centres."""
    network: bool
    """Whether EfficientNet-lite0's vector is used."""
    rerank: bool
    """Whether the first 40 are put in the order of how many mutual neighbours they have with the query."""

    @classmethod
    def parse(cls, text: str) -> "SearchMethod":
        """The method of that name: EXTRACTOR+vlad, EXTRACTOR+mean, efficientnet, EXTRACTOR+vlad+efficientnet.

        Any with an extractor may end in +rerank.

        Raises:
            ConfigError: If there is none.
        """
        words = text.split("+")
        extractor = words[0] if words[0] in EXTRACTORS else None
        rest = words[1:] if extractor else words
        vector = rest.pop(0) if extractor and rest and rest[0] in VECTORS else None
        network = bool(rest) and rest[0] == NETWORK
        rerank = rest[network:] == ["rerank"] and extractor is not None
        if rest[network + rerank :] or (vector is None and not network) or (extractor and vector is None):
            raise ConfigError(
                f"{text!r} is no method of search. There are EXTRACTOR+vlad, EXTRACTOR+mean, {NETWORK}, "
                f"EXTRACTOR+vlad+{NETWORK}; all but {NETWORK} alone may end in +rerank. Extractors: "
                f"{', '.join(EXTRACTORS)}."
            )
        return cls(name=text, extractor=extractor, vector=vector, network=network, rerank=rerank)


def measure_searches(
    datasets: Sequence[DataSet],
    methods: Sequence[str],
    out: Path,
    settings: Settings,
    progress: Progress = lambda what, done, total: None,  # noqa: ARG005
) -> list[Result]:
    """Measure all methods of search on all data sets; each result is written to ``out`` as well.

    Args:
        datasets: Of the kind ``retrieval``.
        methods: Names as ``SearchMethod.parse`` takes them.
        out: A folder; made if it is not there.
        settings: How; those of geometry have no meaning here.
        progress: Called with how far the work is.

    Raises:
        ConfigError: If a method does not exist, or settings are for geometry.
        ImageError, OutputError, WeightsError: If a photo, file or weights cannot be had.
    """
    if settings.estimator is not None or settings.threshold_px is not None or settings.seeds != 1:
        raise ConfigError("Searches estimate no geometry: leave out the estimator, its threshold and the seeds.")
    chosen = [SearchMethod.parse(method) for method in methods]
    (out / "features").mkdir(parents=True, exist_ok=True)
    results = []
    for dataset in datasets:
        card = protocol_named(settings.protocol, dataset.benchmark).card(dataset.image_set)
        for method in chosen:
            result = _Search(dataset, method, card, settings).result(out, progress)
            write_result(result, out / f"{dataset.name}.{safe_name(method.name)}.json")
            results.append(result)
    return results


class _Search:
    """One method on one data set."""

    def __init__(self, dataset: DataSet, method: SearchMethod, card: ProtocolCard, settings: Settings) -> None:
        self.dataset, self.method, self.card, self.settings = dataset, method, card, settings
        self.features: dict[str, Features] = {}

    def result(self, out: Path, progress: Progress) -> Result:
        """What was measured."""
        if self.method.extractor is not None:
            self._extract(self.method.extractor, out, progress)
        vectors, seconds = self._vectors(progress)
        names = self.dataset.images
        index = PhotoIndex.of_vectors(names, vectors, self.method.name)
        wanted: dict[str, set[str]] = {}
        scene_of: dict[str, str] = {}
        for pair in self.dataset.pairs:
            wanted.setdefault(pair.name0, set()).add(pair.name1)
            scene_of[pair.name0] = scene_of[pair.name1] = pair.scene
        only_queries = wanted.keys() - {pair.name1 for pair in self.dataset.pairs}
        searched = torch.tensor([name not in only_queries for name in names])
        besides = {"bytes": float(index.codes.shape[1] + 4), "describe_s": seconds}
        records = [
            self._record(index, names.index(query), searched, wanted[query], scene_of, besides)
            for query in sorted(wanted)
        ]
        return self._summed(records)

    def _extract(self, extractor: str, out: Path, progress: Progress) -> None:
        label = f"{self.dataset.name}: extract {extractor}"
        options = {"extractor": extractor, "device": self.settings.torch_device.type, "precision": "auto"} | {
            name: getattr(self.card, name) for name in ("resize", "resize_side", "max_keypoints")
        }
        path = feature_file(
            self.dataset,
            lambda: named_extractor(
                extractor,
                resize=None,
                max_keypoints=self.card.max_keypoints,
                allow_noncommercial=self.settings.allow_noncommercial,
            ).to(self.settings.torch_device),
            options,
            out / "features",
            lambda done, total: progress(label, done, total),
        )
        with FeatureStore.open(path) as store:
            self.features = {name: store[name] for name in self.dataset.images}

    def _vectors(self, progress: Progress) -> tuple[Float[Tensor, "n f"], float]:
        """A row for each image of the data set, and the CPU seconds that one took."""
        names, method = self.dataset.images, self.method
        vocabulary = None
        if method.extractor is not None:
            kinds = {features.kind for features in self.features.values()}
            vocabulary = Vocabulary.pretrained(str(*kinds))
        network = EfficientNetLite0.pretrained() if method.network else None
        rows, seconds = [], 0.0
        for done, name in enumerate(names):
            image = read_image(self.dataset.folder / name) if network is not None else None
            start = time.process_time()
            if method.vector == "mean" and vocabulary is not None:
                centred = normalize(self.features[name].descriptors, dim=1) - vocabulary.centres.mean(dim=0)
                rows.append(centred.sum(dim=0))
            else:
                rows.append(Describer(vocabulary=vocabulary, network=network).describe(self.features.get(name), image))
            seconds += time.process_time() - start
            progress(f"{self.dataset.name}: {method.name}", done + 1, len(names))
        return torch.stack(rows), seconds / len(names)

    def _record(
        self,
        index: PhotoIndex,
        query: int,
        searched: Bool[Tensor, " n"],
        wanted: set[str],
        scene_of: Mapping[str, str],
        besides: Mapping[str, float],
    ) -> PairRecord:
        found = index.search(index.vectors(query, query + 1), index.made_by, len(index)).rows[0]
        found = found[searched[found] & (found != query)]
        order = [index.names[row] for row in found.tolist()]
        if self.method.rerank:
            own = self.features[index.names[query]].descriptors
            common = [mutual_neighbors(own, self.features[name].descriptors) for name in order[:RERANKED]]
            first = [order[i] for i in sorted(range(len(common)), key=lambda i: -common[i])]
            order = first + order[RERANKED:]
        benchmark, name = Retrieval(), index.names[query]
        values = benchmark.measure(torch.tensor([each in wanted for each in order]).numpy(), len(wanted))
        group = benchmark.group_of(scene_of[name])
        if group is not None:
            values["group"] = float(benchmark.group_of(scene_of.get(order[0], "")) == group)
        return PairRecord(scene=scene_of[name], name0=name, name1=order[0], values={**values, **besides})

    def _summed(self, records: Sequence[PairRecord]) -> Result:
        benchmark, parts = Retrieval(), dict[str, list[Mapping[str, float]]]()
        for record in records:
            for part in (benchmark.group_of(record.scene), record.scene):
                if part is not None:
                    parts.setdefault(part, []).append(record.values)
        return Result(
            benchmark=self.dataset.benchmark,
            dataset=self.dataset.name,
            method=self.method.name,
            card=self.card,
            values=benchmark.summary([record.values for record in records]),
            scenes={part: benchmark.summary(values) for part, values in parts.items()},
            records=tuple(records),
            images=str(self.dataset.folder.resolve()),
        )
