"""A staged matcher as an ordinary ``Matcher``."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from photoglue.errors import ConfigError, WeightsError
from photoglue.export.runtime import StagedMatcher
from photoglue.exported import Certificate, chosen_providers
from photoglue.files import from_json
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlueConfig
from photoglue.matchers.lightglue.assignment import unmatched
from photoglue.matchers.lightglue.config import options_from_json
from photoglue.matchers.lightglue.inputs import checked_pairs
from photoglue.matchers.lightglue.verdict import PairVerdict
from photoglue.matchers.onnx import NAMES
from photoglue.structs import Features, Matches

CERTIFICATE = "staged.json"
"""Name of the certificate in the folder of a staged matcher."""


def read_staged(folder: Path) -> Certificate:
    """The certificate of a folder that ``export_staged`` wrote.

    Raises:
        WeightsError: If it is none.
    """
    try:
        return from_json(Certificate, (folder / CERTIFICATE).read_text(), origin=repr(str(folder)))
    except (OSError, ConfigError) as error:
        raise WeightsError(f"{str(folder)!r} is no staged matcher of `photoglue export`: {error}") from error


class StagedLightGlue(Matcher):
    """A staged matcher as a ``Matcher``; every pair exits on its own and drops points on its own.

    Args:
        folder: The folder that ``export_staged`` wrote.
        config: When to exit and to drop points; ``n_layers`` and ``filter_threshold`` are those of the files.
        providers: Providers of onnxruntime; None: the fastest that are there.

    Raises:
        WeightsError: If it is no such folder.
    """

    verdict: PairVerdict | None = None

    def __init__(
        self,
        folder: str | os.PathLike[str],
        config: LightGlueConfig | None = None,
        *,
        providers: Sequence[str] | None = None,
    ) -> None:
        certificate = read_staged(Path(folder))
        self.shape, stored = options_from_json(certificate.options, str(folder))
        self.config = config or stored
        self.graph_sha256 = certificate.graph_sha256  # kept with matches, as what made them
        if certificate.verdict:
            self.verdict = from_json(PairVerdict, certificate.verdict, origin=str(folder))
        self.folder, self.providers = Path(folder), providers
        threads = torch.get_num_threads()
        self.runtime = StagedMatcher(folder, providers=chosen_providers(providers), threads=threads)

    def __reduce__(self) -> tuple[Any, ...]:
        return StagedLightGlue, (self.folder, self.config)

    def match_many(self, pairs: Iterable[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, in their order, one pair at a time."""
        return [self._match(*pair) for pair in checked_pairs(pairs, self.shape, torch.device("cpu"))]

    def _match(self, features0: Features, features1: Features) -> Matches:
        found = run_staged(self.runtime, (features0, features1), self.config)
        arrays = {name: torch.from_numpy(found[name]) for name in (*NAMES, "prune0", "prune1")}
        prune = arrays["prune0"], arrays["prune1"]
        matches = unmatched(features0, features1, self.shape.n_layers, int(found["stop"]), *prune)
        for name, field in NAMES.items():
            getattr(matches, field).copy_(arrays[name])
        return replace(matches, precision="onnx-float32")


def run_staged(runtime: StagedMatcher, pair: tuple[Features, Features], config: LightGlueConfig) -> dict[str, Any]:
    """What the runtime finds for the features of two images."""
    both = [features.as_described() if features.quarters else features for features in pair]
    points = [(each.keypoints.numpy(), each.descriptors.float().numpy(), each.image_size) for each in both]
    extra: dict[str, Any] = {}
    if runtime.with_scales:
        extra["scales"] = tuple(cast("Tensor", each.scales).numpy() for each in both)
        extra["orientations"] = tuple(cast("Tensor", each.orientations).numpy() for each in both)
    minimum = config.pruning_min_keypoints
    return runtime.match(
        *points[0],
        *points[1],
        **extra,
        depth_confidence=config.depth_confidence,
        width_confidence=config.width_confidence,
        pruning_min_keypoints=-1 if minimum is None else minimum,
    )
