"""Graphs that break a rule of a program are told from those that keep it; no program is run but OpenCV, apart."""

import subprocess
import sys

import numpy as np
import pytest

from photoglue.errors import ConfigError, WeightsError

onnx = pytest.importorskip("onnx", exc_type=ImportError)

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from photoglue.export.lint import CONSUMERS, consumers_of, lint, lint_graph, opencv_matcher  # noqa: E402

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def graph(nodes, *, inputs=None, outputs=None, constants=None, inner=()):
    """A graph of nodes (operation, inputs, output, attributes)."""

    def values(table):
        return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in table.items()]

    made = helper.make_graph(
        [helper.make_node(name, given, [out], **attributes) for name, given, out, attributes in nodes],
        "test",
        values(inputs or {"x": (FLOAT, ["n"])}),
        values(outputs or {"y": (FLOAT, ["n"])}),
        [numpy_helper.from_array(np.array(array), name) for name, array in (constants or {}).items()],
        value_info=values(dict(inner)),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def sort(count):
    """A TopK of so many."""
    constants = {"k": [count]} if isinstance(count, int) else {}
    inputs = {"x": (FLOAT, ["n"])} | ({} if constants else {"k": (INT, [1])})
    return graph([("TopK", ["x", "k"], "y", {})], inputs=inputs, constants=constants)


PADDED = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
BROKEN = {
    "length that is computed": (graph([("NonZero", ["x"], "y", {})], outputs={"y": (INT, [1, "k"])}), "NonZero"),
    "length of no name": (graph([("Relu", ["x"], "y", {})], outputs={"y": (FLOAT, [None])}), "no name"),
    "branch": (graph([("If", ["c"], "y", {})], inputs={"c": (TensorProto.BOOL, [])}), "If: branches"),
    "too many": (sort(3841), "3841"),
    "any number": (sort(None), "wants a constant"),
    "mask of -1e9": (graph([("Max", ["x", "low"], "y", {})], constants={"low": np.float32(-1e9)}), "-1e+09 overflows"),
    "double": (graph([("Cast", ["x"], "y", {"to": 11})], outputs={"y": (TensorProto.DOUBLE, ["n"])}), "double"),
    "uneven pads": (graph([("DeformConv", ["x"], "y", PADDED | {"pads": [1, 0, 1, 1]})]), "pads [1, 0, 1, 1]"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_tensorrts_rules_are_seen_to_be_broken(name):
    model, words = BROKEN[name]
    assert any(words in fault for fault in lint_graph(model, "tensorrt")), lint_graph(model, "tensorrt")


@pytest.mark.parametrize(
    "model",
    [
        sort(3840),
        graph([("DeformConv", ["x"], "y", PADDED)]),
        graph([("Max", ["x", "low"], "y", {})], constants={"low": np.float32(-3e4)}),
    ],
)
def test_tensorrts_rules_are_kept(model):
    assert lint_graph(model, "tensorrt") == []


def gelu(first):
    """The GELU as torch's exporter writes it (Div), or with another first operation."""
    return graph(
        [
            (first, ["x", "root"], "a", {}),
            ("Erf", ["a"], "b", {}),
            ("Add", ["b", "one"], "c", {}),
            ("Mul", ["half", "c"], "d", {}),
            ("Mul", ["x", "d"], "y", {}),
        ],
        constants={"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)},
        inputs={"x": (FLOAT, [1, "n", 8])},
        outputs={"y": (FLOAT, [1, "n", 8])},
    )


def test_opencvs_crash_is_named():
    assert any("crashes" in fault for fault in lint_graph(gelu("Div"), "opencv"))
    assert not any("crashes" in fault for fault in lint_graph(gelu("Mul"), "opencv"))


@pytest.mark.rare
def test_opencv_crashes_as_is_said(tmp_path):
    """If this fails for a newer OpenCV, the rule can go."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    if cv2.__version__ != "5.0.0":
        pytest.skip(f"OpenCV {cv2.__version__} is not 5.0.0")
    code = "import sys, cv2; assert not cv2.dnn.readNetFromONNX(sys.argv[1]).empty()"
    codes = []
    for first in ("Div", "Mul"):
        path = tmp_path / f"{first}.onnx"
        onnx.save(gelu(first), str(path))
        codes.append(
            subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False).returncode
        )
    assert codes == [-11, 0]


def test_opencv_does_not_load_what_it_would_crash_on(tmp_path):
    pytest.importorskip("cv2", exc_type=ImportError)
    path = tmp_path / "gelu.onnx"
    onnx.save(gelu("Div"), str(path))
    with pytest.raises(ConfigError, match=r"no LightGlueMatcher|crashes when it loads"):
        opencv_matcher(path)


def test_what_opencv_and_openvino_lack():
    whole = graph(
        [("Clip", ["x", "low"], "y", {})], inputs={"x": (INT, ["n"])}, outputs={"y": (INT, ["n"])}, constants={"low": 0}
    )
    assert any("whole numbers" in fault for fault in lint_graph(whole, "opencv"))
    for consumer in ("opencv", "openvino"):
        assert any("portable" in fault for fault in lint_graph(graph([("DeformConv", ["x"], "y", PADDED)]), consumer))


@pytest.mark.parametrize("consumer", ["colmap", "lightglue-onnx", "opencv"])
def test_names_and_ranks(consumer):
    assert lint_graph(graph([("Relu", ["x"], "y", {})]), consumer)
    wrong = {"kpts0": (FLOAT, [1, "m", 2]), "kpts1": (FLOAT, [1, "n", 2])}
    faults = lint_graph(graph([("Relu", ["kpts0"], "y", {})], inputs=wrong), consumer)
    assert faults and "wanted" in faults[0]


def test_what_it_says_of_files(tmp_path):
    path = tmp_path / "some.onnx"
    onnx.save(sort(5000), str(path))
    assert len(lint(path, "tensorrt")) == 1
    assert consumers_of(sort(5000))["tensorrt"] == tuple(lint(path, "tensorrt"))
    assert set(consumers_of(sort(5000))) == set(CONSUMERS)
    path.write_bytes(path.read_bytes()[:20] + b"\xff" * 9)
    with pytest.raises(WeightsError, match="cannot be read as an ONNX file"):
        lint(path, "tensorrt")
    with pytest.raises(WeightsError, match="cannot be read"):
        lint(tmp_path / "none.onnx", "tensorrt")
    with pytest.raises(ConfigError, match=f"There are: {', '.join(CONSUMERS)}"):
        lint_graph(sort(1), "caffe")
