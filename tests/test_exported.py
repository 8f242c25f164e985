import pytest
from exported_files import recertified

from photoglue.errors import ConfigError, LicenceError, MissingExtra, WeightsError
from photoglue.exported import Certificate, Check, OnnxFile, Port, chosen_providers

onnx = pytest.importorskip("onnx", exc_type=ImportError)
pytest.importorskip("onnxruntime", exc_type=ImportError)


def certificate(check, **options):
    facts = {
        "role": "matcher", "features": "made-up", "flavour": "photoglue", "dtype": "float32", "opset": 18,
        "options": "", "weights": "", "weights_digest": "", "licence": "", "commercial": True, "source": "",
        "inputs": (), "outputs": (), "graph_sha256": "", "checks": (check,),
    }  # fmt: skip
    return Certificate(**(facts | options))


def check(**options):
    facts = {"name": "a b", "real": True, "sizes": (9, 9), "count": 5, "equal": 1.0, "max_error": 0.0}
    return Check(**({**facts, "mean_error": 0.0} | options))


@pytest.mark.parametrize(
    ("measured", "fault"),
    [
        ({}, None),
        ({"equal": 0.999}, "a b: 99.90% equal"),
        ({"max_error": 6e-5}, "a b: scores differ by 6.0e-05"),
        ({"position_error": 2e-3}, "a b: points differ by 2.0e-03 pixels"),
        ({"descriptor_error": 3e-3}, "a b: descriptors differ by 3.0e-03"),
        ({"exit_layer": 4, "expected_exit": 5}, "a b: exit after layer 4, not 5"),
    ],
)
def test_faults(measured, fault):
    assert certificate(check(**measured)).faults == ([] if fault is None else [fault])


def test_half_precision_scales_and_extractors_have_limits_of_their_own():
    loose = check(equal=0.99, max_error=0.1)
    assert certificate(loose, dtype="float16").faults == []
    assert len(certificate(check(equal=0.98), dtype="float16").faults) == 1
    assert certificate(check(equal=0.999), role="extractor").faults == []
    ports = (Port(name="scales0", type="float32", shape=("1", "n")),)
    assert certificate(check(max_error=9e-5), inputs=ports).faults == []
    assert certificate(check(max_error=1.9e-4), role="pipeline").faults == []
    assert len(certificate(check(max_error=2.1e-4), role="pipeline").faults) == 1


def test_providers():
    assert chosen_providers(None)[-1] == "CPUExecutionProvider"
    assert chosen_providers(["CPUExecutionProvider"]) == ["CPUExecutionProvider"]
    with pytest.raises(ConfigError, match=r"no provider NoneSuch here. There are: .*CPUExecutionProvider"):
        chosen_providers(["NoneSuch"])


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"photoglue\[export\]"):
        chosen_providers(None)


def test_files_that_are_none(tmp_path):
    with pytest.raises(WeightsError, match="There is no file"):
        OnnxFile(tmp_path / "absent.onnx")
    with pytest.raises(WeightsError, match="is a folder; staged"):
        OnnxFile(tmp_path)
    text = tmp_path / "text.onnx"
    text.write_text("no graph")
    with pytest.raises(WeightsError, match="cannot be read as an ONNX file"):
        OnnxFile(text)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info(name, kind, [1]) for name in ("left", "right")]
    node = helper.make_node("Relu", ["left"], ["right"])
    graph = helper.make_graph([node], "foreign", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(WeightsError, match=r"none that `photoglue export` wrote.* inputs are left"):
        OnnxFile(tmp_path / "foreign.onnx")


@pytest.mark.slow
def test_cut_off(matcher_file, tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(matcher_file.read_bytes()[:-5000])
    with pytest.raises(WeightsError, match=r"cannot be read as an ONNX file|none that"):
        OnnxFile(cut)


@pytest.mark.slow
def test_noncommercial_weights_keep_their_gate(extractor_file, tmp_path):
    path = recertified(extractor_file, tmp_path / "gated.onnx", commercial=False, licence="research only")
    with pytest.raises(LicenceError, match=r"research only.*--allow-noncommercial"):
        OnnxFile(path)
    assert OnnxFile(path, allow_noncommercial=True).certificate.role == "extractor"


@pytest.mark.slow
def test_certificate_that_cannot_be_read(extractor_file, tmp_path):
    model = onnx.load(str(extractor_file))
    for entry in model.metadata_props:
        entry.value = "{}"
    onnx.save(model, str(tmp_path / "odd.onnx"))
    with pytest.raises(WeightsError, match="certificate in the file cannot be read"):
        OnnxFile(tmp_path / "odd.onnx")
