"""`photoglue export extractor`: ALIKED, DISK or SuperPoint as an ONNX file with its certificate."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.export.cases import Case, single_photos
from photoglue.export.convert import check_opset, graph_sha256, ports, to_onnx
from photoglue.export.extractor_flavours import extractor_flavour
from photoglue.export.matcher import written
from photoglue.export.networks import plain_extractor
from photoglue.exported import Certificate
from photoglue.extractors import ALIKED, DISK, EXTRACTORS, create_extractor
from photoglue.extractors.base import Extractor, ReleasedExtractor
from photoglue.extractors.onnx import ExportedOptions, network_input
from photoglue.extractors.superpoint import SuperPoint
from photoglue.files import check_output, to_json
from photoglue.image import Resize
from photoglue.weights import digest_of_weights

Deform: TypeAlias = Literal["native", "portable"]
SMALL = 480
"""Longer side of the photos that are checked with, pixels."""


def export_extractor(
    out: str | os.PathLike[str],
    features: str | Extractor = "aliked",
    *,
    max_keypoints: int = 2048,
    flavour: str = "photoglue",
    deform: Deform | None = None,
    opset: int | None = None,
    photos: Sequence[str | os.PathLike[str]] = (),
    allow_noncommercial: bool = False,
) -> Certificate:
    """Write an extractor as an ONNX file for photos of any size, and check it against PyTorch.

    Beside OUT.onnx lie OUT.onnx.json, the certificate, and OUT.onnx.npz, what it was checked with.

    Args:
        out: The file, ending in .onnx; its folder exists.
        features: "aliked" or one of its variants, "disk", "superpoint"; or such an extractor, with options of its own.
        max_keypoints: Number of points that the graph gives; those that an image has not have the score 0.
        flavour: "photoglue", the general form, or for a consumer: "opencv" (ALIKED, DISK) or "colmap" (ALIKED).
        deform: How ALIKED's deformable convolutions are written: "native", one operation each, or "portable", for what
            lacks it, such as OpenVINO; None: native, unless the flavour's consumer lacks it.
        opset: Version of ONNX's operations; None: 22 where DeformConv is needed, else 18.
        photos: Photos to check with; none: those that come with scikit-image.
        allow_noncommercial: Accept weights whose licence forbids commercial use.

    Returns:
        The certificate; its ``faults`` are empty if the file agrees with PyTorch.

    Raises:
        ConfigError: If there are no such features or opset, or they cannot be exported.
        LicenceError: If the weights are non-commercial and that was not accepted.
        WeightsError: If the weights cannot be had.
        OutputError: If the file cannot be written.
        MissingExtra: If onnx, onnxscript or onnxruntime are not installed.
    """
    path = Path(out)
    check_output(path, (".onnx",))
    if deform not in (None, "native", "portable"):
        raise ConfigError(f"deform is {deform!r}; it must be native or portable.")
    if not 1 <= max_keypoints <= 3840:
        raise ConfigError(f"max_keypoints is {max_keypoints}; it must be from 1 to 3840, the most that TensorRT sorts.")
    extractor = exported_extractor(features, max_keypoints, allow_noncommercial)
    form = extractor_flavour(flavour, extractor.kind)
    if deform == "native" and not form.native:
        raise ConfigError(f"What reads the flavour {flavour!r} has no DeformConv; take --deform portable.")
    native = isinstance(extractor, ALIKED) and (deform or ("native" if form.native else "portable")) == "native"
    opset = opset or (22 if native else 18)
    check_opset(opset)
    if native and opset < 22:
        raise ConfigError(f"opset is {opset}; DeformConv is in 22 and later. Leave it out, or take --deform portable.")
    module = plain_extractor(extractor, max_keypoints, native=native)
    assert module is not None
    options = exported_options(extractor, max_keypoints)
    example = {"image": torch.rand(1, options.channels, 160, 224), **form.extra}
    graph = to_onnx(form.form(module), example, form.outputs, {"image": {2: "height", 3: "width"}}, opset=opset)
    certificate = Certificate(
        role="extractor",
        features=extractor.kind,
        flavour=flavour,
        dtype="float32",
        opset=opset,
        options=to_json(asdict(options)),
        weights_digest=digest_of_weights(extractor.state_dict()),
        inputs=ports(graph.graph.input),
        outputs=ports(graph.graph.output),
        graph_sha256=graph_sha256(graph),
        **_origin(extractor),
    )
    cases = [extractor_case(extractor, options, *photo) for photo in single_photos(photos)]
    return written(path, graph, certificate, cases)


def _origin(extractor: Extractor) -> dict[str, Any]:
    """What a certificate says of the weights."""
    record = cast("ReleasedExtractor", extractor).records[extractor.kind]
    return {each: getattr(record, each) for each in ("licence", "commercial", "source")} | {"weights": record.name}


def exported_extractor(features: str | Extractor, count: int, allow_noncommercial: bool) -> Extractor:
    """The extractor of this name, or the one that was given, if it can be exported.

    Raises:
        ConfigError: If it cannot.
    """
    extractor = features
    if isinstance(extractor, str):
        if extractor not in EXTRACTORS or extractor in ("sift", "doghardnet"):
            there = [name for name in EXTRACTORS if name not in ("sift", "doghardnet")]
            raise ConfigError(f"There is no network to export for {features!r}. There are: {', '.join(there)}.")
        extractor = create_extractor(
            extractor, allow_noncommercial=allow_noncommercial, max_keypoints=count, precision="float32"
        )
    if not isinstance(extractor, ALIKED | DISK | SuperPoint):
        raise ConfigError(f"{type(extractor).__name__} cannot be exported: ALIKED, DISK and SuperPoint can.")
    return extractor


def exported_options(extractor: Extractor, count: int) -> ExportedOptions:
    """What the graph of an extractor depends on, besides its weights."""
    config, gray = extractor.config, isinstance(extractor, SuperPoint)
    return ExportedOptions(
        count=count,
        channels=1 if gray else 3,
        multiple=8 if gray else 1,
        descriptor_dim=extractor.descriptor_dim,
        resize=config.resize,
        detection_threshold=config.detection_threshold,
        nms_radius=config.nms_radius,
    )


@torch.no_grad()
def extractor_case(
    extractor: Extractor, options: ExportedOptions, name: str, image: Float[Tensor, "c h w"], *, real: bool = True
) -> Case:
    """A photo, made small and rounded to whole shades, and the extractor's answer in PyTorch."""
    size = (image.shape[2], image.shape[1])
    small = Resize.long_side(size, min(SMALL, max(size))).apply(image)
    seen = (network_input(small, options.channels, options.multiple) * 255).round().clamp(0, 255) / 255
    features = extractor.detect(seen[None])[0][: options.count]
    expected: dict[str, Any] = {
        "keypoints": features.keypoints.numpy(),
        "scores": features.scores.numpy(),
        "descriptors": features.descriptors.numpy(),
    }
    return Case(name=name, real=real, inputs={"image": seen[None].numpy()}, expected=expected)
