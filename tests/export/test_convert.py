import hashlib
import sys

import pytest
from exported_files import recertified

from photoglue.errors import ConfigError, MissingExtra, OutputError
from photoglue.export.convert import check_opset, graph_sha256, ports
from photoglue.exported import OnnxFile, certificate_path

onnx = pytest.importorskip("onnx", exc_type=ImportError)
pytest.importorskip("onnxscript", exc_type=ImportError)


@pytest.mark.parametrize("opset", [0, 17, 99])
def test_opsets_that_cannot_be_had(opset):
    with pytest.raises(ConfigError, match=rf"opset is {opset}; torch .* and onnx write 18 to \d+"):
        check_opset(opset)
    check_opset(18)


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_package_names_the_extra(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"photoglue\[export\]"):
        check_opset(18)


def test_certificate_is_no_part_of_the_graphs_hash(matcher_file, tmp_path):
    first = onnx.load(str(matcher_file))
    other = recertified(matcher_file, tmp_path / "other.onnx", licence="MIT")
    second = onnx.load(str(other))
    assert first.metadata_props != second.metadata_props and graph_sha256(first) == graph_sha256(second)
    assert {entry.key for entry in second.metadata_props} == {"photoglue", "licence", "features"}
    beside = certificate_path(other).read_text()
    assert hashlib.sha256(other.read_bytes()).hexdigest() in beside
    assert not any(node.metadata_props or node.doc_string for node in first.graph.node)  # no path of this machine


def test_names_and_axes(matcher_file):
    graph = onnx.load(str(matcher_file)).graph
    named = {port.name: port for port in ports(graph.input)}
    assert named["kpts0"].type == "float32" and named["kpts0"].shape == ("batch", "points0", "2")
    assert named["desc1"].shape == ("batch", "points1", "16") and named["mask1"].type == "bool"
    assert named["image_size0"].shape == ("batch", "2")
    assert OnnxFile(matcher_file).certificate.inputs == tuple(named.values())


def test_nothing_is_half_written(matcher_file, tmp_path):
    with pytest.raises(OutputError):
        recertified(matcher_file, tmp_path / "absent" / "a.onnx")
    assert list(tmp_path.iterdir()) == []
