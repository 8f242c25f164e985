"""LightGlue in stages, whose runtime exits early and drops points: `photoglue export matcher --staged`.

One layer and one head are traced; the files of the others differ in their weights alone.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from photoglue.errors import ConfigError, OutputError, WeightsError
from photoglue.export.cases import SIZES, Case, cases_to_bytes, made_up, plain_reference, read_cases
from photoglue.export.convert import PRODUCER, check_opset, ports, to_onnx
from photoglue.export.graph import Confidences, Embedding, Head, PlainLayer
from photoglue.export.matcher import matcher_of, pairs_for
from photoglue.export.runtime import StagedMatcher
from photoglue.export.verify import compared, versions
from photoglue.exported import Certificate, Check, chosen_providers
from photoglue.files import from_json, to_json, write_whole
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.lightglue.assignment import unmatched
from photoglue.matchers.lightglue.config import options_from_json, options_to_json
from photoglue.matchers.lightglue.inputs import checked_pairs
from photoglue.matchers.lightglue.verdict import PairVerdict
from photoglue.matchers.onnx import NAMES, graph_inputs
from photoglue.structs import Features, Matches

CERTIFICATE, CASES = "staged.json", "staged.npz"


class StageLayer(nn.Module):
    """A layer, and what decides after it on exit and pruning."""

    def __init__(self, model: LightGlue, number: int) -> None:
        super().__init__()
        last = len(model.token_confidence) - 1  # nothing is decided after the last layer: its file has the one before
        self.layer = PlainLayer(cast("Any", model.transformers[number]))
        self.facts = Confidences(cast("Any", model.token_confidence[min(number, last)]), _head(model, number))

    def forward(
        self,
        x0: Float[Tensor, "1 m d"],
        x1: Float[Tensor, "1 n d"],
        turn0: Float[Tensor, "2 1 1 m f"],
        turn1: Float[Tensor, "2 1 1 n f"],
    ) -> tuple[
        Float[Tensor, "1 m d"],
        Float[Tensor, "1 n d"],
        Float[Tensor, "1 m"],
        Float[Tensor, "1 n"],
        Float[Tensor, "1 m"],
        Float[Tensor, "1 n"],
    ]:
        """States, confidences and matchabilities of both images."""
        x0, x1 = self.layer(x0, x1, turn0, turn1)
        (confidence0, matchability0), (confidence1, matchability1) = self.facts(x0), self.facts(x1)
        return x0, x1, confidence0, confidence1, matchability0, matchability1


class StageHead(nn.Module):
    """The head of a layer, for states of two images without padding."""

    def __init__(self, model: LightGlue, number: int) -> None:
        super().__init__()
        self.head = Head(_head(model, number), model.config.filter_threshold)

    def forward(
        self, x0: Float[Tensor, "1 m d"], x1: Float[Tensor, "1 n d"]
    ) -> tuple[Int64[Tensor, "1 m"], Int64[Tensor, "1 n"], Float[Tensor, "1 m"], Float[Tensor, "1 n"]]:
        """``matches0``, ``matches1``, ``mscores0`` and ``mscores1``."""
        found: tuple[Tensor, Tensor, Tensor, Tensor] = self.head(x0, x1)
        return found


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
    except OSError as error:
        raise OutputError(f"The folder {str(folder)!r} cannot be made: {error.strerror}.") from error
    inputs: tuple[Any, ...] = ()
    for name, graph in _stages(model, opset):
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
    points: list[Any] = [case.inputs[f"{name}{i}"] for i in (0, 1) for name in ("kpts", "desc", "image_size")]
    extra: dict[str, Any] = {}
    if runtime.with_scales:
        extra = {"scales": (case.inputs["scales0"], case.inputs["scales1"])}
        extra["orientations"] = (case.inputs["oris0"], case.inputs["oris1"])
    found = runtime.match(*points, **extra)
    sizes = (len(points[0]), len(points[3]))
    check = compared(case, found["matches0"], found["mscores0"], sizes)
    return replace(check, exit_layer=int(found["stop"]), expected_exit=int(case.expected["stop"]))


def _stages(model: LightGlue, opset: int) -> Iterator[tuple[str, Any]]:
    """Names and graphs of all files."""
    shape = model.shape
    width, frequencies = shape.descriptor_dim, shape.descriptor_dim // shape.num_heads // 2
    points: dict[str, Tensor] = {"kpts": torch.rand(1, 5, 2), "desc": torch.rand(1, 5, shape.input_dim)}
    points["image_size"] = torch.rand(1, 2)
    if shape.add_scale_ori:
        points |= {"scales": torch.rand(1, 5), "oris": torch.rand(1, 5)}
    axes: dict[str, dict[int, str]] = {name: {1: "points"} for name in points if name != "image_size"}
    yield "embed", to_onnx(Embedding(model), points, ("x", "turn"), axes, opset=opset, optimize=False)
    states = {"x0": torch.rand(1, 5, width), "x1": torch.rand(1, 7, width)}
    turns = {f"turn{i}": torch.rand(2, 1, 1, n, frequencies) for i, n in ((0, 5), (1, 7))}
    axes = {"x0": {1: "points0"}, "x1": {1: "points1"}, "turn0": {3: "points0"}, "turn1": {3: "points1"}}
    facts = ("confidence0", "confidence1", "matchability0", "matchability1")
    layer_outputs, head_outputs = ("y0", "y1", *facts), tuple(NAMES)
    layers = [StageLayer(model, number) for number in range(shape.n_layers)]
    heads = [StageHead(model, number) for number in range(shape.n_layers)]
    layer = to_onnx(layers[0], states | turns, layer_outputs, axes, opset=opset, optimize=False)
    head = to_onnx(heads[0], states, head_outputs, axes, opset=opset, optimize=False)
    for number in range(shape.n_layers):
        yield f"layer{number}", exchanged(layer, layers[number])
        yield f"head{number}", exchanged(head, heads[number])


def exchanged(graph: Any, module: nn.Module) -> Any:
    """The graph with the weights of another module of the same kind."""
    state = module.state_dict()
    left = set(state)
    for tensor in graph.graph.initializer:
        if tensor.name in state:
            tensor.raw_data = state[tensor.name].contiguous().numpy().tobytes()
            left.discard(tensor.name)
    assert not left, f"weights without a place in the graph: {left}"
    return graph


def _sha256(folder: Path, n_layers: int) -> str:
    names = ["embed", *(f"{kind}{number}" for number in range(n_layers) for kind in ("layer", "head"))]
    digest = hashlib.sha256()
    try:
        for name in names:
            digest.update((folder / f"{name}.onnx").read_bytes())
    except OSError as error:
        raise WeightsError(f"{str(error.filename)!r} is missing; export again.") from error
    return digest.hexdigest()


def _head(model: LightGlue, number: int) -> Any:
    return model.log_assignment[number]
