"""An exported file and its certificate: what is in it, whose weights, and how well it agrees with PyTorch.

The certificate is JSON, in the file's own metadata and in a file beside it. ``photoglue.export`` makes both;
``OnnxMatcher`` and ``OnnxExtractor`` read them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from photoglue.errors import ConfigError, LicenceError, WeightsError, require
from photoglue.files import from_json

METADATA = "photoglue"
"""Name of the certificate among the metadata of a file."""
SLOWER_FIRST = ("CPUExecutionProvider", "TensorrtExecutionProvider", "AzureExecutionProvider")
"""Providers of onnxruntime that are not chosen unasked while there is another."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of a graph."""

    name: str
    """Name in the graph."""
    type: str
    """Type of its elements, such as "float32"."""
    shape: tuple[str, ...]
    """Its axes: a number, or the name of a length that may change."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison of a file with PyTorch."""

    name: str
    """What was given to both, such as the names of two photos."""
    real: bool
    """Whether it came from photos, and not from random numbers."""
    sizes: tuple[int, int]
    """Points of the two images; of an extractor width and height of the photo."""
    count: int
    """Matches, or points, that PyTorch finds."""
    equal: float
    """Share of the points whose match is the same; of an extractor, of the points that are found at the same place."""
    max_error: float
    """Largest difference of two scores; where scores exceed 1 (DISK's), as a share of the largest."""
    mean_error: float
    """Mean difference of two scores."""
    position_error: float | None = None
    """Largest distance of two points that count as the same, pixels; None for matchers."""
    descriptor_error: float | None = None
    """Largest difference of two values of descriptors; None for matchers."""
    exit_layer: int | None = None
    """Layer after which the file's runtime was done; None for files without exits."""
    expected_exit: int | None = None
    """Layer after which PyTorch was done; None for files without exits."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What an exported file is, and how well it agrees with PyTorch."""

    role: str
    """"matcher", "extractor" or "staged": a matcher in several files."""
    features: str
    """Kind of the features, such as "aliked-n16"; of a matcher the first of those that it was trained for."""
    flavour: str
    """The program that it is made for: "photoglue" for the general form."""
    dtype: str
    """Floating type of the layers' products; inputs and outputs are float32."""
    opset: int
    """Version of ONNX's operations."""
    options: str
    """What else the graph depends on, as JSON: shape and options of the network."""
    weights: str
    """Name of the weights."""
    weights_digest: str
    """First 16 digits of the SHA-256 of the tensors."""
    licence: str
    """Licence of the weights; "unknown" for a checkpoint of your own."""
    commercial: bool
    """Whether it allows commercial use, as far as is known."""
    source: str
    """Where the weights come from."""
    inputs: tuple[Port, ...]
    """Inputs of the graph."""
    outputs: tuple[Port, ...]
    """Outputs of the graph."""
    graph_sha256: str
    """SHA-256 of the file without its metadata; hexadecimal."""
    file_sha256: str = ""
    """SHA-256 of the file; in the file's own metadata it is empty."""
    providers: tuple[str, ...] = ()
    """Providers of onnxruntime that the checks ran on."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the programs that made and checked it."""
    checks: tuple[Check, ...] = ()
    """Comparisons with PyTorch."""
    consumers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What is known to stand against reading the file, by program; nothing where nothing is known."""
    verdict: str = ""
    """What the scores mean, as JSON; empty: nothing is known."""

    @property
    def faults(self) -> list[str]:
        """Everything in which it does not agree with PyTorch as it should, in words; nothing if all is well.

        In single precision all matches are equal, and 99.8 % of an extractor's points: of two neighbours whose scores
        differ by a rounding error either may be found. Scores differ by up to 5e-5 (by 1e-4 for matchers with scale and
        orientation, of which PyTorch's own single precision is as far from double, and by 2e-4 for both networks in one
        file, where the matcher gets points that differ already), points by 1e-3 pixels, and values of descriptors by
        2e-3. In half precision 98.5 % of the matches are equal.
        """
        exact = self.dtype == "float32"
        least = (0.998 if self.role == "extractor" else 1.0) if exact else 0.985
        scales = any(port.name.startswith("scales") for port in self.inputs)
        most = 2e-4 if self.role == "pipeline" else 1e-4 if scales else 5e-5
        faults = []
        for check in self.checks:
            if check.equal < least:
                faults.append(f"{check.name}: {check.equal:.2%} equal")
            if exact and check.max_error > most:
                faults.append(f"{check.name}: scores differ by {check.max_error:.1e}")
            if (check.position_error or 0) > 1e-3:
                faults.append(f"{check.name}: points differ by {check.position_error:.1e} pixels")
            if (check.descriptor_error or 0) > 2e-3:
                faults.append(f"{check.name}: descriptors differ by {check.descriptor_error:.1e}")
            if check.exit_layer != check.expected_exit:
                faults.append(f"{check.name}: exit after layer {check.exit_layer}, not {check.expected_exit}")
        return faults


def certificate_path(path: Path) -> Path:
    """The file beside an exported file that holds its certificate."""
    return path.with_name(f"{path.name}.json")


def cases_path(path: Path) -> Path:
    """The file beside an exported file that holds inputs and what PyTorch makes of them."""
    return path.with_name(f"{path.name}.npz")


class OnnxFile:
    """An exported file, open in onnxruntime.

    Args:
        path: The file.
        providers: Providers of onnxruntime, the preferred first; None: the fastest that are there, and the CPU.
        threads: Threads on a CPU; 0: onnxruntime's choice.
        allow_noncommercial: Accept weights whose licence forbids commercial use.

    Raises:
        WeightsError: If it is missing, cut off, no ONNX file, or none of ours.
        LicenceError: If the weights are non-commercial and that was not accepted.
        ConfigError: If a provider is not there.
        MissingExtra: If onnxruntime is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        providers: Sequence[str] | None = None,
        threads: int = 0,
        allow_noncommercial: bool = False,
    ) -> None:
        self.path = Path(path)
        session = _session(self.path, chosen_providers(providers), threads)
        self._run = session.run
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        text = session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise WeightsError(
                f"{str(self.path)!r} is an ONNX file, but none that `photoglue export` wrote: it has no certificate. "
                "Its inputs are " + ", ".join(each.name for each in session.get_inputs()) + "."
            )
        try:
            self.certificate = from_json(Certificate, text, origin=repr(str(self.path)))
        except ConfigError as error:
            raise WeightsError(f"The certificate in the file cannot be read: {error}") from error
        if not self.certificate.commercial and not allow_noncommercial:
            raise LicenceError(
                f"The weights in {str(self.path)!r} are not known to be free for commercial use: "
                f"{self.certificate.licence}. If your use is allowed, say so with allow_noncommercial=True "
                "(--allow-noncommercial)."
            )

    def require_role(self, role: str) -> None:
        """Refuse a file that is something else.

        Raises:
            WeightsError: If it is.
        """
        if self.certificate.role != role:
            raise WeightsError(f"{str(self.path)!r} is a file of role {self.certificate.role!r}; {role!r} was wanted.")

    def run(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of the graph by name, for inputs by name; those that the graph does not have are left out."""
        names = [port.name for port in self.certificate.outputs]
        known = {port.name for port in self.certificate.inputs}
        outputs = self._run(names, {name: array for name, array in inputs.items() if name in known})
        return dict(zip(names, outputs, strict=True))


def chosen_providers(wanted: Sequence[str] | None) -> list[str]:
    """The providers of onnxruntime to run on.

    Args:
        wanted: Their names; None: the fastest that are there, and the CPU.

    Raises:
        ConfigError: If one is not there; the message lists those that are.
        MissingExtra: If onnxruntime is not installed.
    """
    there = list(require("onnxruntime", extra="export").get_available_providers())
    if wanted is None:
        return [each for each in there if each not in SLOWER_FIRST] + ["CPUExecutionProvider"]
    if missing := [each for each in wanted if each not in there]:
        raise ConfigError(
            f"onnxruntime has no provider {', '.join(missing)} here. There are: {', '.join(there)}. Others come with "
            "other packages, such as onnxruntime-gpu."
        )
    return list(wanted)


def _session(path: Path, providers: Sequence[str], threads: int) -> Any:
    onnxruntime = require("onnxruntime", extra="export")
    if path.is_dir():
        raise WeightsError(f"{str(path)!r} is a folder; staged matchers are opened by photoglue.export.load_matcher().")
    if not path.is_file():
        raise WeightsError(f"There is no file {str(path)!r}.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{str(path)!r} cannot be read as an ONNX file: {reason}. It may be cut off, or another file."
        ) from error
