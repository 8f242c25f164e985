"""LightGlue in stages, whose runtime exits early and drops points: `photoglue export matcher --staged`.

One layer and one head are traced; the files of the others differ in their weights alone.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from photoglue.errors import ConfigError, OutputError, WeightsError
from photoglue.export.cases import SIZES, Case, cases_to_bytes, made_up, plain_reference, read_cases
from photoglue.export.convert import PRODUCER, check_opset, ports
from photoglue.export.matcher import matcher_of, pairs_for
from photoglue.export.runtime import StagedMatcher
from photoglue.export.staged_matcher import CERTIFICATE, read_staged
from photoglue.export.stages import stages
from photoglue.export.verify import compared, versions
from photoglue.exported import Certificate, Check, chosen_providers
from photoglue.files import to_json, write_whole
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.lightglue.config import options_from_json, options_to_json
from photoglue.matchers.onnx import graph_inputs
from photoglue.structs import Features

CASES = "staged.npz"
"""Name of the file in the folder of a staged matcher that says what PyTorch finds."""


def export_staged(
    out: str | os.PathLike[str],
    features: str | LightGlue = "aliked",
    *,
    n_layers: int | None = None,
    opset: int = 18,
    photos: Sequence[str | os.PathLike[str]] = (),
) -> Certificate:
    """Write LightGlue as a folder of ONNX files, whose runtime exits early and drops points as PyTorch does.

    ``photoglue.export.runtime.StagedMatcher``, which needs numpy and onnxruntime alone, runs them;
    ``load_matcher(folder)`` is the same as a ``Matcher``. The folder holds embed.onnx, layer0.onnx, …, head0.onnx, …,
    the certificate staged.json, and staged.npz, what it was checked with.

    Args:
        out: The folder; it is made.
        features: A name as ``LightGlue.pretrained`` takes it, a checkpoint of your own, or a model.
        n_layers: Only the first so many layers, at least 2; None: all.
        opset: Version of ONNX's operations, from 18 on.
        photos: Photos to check with, each with the next one; none: those that come with scikit-image.

    Returns:
        The certificate; its ``faults`` are empty if all agrees with PyTorch, exit layers included.

    Raises:
        ConfigError: If there are no such features, layers or opset.
        WeightsError: If the weights cannot be had.
        OutputError: If the files cannot be written.
        MissingExtra: If onnx, onnxscript or onnxruntime are not installed.
    """
    check_opset(opset)
    folder = Path(out)
    model, origin = matcher_of(features, n_layers)
    if model.shape.n_layers < 2:
        raise ConfigError("A staged matcher has at least 2 layers: with one there is nothing to leave out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CERTIFICATE).unlink(missing_ok=True)  # what is not finished can be loaded by nobody
    except OSError as error:
        raise OutputError(f"The folder {str(folder)!r} cannot be written: {error.strerror}.") from error
    inputs: tuple[Any, ...] = ()
    for name, graph in stages(model, opset):
        inputs = inputs or ports(graph.graph.input)
        write_whole(folder / f"{name}.onnx", graph.SerializeToString(deterministic=True))
    config = LightGlueConfig(filter_threshold=model.config.filter_threshold)
    certificate = Certificate(
        role="staged",
        flavour=PRODUCER,
        dtype="float32",
        opset=opset,
        options=options_to_json(model.shape, config),
        inputs=inputs,
        outputs=(),
        graph_sha256=_sha256(folder, model.shape.n_layers),
        verdict="" if model.verdict is None else to_json(model.verdict),
        **origin,
    )
    cases = staged_cases(model, pairs_for(model, photos))
    write_whole(folder / CASES, cases_to_bytes(cases))
    write_whole(folder / CERTIFICATE, to_json(certificate, indent=2).encode())  # the runtime reads it
    certificate = _checked(folder, certificate, cases, None)
    write_whole(folder / CERTIFICATE, to_json(certificate, indent=2).encode())
    return certificate


def verify_staged(folder: Path, providers: Sequence[str] | None = None) -> Certificate:
    """Check a folder that ``export_staged`` wrote; see ``verify``.

    Raises:
        WeightsError: If it is none, or was changed.
    """
    certificate = read_staged(folder)
    if _sha256(folder, options_from_json(certificate.options, str(folder))[0].n_layers) != certificate.graph_sha256:
        raise WeightsError(f"{str(folder)!r} was changed after it was certified; export it again.")
    return _checked(folder, certificate, read_cases(folder / CASES), providers)


def staged_cases(model: LightGlue, pairs: Sequence[tuple[str, Features, Features]]) -> list[Case]:
    """Pairs with the matches and exit layers of the plain network with exits and pruning."""
    reference = plain_reference(model)
    reference.config = LightGlueConfig(filter_threshold=model.config.filter_threshold)
    named = [(name, True, features0[:512], features1[:512]) for name, features0, features1 in pairs]
    if pairs:
        named.append(("2048 points at most", True, *pairs[0][1:]))
    named += [(f"{m} × {n} points", False, *made_up(model, m, n)) for m, n in SIZES if max(m, n) < 512]
    cases = []
    for name, real, *both in named:
        matches = reference.match(*both)
        inputs = {name: array[0] for i in (0, 1) for name, array in graph_inputs(both[i], i).items()}
        if not model.shape.add_scale_ori:
            inputs = {name: array for name, array in inputs.items() if not name.startswith(("scales", "oris"))}
        expected = {"matches0": matches.matches0.numpy(), "mscores0": matches.matching_scores0.numpy()}
        expected |= {"prune0": cast("Tensor", matches.prune0).numpy(), "stop": np.array(matches.stop)}
        cases.append(Case(name=name, real=real, inputs=inputs, expected=expected))
    return cases


def _checked(
    folder: Path, certificate: Certificate, cases: Sequence[Case], providers: Sequence[str] | None
) -> Certificate:
    chosen = chosen_providers(providers)
    runtime = StagedMatcher(folder, providers=chosen, threads=1)
    checks = tuple(_check(runtime, case) for case in cases)
    return replace(certificate, checks=checks, providers=tuple(chosen), versions=versions())


def _check(runtime: StagedMatcher, case: Case) -> Check:
    points: list[Any] = []
    for i in "01":
        width, height = case.inputs[f"image_size{i}"].tolist()
        points += [case.inputs[f"kpts{i}"], case.inputs[f"desc{i}"], (int(width), int(height))]
    extra: dict[str, Any] = {}
    if runtime.with_scales:
        extra = {"scales": (case.inputs["scales0"], case.inputs["scales1"])}
        extra["orientations"] = (case.inputs["oris0"], case.inputs["oris1"])
    found = runtime.match(*points, **extra)
    sizes = (len(points[0]), len(points[3]))
    check = compared(case, found["matches0"], found["mscores0"], sizes)
    return replace(check, exit_layer=int(found["stop"]), expected_exit=int(case.expected["stop"]))


def _sha256(folder: Path, n_layers: int) -> str:
    names = ["embed", *(f"{kind}{number}" for number in range(n_layers) for kind in ("layer", "head"))]
    digest = hashlib.sha256()
    try:
        for name in names:
            digest.update((folder / f"{name}.onnx").read_bytes())
    except OSError as error:
        raise WeightsError(f"{str(error.filename)!r} is missing; export again.") from error
    return digest.hexdigest()
