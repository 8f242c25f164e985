import pytest
from exported_files import small_lightglue

from photoglue.export.stages import StageHead, StageLayer, exchanged

onnx = pytest.importorskip("onnx", exc_type=ImportError)


@pytest.mark.parametrize(("kind", "stage"), [("layer", StageLayer), ("head", StageHead)])
def test_files_differ_in_their_weights_alone(staged_folder, kind, stage):
    graphs = [onnx.load(str(staged_folder / f"{kind}{number}.onnx")).graph for number in (0, 2)]
    assert len({tuple(node.op_type for node in graph.node) for graph in graphs}) == 1
    state = stage(small_lightglue(), 2).state_dict()
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graphs[1].initializer}
    for name, tensor in state.items():
        assert (values[name] == tensor.numpy()).all(), name


def test_no_weight_is_left_out(staged_folder):
    model = onnx.load(str(staged_folder / "head0.onnx"))
    del model.graph.initializer[0]
    with pytest.raises(AssertionError, match="weights without a place"):
        exchanged(model, StageHead(small_lightglue(), 1))
