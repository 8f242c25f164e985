"""`photoglue export matcher`: LightGlue as an ONNX file with its certificate."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import torch

from photoglue.errors import ConfigError, PhotoGlueError
from photoglue.export.cases import Case, cases_to_bytes, matcher_cases, real_pairs
from photoglue.export.convert import check_opset, graph_sha256, ports, to_onnx, with_certificate, write_certified
from photoglue.export.flavours import FLAVOURS, example_inputs
from photoglue.export.graph import PlainMatcher
from photoglue.export.verify import run_checks
from photoglue.exported import Certificate, OnnxFile, cases_path
from photoglue.extractors import create_extractor
from photoglue.extractors.base import Extractor
from photoglue.files import check_output, to_json, write_whole
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.lightglue.config import options_to_json
from photoglue.matchers.lightglue.kinds import model_of
from photoglue.matchers.lightglue.pretrained import WEIGHTS
from photoglue.weights import digest_of_weights

DType: TypeAlias = Literal["float32", "float16"]
EXTRACTOR_OF_KIND = {
    "aliked-n16": "aliked",
    "disk": "disk",
    "superpoint": "superpoint",
    "sift-opencv": "sift",
    "sift-colmap": "sift",
    "doghardnet": "doghardnet",
}
"""Name of the extractor that real pairs are extracted with, for a kind of features."""


def export_matcher(
    out: str | os.PathLike[str],
    features: str | LightGlue = "aliked",
    *,
    n_layers: int | None = None,
    flavour: str = "photoglue",
    dtype: DType = "float32",
    opset: int = 18,
    photos: Sequence[str | os.PathLike[str]] = (),
) -> Certificate:
    """Write LightGlue as an ONNX file, with all layers in it, and check it against PyTorch.

    Beside OUT.onnx lie OUT.onnx.json, the certificate, and OUT.onnx.npz, what it was checked with.

    Args:
        out: The file, ending in .onnx; its folder exists.
        features: A name as ``LightGlue.pretrained`` takes it, a checkpoint of your own, or a model.
        n_layers: Only the first so many layers; None: all.
        flavour: "photoglue": any number of pairs, padded and masked; or for a consumer: "colmap", "opencv",
            "opencv-disk".
        dtype: What the products of the layers compute in; inputs and outputs are always float32.
        opset: Version of ONNX's operations, from 18 on.
        photos: Photos to check with, each with the next one; none: those that come with scikit-image.

    Returns:
        The certificate; its ``faults`` are empty if the file agrees with PyTorch.

    Raises:
        ConfigError: If there are no such features, flavour, layers or opset, or they do not go together.
        WeightsError: If the weights cannot be had.
        OutputError: If the file cannot be written.
        MissingExtra: If onnx, onnxscript or onnxruntime are not installed.
    """
    path = Path(out)
    check_output(path, (".onnx",))
    check_opset(opset)
    if flavour not in FLAVOURS:
        raise ConfigError(f"flavour is {flavour!r}; it must be one of {', '.join(FLAVOURS)}.")
    if dtype not in ("float32", "float16"):
        raise ConfigError(f"dtype is {dtype!r}; it must be float32 or float16.")
    model, origin = matcher_of(features, n_layers)
    form = FLAVOURS[flavour]
    if model.shape.add_scale_ori and not form.scales:
        raise ConfigError(f"The flavour {flavour!r} has no inputs for scale and orientation, which this matcher needs.")
    examples, axes = example_inputs(form, model)
    module = form.form(PlainMatcher(model, getattr(torch, dtype)))
    graph = to_onnx(module, examples, form.outputs, axes, opset=opset)
    certificate = Certificate(
        role="matcher",
        flavour=flavour,
        dtype=dtype,
        opset=opset,
        options=options_to_json(model.shape, LightGlueConfig.accurate(filter_threshold=model.config.filter_threshold)),
        inputs=ports(graph.graph.input),
        outputs=ports(graph.graph.output),
        graph_sha256=graph_sha256(graph),
        verdict="" if model.verdict is None else to_json(model.verdict),
        **origin,
    )
    cases = matcher_cases(model, pairs_for(model, photos))
    return written(path, graph, certificate, cases)


def matcher_of(features: str | LightGlue, n_layers: int | None) -> tuple[LightGlue, dict[str, Any]]:
    """The network in single precision, and what a certificate says of its weights."""
    config = LightGlueConfig.accurate(n_layers=n_layers)
    known: dict[str, Any] = {"licence": "unknown", "commercial": True, "weights": "a model of your own", "source": ""}
    if isinstance(features, LightGlue):
        model = features if n_layers is None else _shortened(features, n_layers)
    elif model_of(features) in WEIGHTS:
        model = LightGlue.pretrained(features, config, precision=None)
        record = WEIGHTS[model_of(features)]
        known = {each: getattr(record, each) for each in ("licence", "commercial", "source")} | {"weights": record.name}
    elif Path(features).suffix:
        model = LightGlue.from_checkpoint(features, config, precision=None)
        known |= {"weights": Path(features).name}
    else:
        raise ConfigError(f"There is no matcher {features!r}. There are: {', '.join(WEIGHTS)}; or give a file.")
    kinds = model.shape.kinds or ("",)
    return model, known | {"features": kinds[0], "weights_digest": digest_of_weights(model.state_dict())}


def _shortened(model: LightGlue, n_layers: int) -> LightGlue:
    shorter = LightGlue(replace(model.config, n_layers=n_layers), shape=model.shape)
    state = model.state_dict()
    shorter.load_state_dict({name: state[name] for name in shorter.state_dict()})
    return shorter.eval().requires_grad_(False)


def pairs_for(model: LightGlue, photos: Sequence[str | os.PathLike[str]]) -> list[Any]:
    """Real pairs for a matcher, of the features that it was trained for; none where they cannot be had."""
    extractor = _extractor_for(model)
    return [] if extractor is None else real_pairs(extractor, photos, 2048)


def _extractor_for(model: LightGlue) -> Extractor | None:
    for kind in model.shape.kinds or ():
        if kind in EXTRACTOR_OF_KIND:
            try:
                options: dict[str, Any] = (
                    {"max_keypoints": 2048, "detection_threshold": 0.0} if "aliked" in kind else {}
                )
                return create_extractor(EXTRACTOR_OF_KIND[kind], precision="float32", **options)
            except PhotoGlueError:  # its weights or its package are not there: made-up features do as well
                return None
    return None


def written(path: Path, graph: Any, certificate: Certificate, cases: Sequence[Case]) -> Certificate:
    """Write a graph, check it, and write certificate and cases beside it.

    Raises:
        OutputError: If a file cannot be written.
    """
    with TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.onnx"
        write_whole(trial, with_certificate(graph, certificate))
        checked = run_checks(OnnxFile(trial, threads=1, allow_noncommercial=True), cases)
    write_whole(cases_path(path), cases_to_bytes(cases))
    return write_certified(path, graph, checked)
