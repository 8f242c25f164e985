"""What stands against a graph in another program's eyes, found without running that program: some end in a crash.

Reference: the operations and limits of TensorRT's ONNX parser (TopK: NVIDIA/TensorRT issue 3846), COLMAP's
onnx_matchers.cc and aliked.cc (4.x), and OpenCV 5.0.0, tried.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from photoglue.errors import ConfigError, WeightsError, require

Rule = Callable[[Any], Iterator[str]]
MOST_SORTED = 3840
"""The largest K of TensorRT's TopK."""
LARGEST_HALF = 65504
"""The largest number in half precision."""


def lint(path: str | os.PathLike[str], consumer: str) -> list[str]:
    """What is known to stand against a program's reading this ONNX file; nothing is run.

    Args:
        path: The file, of ours or another.
        consumer: "colmap", "lightglue-onnx", "opencv", "openvino" or "tensorrt".

    Returns:
        One sentence for each thing; none if nothing is known.

    Raises:
        ConfigError: If nothing is known of such a program.
        WeightsError: If the file cannot be read.
        MissingExtra: If onnx is not installed.
    """
    onnx = require("onnx", extra="export")
    try:
        model = onnx.load(os.fspath(path))
    except Exception as error:  # protobuf's own, of which onnx says nothing
        raise WeightsError(f"{os.fspath(path)!r} cannot be read as an ONNX file: {error}.") from error
    return lint_graph(model, consumer)


def lint_graph(model: Any, consumer: str) -> list[str]:
    """What ``lint`` says of an ``onnx.ModelProto``.

    Raises:
        ConfigError: If nothing is known of such a program.
    """
    if consumer not in CONSUMERS:
        raise ConfigError(f"There are no rules for {consumer!r}. There are: {', '.join(CONSUMERS)}.")
    return [fault for rule in CONSUMERS[consumer] for fault in rule(model)]


def opencv_matcher(path: str | os.PathLike[str], score_threshold: float = 0.0) -> Any:
    """A ``cv2.LightGlueMatcher`` of a file, after a look whether OpenCV would crash on it.

    Call ``setPairInfo(keypoints0, keypoints1, (L, L), (L, L))`` before each ``match(descriptors0, descriptors1)``, with
    L the longer side of both photos: OpenCV divides by width and height, and LightGlue was trained with one unit.

    Args:
        path: The file, of flavour "opencv".
        score_threshold: Lowest score of a match.

    Raises:
        ConfigError: If this OpenCV has no such matcher, or cannot read the file.
        WeightsError: If it is no ONNX file.
        MissingExtra: If OpenCV or onnx are not installed.
    """
    cv2 = require("cv2", extra="opencv")
    if not hasattr(cv2, "LightGlueMatcher"):
        raise ConfigError(f"OpenCV {cv2.__version__} has no LightGlueMatcher; it came with 5.0.")
    if faults := lint(path, "opencv"):
        raise ConfigError(f"OpenCV {cv2.__version__} cannot read {os.fspath(path)!r}: " + " ".join(faults))
    return cv2.LightGlueMatcher.create(os.fspath(path), score_threshold)


def without(*names: str, because: str) -> Rule:
    """A rule against operations of these names."""

    def rule(model: Any) -> Iterator[str]:
        for name in sorted({node.op_type for node in model.graph.node} & set(names)):
            yield f"{name}: {because}"

    return rule


def named(table: Mapping[str, tuple[tuple[Mapping[str, int], ...], Mapping[str, int]]]) -> Rule:
    """A rule that inputs and outputs have these names and ranks, in this order.

    Args:
        table: By the first input: allowed inputs, each a table of names and ranks, and outputs.
    """

    def rule(model: Any) -> Iterator[str]:
        inputs, outputs = _ranks(model.graph.input), _ranks(model.graph.output)
        first = next(iter(inputs), "")
        if first not in table:
            yield f"Its first input is {first!r}; {' or '.join(table)} is wanted."
            return
        allowed, wanted = table[first]
        if list(inputs.items()) not in [list(each.items()) for each in allowed]:
            yield f"Its inputs and their ranks are {_listed(inputs)}; {' or '.join(map(_listed, allowed))} are wanted."
        if outputs != wanted:
            yield f"Its outputs and their ranks are {_listed(outputs)}; {_listed(wanted)} are wanted."

    return rule


def short_sorts(model: Any) -> Iterator[str]:
    """K of each TopK is a number that TensorRT can sort."""
    constants = _constants(model)
    for node in model.graph.node:
        if node.op_type == "TopK":
            count = constants.get(node.input[1])
            if count is None:
                yield f"TopK {node.name!r}: its K is computed; TensorRT wants a constant."
            elif count.max() > MOST_SORTED:
                yield f"TopK {node.name!r}: its K is {count.max()}; TensorRT sorts {MOST_SORTED} at most."


def lengths_from_inputs(model: Any) -> Iterator[str]:
    """Each length of an output is a number or that of an input."""
    known = {name for value in model.graph.input for name in _lengths(value)}
    for value in model.graph.output:
        for name in _lengths(value):
            if name not in known:
                yield f"Output {value.name!r}: its length {name or 'of no name'!r} follows from what is computed."


