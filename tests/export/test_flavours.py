"""Names, order and ranks as the consumers' loaders ask for them, and the forms in torch; OpenCV itself is below."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from exported_files import small_lightglue, untyped

from photoglue import LightGlue, LightGlueConfig, create_extractor, load_image
from photoglue.export import lint
from photoglue.export.cases import made_up, plain_reference
from photoglue.export.convert import to_onnx
from photoglue.export.flavours import FLAVOURS, example_inputs
from photoglue.export.graph import PlainMatcher
from photoglue.export.lint import lint_graph
from photoglue.exported import OnnxFile
from photoglue.matchers.onnx import graph_inputs

COLMAP = {
    "kpts0": 3,
    "kpts1": 3,
    "desc0": 3,
    "desc1": 3,
    "image_size0": 2,
    "image_size1": 2,
    "scales0": 2,
    "scales1": 2,
    "oris0": 2,
    "oris1": 2,
}
"""Inputs and their ranks in the order that COLMAP's onnx_matchers.cc checks (4.x); 6 or 10 of them."""


@pytest.mark.parametrize(("scales", "count"), [(False, 6), (True, 10)])
def test_colmaps_table(scales, count):
    model = small_lightglue(scales=scales)
    examples, axes = example_inputs(FLAVOURS["colmap"], model)
    assert {name: tensor.ndim for name, tensor in examples.items()} == dict(list(COLMAP.items())[:count])
    assert list(examples) == list(COLMAP)[:count]
    assert all(1 in axes[name] for name in examples if not name.startswith("image_size"))
    outputs = FLAVOURS["colmap"].form(PlainMatcher(model))(*examples.values())
    assert FLAVOURS["colmap"].outputs == ("matches0", "mscores0")
    assert [(each.dtype, each.ndim) for each in outputs] == [(torch.int64, 1), (torch.float32, 1)]


@pytest.mark.rare
def test_colmaps_table_in_a_file_of_ten_inputs():
    flavour, model = FLAVOURS["colmap"], small_lightglue(n_layers=1)
    examples, axes = example_inputs(flavour, model)
    with untyped():
        graph = to_onnx(flavour.form(PlainMatcher(model)), examples, flavour.outputs, axes)
    assert [value.name for value in graph.graph.input] == list(COLMAP)
    assert lint_graph(graph, "colmap") == [] and lint_graph(graph, "opencv") != []


@pytest.mark.parametrize("name", list(FLAVOURS))
def test_forms_give_the_same_matches(name):
    """OpenCV's normalisation shifts all points by the same, which rotary encoding does not see."""
    flavour, model = FLAVOURS[name], small_lightglue(scales=False)
    pair = made_up(model, 30, 40)
    expected = plain_reference(model).match(*pair)
    general = graph_inputs(pair[0], 0) | graph_inputs(pair[1], 1)
    given = flavour.adapted(general)
    examples, _ = example_inputs(flavour, model)
    outputs = flavour.form(PlainMatcher(model))(*(torch.from_numpy(given[key]) for key in examples))
    arrays = {key: tensor.numpy() for key, tensor in zip(flavour.outputs, outputs, strict=True)}
    matches0, scores0 = flavour.matches(arrays, 30)
    assert (matches0 == expected.matches0.numpy()).all() and (matches0 >= 0).sum() > 3
    found = matches0 >= 0
    assert np.abs(scores0 - expected.matching_scores0.numpy())[found].max() < 1e-5


def apart(code: str, *arguments) -> str:
    """What a Python program prints: OpenCV ends with a segmentation fault on graphs that it does not like."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{run.returncode}: {run.stderr[-800:]}"
    return run.stdout


def with_opencv(name: str):
    """OpenCV, if it has a class of this name."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    if not hasattr(cv2, name):
        pytest.skip(f"OpenCV {cv2.__version__} has no {name}")
    return cv2


@pytest.fixture(scope="module")
def real_pair(shared_data):
    """Two photos at 480 pixels with 300 points of ALIKED each."""
    extractor = create_extractor("aliked", max_keypoints=300, resize=480, precision="float32")
    folder = shared_data / "eval" / "strecha" / "fountain-P11" / "images"
    return extractor.extract_many([load_image(folder / f"000{i}.jpg") for i in (3, 4)])


OPENCV_MATCHES = """
import sys, numpy as np
from photoglue.export import opencv_matcher
pair = np.load(sys.argv[2])
longest = int(pair["longest"])
matcher = opencv_matcher(sys.argv[1])
matcher.setPairInfo(pair["kpts0"], pair["kpts1"], (longest, longest), (longest, longest))
for match in matcher.match(pair["desc0"], pair["desc1"]):
    print(match.queryIdx, match.trainIdx, 1 - match.distance)
"""


@pytest.mark.rare
@pytest.mark.weights
def test_opencv_finds_the_same_on_real_photos(opencv_file, real_pair, tmp_path):
    with_opencv("LightGlueMatcher")
    model = LightGlue.pretrained("aliked", LightGlueConfig(n_layers=1), precision=None)
    expected = plain_reference(model).match(*real_pair)
    arrays = {f"{name}{i}": a[0] for i in (0, 1) for name, a in of_image(real_pair[i]).items()}
    np.savez(tmp_path / "pair.npz", longest=max(real_pair[0].image_size), **arrays)
    lines = [line.split() for line in apart(OPENCV_MATCHES, opencv_file, tmp_path / "pair.npz").splitlines()]
    found = {(int(row), int(partner)): float(score) for row, partner, score in lines}
    assert set(found) == set(map(tuple, expected.indices.tolist())) and len(found) > 20
    scores = expected.matching_scores0
    assert max(abs(score - float(scores[row])) for (row, _), score in found.items()) < 1e-4


