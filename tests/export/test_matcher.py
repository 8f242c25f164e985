import pytest
import torch
from exported_files import small_lightglue, untyped

from photoglue import LightGlueConfig
from photoglue.errors import ConfigError, OutputError, WeightsError
from photoglue.export import export_matcher
from photoglue.export.matcher import matcher_of
from photoglue.exported import OnnxFile, cases_path, certificate_path

pytest.importorskip("onnxscript", exc_type=ImportError)


@pytest.mark.slow
def test_certificate(matcher_file):
    certificate = OnnxFile(matcher_file).certificate
    assert (certificate.role, certificate.features, certificate.flavour) == ("matcher", "made-up", "photoglue")
    assert (certificate.opset, certificate.dtype, certificate.licence) == (18, "float32", "unknown")
    assert certificate.faults == [] and len(certificate.checks) >= 8
    assert [port.name for port in certificate.outputs] == ["matches0", "matches1", "mscores0", "mscores1"]
    assert len(certificate.inputs) == 12
    assert {path.name for path in matcher_file.parent.iterdir()} == {
        path.name for path in (matcher_file, certificate_path(matcher_file), cases_path(matcher_file))
    }


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"flavour": "caffe"}, "flavour is 'caffe'; it must be one of photoglue, "),
        ({"dtype": "int8"}, "dtype is 'int8'; it must be"),
        ({"opset": 12}, "opset is 12; torch"),
        ({"n_layers": 9}, "9"),
        ({"flavour": "opencv"}, "no inputs for scale and orientation"),
    ],
)
def test_what_cannot_be_had(tmp_path, options, told):
    with untyped(), pytest.raises(ConfigError, match=told):
        export_matcher(tmp_path / "a.onnx", small_lightglue(), **options)
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        export_matcher(tmp_path / "absent" / "a.onnx", small_lightglue())
    with pytest.raises(ConfigError, match=r"must end in .onnx"):
        export_matcher(tmp_path / "a.pt", small_lightglue())


def test_networks_by_name_or_file(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no matcher 'orb'. There are: "):
        matcher_of("orb", None)
    with pytest.raises(WeightsError):
        matcher_of(str(tmp_path / "absent.safetensors"), None)
    model = small_lightglue()
    model.save(tmp_path / "own.safetensors")
    again, origin = matcher_of(str(tmp_path / "own.safetensors"), 2)
    shorter, other = matcher_of(model, 2)
    assert origin["weights"] == "own.safetensors" and origin["weights_digest"] == other["weights_digest"]
    assert again.shape.n_layers == shorter.shape.n_layers == 2
    assert again.config == LightGlueConfig.accurate(n_layers=2)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), shorter.parameters(), strict=True))