def small_numbers(model: Any) -> Iterator[str]:
    """Constants stay finite in half precision, so that a mask of -1e9 does not become minus infinity."""
    for name, values in _constants(model).items():
        if values.dtype.kind == "f" and np.abs(values.astype(np.float64)).max(initial=0) > LARGEST_HALF:
            yield f"Constant {name!r}: {values.flat[np.abs(values).argmax()]:g} overflows in half precision."


def no_doubles(model: Any) -> Iterator[str]:
    """Nothing is computed in double precision."""
    double = require("onnx", extra="export").TensorProto.DOUBLE
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    for value in values:
        if value.type.tensor_type.elem_type == double:
            yield f"{value.name!r}: TensorRT has no double precision."


def equal_pads(model: Any) -> Iterator[str]:
    """A deformable convolution is padded alike on both sides."""
    for node in model.graph.node:
        pads = next((list(each.ints) for each in node.attribute if each.name == "pads"), [])
        if node.op_type == "DeformConv" and pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
            yield f"DeformConv {node.name!r}: its pads {pads} differ; TensorRT wants them equal."


def no_divided_erf(model: Any) -> Iterator[str]:
    """The GELU as torch's exporter writes it, which makes OpenCV 5.0.0 end with a segmentation fault."""
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    if any(node.op_type == "Erf" and made_by.get(node.input[0]) == "Div" for node in model.graph.node):
        yield "Erf after Div: OpenCV 5.0.0 crashes when it loads this GELU; multiply in place of the division."


def whole_clips(model: Any) -> Iterator[str]:
    """OpenCV 5.0.0 clips floating-point numbers only."""
    onnx = require("onnx", extra="export")
    types = {value.name: value.type.tensor_type.elem_type for value in [*model.graph.value_info, *model.graph.input]}
    whole = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
    for node in model.graph.node:
        if node.op_type == "Clip" and types.get(node.input[0]) in whole:
            yield f"Clip {node.name!r}: OpenCV 5.0.0 has none of whole numbers."


def _constants(model: Any) -> dict[str, np.ndarray]:
    """Values of initialisers and of Constant nodes, by name."""
    to_array = require("onnx", extra="export").numpy_helper.to_array
    found: dict[str, np.ndarray] = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = to_array(node.attribute[0].t)
    return found


def _lengths(value: Any) -> list[str]:
    return [dim.dim_param for dim in value.type.tensor_type.shape.dim if not dim.HasField("dim_value")]


def _ranks(values: Any) -> dict[str, int]:
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values}


def _listed(ranks: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {rank}" for name, rank in ranks.items())


_FOUR = {"kpts0": 3, "kpts1": 3, "desc0": 3, "desc1": 3}
_SIX = {**_FOUR, "image_size0": 2, "image_size1": 2}
_TEN = {**_SIX, "scales0": 2, "scales1": 2, "oris0": 2, "oris1": 2}
_COLMAP = {
    "kpts0": ((_SIX, _TEN), {"matches0": 1, "mscores0": 1}),
    "image": (({"image": 4, "max_keypoints": 0, "min_score": 0},), {"keypoints": 3, "descriptors": 3, "scores": 2}),
}
_OPENCV = {"kpts0": ((_FOUR,), {"matches0": 2, "mscores0": 1})}
_PIPELINE = {"images": (({"images": 4},), {"keypoints": 3, "matches": 2, "mscores": 1})}
_OPEN_LENGTH = ("NonZero", "Compress", "Unique", "NonMaxSuppression")
_CONTROL = ("If", "Loop", "Scan", "SequenceAt", "SequenceConstruct", "SplitToSequence")


def _opencv_ports(model: Any) -> Iterator[str]:
    """Names of the matcher's inputs and outputs; those of extractors depend on the method."""
    first = model.graph.input[0].name if model.graph.input else ""
    four = "matches1" in {value.name for value in model.graph.output}  # type LG_DISK, in OpenCV after 5.0.0
    if first != "image" and not four:
        yield from named(_OPENCV)(model)
    elif four and set(_ranks(model.graph.input)) != set(_FOUR):
        yield f"Its inputs are {_listed(_ranks(model.graph.input))}; {_listed(_FOUR)} are wanted."


CONSUMERS: Mapping[str, tuple[Rule, ...]] = MappingProxyType(
    {
        "colmap": (named(_COLMAP),),
        "lightglue-onnx": (named(_PIPELINE),),
        "opencv": (
            no_divided_erf,
            whole_clips,
            _opencv_ports,
            without("DeformConv", because="OpenCV 5.0.0 has none; export with --deform portable."),
        ),
        "openvino": (without("DeformConv", because="OpenVINO reads none; export with --deform portable."),),
        "tensorrt": (
            without(*_OPEN_LENGTH, because="the length of its output follows from what is computed."),
            without(*_CONTROL, because="branches and loops make engines that depend on their inputs."),
            short_sorts,
            lengths_from_inputs,
            small_numbers,
            no_doubles,
            equal_pads,
        ),
    }
)
"""Rules by program."""


def consumers_of(model: Any) -> dict[str, tuple[str, ...]]:
    """What stands against each program's reading an ``onnx.ModelProto``; for the certificate."""
    return {consumer: tuple(lint_graph(model, consumer)) for consumer in CONSUMERS}