def of_image(features):
    """Keypoints and descriptors of an image as inputs of a graph."""
    given = graph_inputs(features, 0)
    return {name[:-1]: given[name] for name in ("kpts0", "desc0")}


OPENCV_RUNS = """
import sys, cv2, numpy as np
given = np.load(sys.argv[2])
net = cv2.dnn.readNetFromONNX(sys.argv[1])
for name in given.files:
    net.setInput(given[name], name)
names = sys.argv[4:]
np.savez(sys.argv[3], **dict(zip(names, net.forward(names))))
"""


@pytest.mark.rare
def test_opencvs_engine_runs_the_form_of_type_disk(tmp_path):
    """No wheel of OpenCV has the type LG_DISK yet, so its engine is given what that class gives."""
    with_opencv("LightGlueMatcher")
    flavour, model = FLAVOURS["opencv-disk"], small_lightglue(scales=False, n_layers=1)
    examples, axes = example_inputs(flavour, model)
    with untyped():
        graph = to_onnx(flavour.form(PlainMatcher(model)), examples, flavour.outputs, axes)
    assert lint_graph(graph, "opencv") == []
    path = tmp_path / "disk.onnx"
    path.write_bytes(graph.SerializeToString())
    pair = made_up(model, 30, 40)
    given = flavour.adapted(graph_inputs(pair[0], 0) | graph_inputs(pair[1], 1))
    np.savez(tmp_path / "in.npz", **{name: given[name] for name in flavour.inputs})
    apart(OPENCV_RUNS, path, tmp_path / "in.npz", tmp_path / "out.npz", *flavour.outputs)
    found = np.load(tmp_path / "out.npz")
    expected = plain_reference(model).match(*pair)
    assert (found["matches0"].reshape(-1) == expected.matches0.numpy()).all() and len(expected) > 3
    assert np.abs(found["mscores0"].reshape(-1) - expected.matching_scores0.numpy()).max() < 1e-4


@pytest.mark.rare
@pytest.mark.weights
def test_openvino_finds_the_same(matcher_file, opencv_file):
    """Both the general form, padded and masked, and a real layer."""
    openvino = pytest.importorskip("openvino", exc_type=ImportError)
    for path, model in (
        (matcher_file, small_lightglue(n_layers=2)),
        (opencv_file, LightGlue.pretrained("aliked", LightGlueConfig(n_layers=1), precision=None)),
    ):
        name = "opencv" if path == opencv_file else "photoglue"
        pair = [replace(each, kind=None) for each in made_up(model, 30, 40)]
        given = FLAVOURS[name].adapted(graph_inputs(pair[0], 0) | graph_inputs(pair[1], 1))
        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        wanted = {port.any_name: given[port.any_name] for port in compiled.inputs}
        found = {port.any_name: array for port, array in compiled(wanted).items()}
        matches0, scores0 = FLAVOURS[name].matches(found, 30)
        expected = plain_reference(model).match(*pair)
        assert (matches0 == expected.matches0.numpy()).all() and len(expected) > 3
        rows = matches0 >= 0
        assert np.abs(scores0 - expected.matching_scores0.numpy())[rows].max() < 1e-4


@pytest.mark.rare
def test_what_is_known_against_real_files(matcher_file, opencv_file):
    """The general form keeps TensorRT's rules; that for OpenCV gives as many pairs as there are matches."""
    assert lint(matcher_file, "tensorrt") == [] and lint(opencv_file, "opencv") == []
    assert any("NonZero" in fault for fault in lint(opencv_file, "tensorrt"))
    assert any("kpts0 3" in fault for fault in lint(matcher_file, "opencv"))
    told = OnnxFile(opencv_file).certificate.consumers
    assert not told["opencv"] and told["tensorrt"]


def test_pycolmap_says_that_it_has_no_onnx(tmp_path):
    """Its wheels are built without; if this fails, a test with the real one can be written."""
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    options = pycolmap.FeatureMatchingOptions()
    if not hasattr(pycolmap, "FeatureMatcherType"):
        pytest.skip(f"pycolmap {pycolmap.__version__} has no choice of matchers")
    assert not hasattr(options, "aliked")


@pytest.mark.rare
@pytest.mark.weights
def test_half_precision_on_real_photos(real_pair):
    """The whole network in PyTorch with products in half precision, as the file computes them."""
    model = LightGlue.pretrained("aliked", LightGlueConfig.accurate(), precision=None)
    expected = plain_reference(model).match(*real_pair)
    given = graph_inputs(real_pair[0], 0) | graph_inputs(real_pair[1], 1)
    found = PlainMatcher(model, torch.float16)(**{name: torch.from_numpy(array) for name, array in given.items()})
    assert (found[0][0] == expected.matches0).float().mean() >= 0.985 and len(expected) > 100
