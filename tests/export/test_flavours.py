"""Names, order and ranks as the consumers' loaders ask for them, and the forms in torch; OpenCV itself is below."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from exported_files import small_lightglue

from photoglue import LightGlue, LightGlueConfig
from photoglue.export.cases import made_up, plain_reference
from photoglue.export.flavours import FLAVOURS, example_inputs
from photoglue.export.graph import PlainMatcher
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


@pytest.mark.slow
@pytest.mark.weights
def test_opencv_loads_it_and_finds_the_same(opencv_file):
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    if not hasattr(cv2, "LightGlueMatcher"):
        pytest.skip(f"OpenCV {cv2.__version__} has no LightGlueMatcher")
    model = LightGlue.pretrained("aliked", LightGlueConfig(n_layers=1), precision=None)
    pair = [replace(each, kind=None) for each in made_up(model, 60, 50)]
    expected = plain_reference(model).match(*pair)
    matcher = cv2.LightGlueMatcher.create(str(opencv_file))
    keypoints = [each.keypoints.numpy() for each in pair]
    longest = max(pair[0].image_size)
    matcher.setPairInfo(*keypoints, (longest, longest), (longest, longest))
    found = matcher.match(*(each.descriptors.numpy() for each in pair))
    assert {(each.queryIdx, each.trainIdx) for each in found} == set(map(tuple, expected.indices.tolist()))
    assert len(found) > 10


def test_gelu_is_not_written_as_opencv_crashes_on(opencv_file):
    """OpenCV 5.0.0.93 crashes on x / √2 → Erf; ours is a product."""
    onnx = pytest.importorskip("onnx", exc_type=ImportError)
    graph = onnx.load(str(opencv_file)).graph
    made_by = {output: node for node in graph.node for output in node.output}
    erfs = [node for node in graph.node if node.op_type == "Erf"]
    assert erfs and {made_by[node.input[0]].op_type for node in erfs} == {"Mul"}


@pytest.mark.slow
def test_tensorrts_rules(matcher_file):
    """Lengths of outputs follow from those of inputs, nothing is larger than half precision, and there is no If."""
    onnx = pytest.importorskip("onnx", exc_type=ImportError)
    graph = onnx.load(str(matcher_file)).graph
    operations = {node.op_type for node in graph.node}
    assert not operations & {"NonZero", "If", "Loop", "Compress", "Unique", "NonMaxSuppression", "Scan"}
    lengths = {dim.dim_param for value in graph.input for dim in value.type.tensor_type.shape.dim if dim.dim_param}
    assert {
        dim.dim_param for value in graph.output for dim in value.type.tensor_type.shape.dim if dim.dim_param
    } <= lengths
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        assert values.dtype in (np.int64, bool) or np.abs(values).max(initial=0) <= 65504, tensor.name
