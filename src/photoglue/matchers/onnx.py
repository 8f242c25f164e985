"""A matcher that `photoglue export matcher` wrote, run by onnxruntime."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from photoglue.errors import WeightsError
from photoglue.exported import OnnxFile
from photoglue.files import from_json
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue.assignment import unmatched
from photoglue.matchers.lightglue.config import options_from_json
from photoglue.matchers.lightglue.inputs import checked_pairs
from photoglue.matchers.lightglue.verdict import PairVerdict
from photoglue.structs import Features, Matches


class OnnxMatcher(Matcher):
    """LightGlue from an exported file: every pair runs all layers with all points.

    PyTorch holds the arrays and computes nothing. Give it as ``matcher=`` wherever a matcher is taken.

    Args:
        file: The file, open.
    """

    verdict: PairVerdict | None = None

    def __init__(self, file: OnnxFile) -> None:
        file.require_role("matcher")
        if file.certificate.flavour != "photoglue":
            raise WeightsError(
                f"{str(file.path)!r} is made for {file.certificate.flavour}; export it again with --flavour photoglue."
            )
        self.file = file
        self.graph_sha256 = file.certificate.graph_sha256  # kept with matches, as what made them
        self.shape, self.config = options_from_json(file.certificate.options, repr(str(file.path)))
        if file.certificate.verdict:
            self.verdict = from_json(PairVerdict, file.certificate.verdict, origin=repr(str(file.path)))

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, providers: Sequence[str] | None = None, threads: int | None = None
    ) -> "OnnxMatcher":
        """The matcher in an exported file.

        Args:
            path: The file.
            providers: Providers of onnxruntime, such as "CUDAExecutionProvider"; None: the fastest that are there.
            threads: Threads on a CPU; None: as many as PyTorch takes.

        Raises:
            WeightsError: If it is missing, cut off, no ONNX file, none of ours, or no matcher.
            ConfigError: If a provider is not there.
            MissingExtra: If onnxruntime is not installed.
        """
        threads = torch.get_num_threads() if threads is None else threads
        return cls(OnnxFile(path, providers=providers, threads=threads, allow_noncommercial=True))

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.file.path, self.file.providers)

    def match_many(self, pairs: Iterable[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, in their order, one pair at a time.

        Args:
            pairs: Two images each.

        Raises:
            FeatureKindError: If the model was not trained for these features.
            ShapeError: If descriptors have the wrong width, scales are missing, or values are not finite.
        """
        return [self._match(*pair) for pair in checked_pairs(pairs, self.shape, torch.device("cpu"))]

    def _match(self, features0: Features, features1: Features) -> Matches:
        inputs = graph_inputs(features0, 0) | graph_inputs(features1, 1)
        found = {name: torch.from_numpy(array[0].copy()) for name, array in self.file.run(**inputs).items()}
        n_layers = self.shape.n_layers
        prune = [torch.full((len(features),), n_layers) for features in (features0, features1)]
        matches = unmatched(features0, features1, n_layers, n_layers, *prune)
        for name, field in NAMES.items():
            getattr(matches, field).copy_(found[name])
        return replace(matches, precision=f"onnx-{self.file.certificate.dtype}")


def _again(path: Path, providers: tuple[str, ...]) -> OnnxMatcher:
    """For other processes."""
    return OnnxMatcher.from_file(path, providers=providers)


NAMES = {
    "matches0": "matches0",
    "matches1": "matches1",
    "mscores0": "matching_scores0",
    "mscores1": "matching_scores1",
}
"""Output of the graph → field of the matches."""


def graph_inputs(features: Features, image: int) -> dict[str, np.ndarray]:
    """The inputs of an exported matcher for one of its two images, as a batch of one.

    Args:
        features: Features of the image.
        image: 0 or 1, which ends the names.
    """
    features = features.as_described() if features.quarters else features
    arrays = {
        "kpts": features.keypoints,
        "desc": features.descriptors.float(),
        "mask": torch.ones(len(features), dtype=torch.bool),
        "image_size": torch.tensor(features.image_size, dtype=torch.float32),
        "scales": features.scales,
        "oris": features.orientations,
    }
    return {
        f"{name}{image}": np.ascontiguousarray(array.detach().cpu().numpy())[None]
        for name, array in arrays.items()
        if array is not None
    }
