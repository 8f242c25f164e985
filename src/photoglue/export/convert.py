"""From a module to the bytes of an ONNX file, and what is written into it."""

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from photoglue.errors import ConfigError, require
from photoglue.export.lint import consumers_of
from photoglue.exported import METADATA, Certificate, Port, certificate_path
from photoglue.files import to_json, write_whole

OLDEST_OPSET = 18
"""The first version of ONNX's operations that torch's exporter writes."""
PRODUCER = "photoglue"


def check_opset(opset: int) -> None:
    """Refuse versions of ONNX's operations that cannot be had.

    Raises:
        ConfigError: If it is one.
        MissingExtra: If the packages of the export are not installed.
    """
    newest = require("onnx", extra="export").defs.onnx_opset_version()
    require("onnxscript", extra="export")
    if not OLDEST_OPSET <= opset <= newest:
        raise ConfigError(
            f"opset is {opset}; torch {torch.__version__} and onnx write {OLDEST_OPSET} to {newest}. What reads no "
            f"{OLDEST_OPSET} is older than 2023."
        )


def to_onnx(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
    *,
    opset: int = OLDEST_OPSET,
    optimize: bool = True,
) -> Any:
    """The graph of a module, an ``onnx.ModelProto`` that holds its weights.

    Args:
        module: The module, in evaluation mode.
        inputs: Examples of its inputs, in its order; lengths that may change are all different, and above 1.
        outputs: Names of its outputs, in its order.
        axes: For each input the axes whose length may change, and its name.
        opset: Version of ONNX's operations.
        optimize: Fold constants; without it each weight keeps its name.

    Raises:
        ConfigError: If it cannot be had in that version.
        MissingExtra: If the packages of the export are not installed.
    """
    check_opset(opset)
    shapes = tuple(dict(axes.get(key, {})) or None for key in inputs)
    with _silent(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            dynamo=True,
            external_data=False,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            optimize=optimize,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    came = {each.domain: each.version for each in model.opset_import}.get("", 0)
    if came != opset:
        raise ConfigError(f"opset is {opset}; this graph can be had in {came} only.")
    model.producer_name = PRODUCER
    del model.metadata_props[:]
    for node in model.graph.node:  # where in our sources it comes from
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    return model


def ports(values: Sequence[Any]) -> tuple[Port, ...]:
    """What inputs or outputs of an ``onnx.ModelProto`` are."""
    helper = require("onnx", extra="export").helper
    return tuple(
        Port(
            name=value.name,
            type=str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            shape=tuple(str(dim.dim_param or dim.dim_value) for dim in value.type.tensor_type.shape.dim),
        )
        for value in values
    )


def graph_sha256(model: Any) -> str:
    """The SHA-256 of an ``onnx.ModelProto`` without its metadata; hexadecimal."""
    bare = type(model)()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def with_certificate(model: Any, certificate: Certificate) -> bytes:
    """The bytes of the file, with the certificate in it."""
    del model.metadata_props[:]
    facts = {
        METADATA: to_json(replace(certificate, file_sha256="")),
        "licence": certificate.licence,
        "features": certificate.features,
    }
    for key, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def write_certified(path: Path, model: Any, certificate: Certificate) -> Certificate:
    """Write the file and its certificate beside it; returns the latter with the hash of the file.

    Raises:
        OutputError: If they cannot be written.
    """
    certificate = replace(certificate, consumers=consumers_of(model))
    content = with_certificate(model, certificate)
    certificate = replace(certificate, file_sha256=hashlib.sha256(content).hexdigest())
    write_whole(path, content)
    write_whole(certificate_path(path), to_json(certificate, indent=2).encode())
    return certificate


@contextlib.contextmanager
def _silent() -> Any:
    """Without what torch's exporter says: of torchvision, of names, of itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
