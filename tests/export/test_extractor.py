import pytest
import torch
from exported_files import small_aliked, untyped

from photoglue.errors import ConfigError, LicenceError, OutputError
from photoglue.export import export_extractor
from photoglue.export.extractor import extractor_case
from photoglue.exported import OnnxFile
from photoglue.extractors.onnx import ExportedOptions

onnx = pytest.importorskip("onnx", exc_type=ImportError)
pytest.importorskip("onnxscript", exc_type=ImportError)


@pytest.mark.slow
def test_certificate(extractor_file):
    certificate = OnnxFile(extractor_file).certificate
    assert (certificate.role, certificate.features, certificate.opset) == ("extractor", "aliked-t16", 22)
    assert certificate.faults == [] and certificate.commercial and "BSD" in certificate.licence
    assert [port.shape for port in certificate.inputs] == [("1", "3", "height", "width")]
    assert any(node.op_type == "DeformConv" for node in onnx.load(str(extractor_file)).graph.node)


@pytest.mark.parametrize(
    ("features", "options", "told"),
    [
        ("aliked", {"deform": "odd"}, "deform is 'odd'; it must be native or portable"),
        ("aliked", {"max_keypoints": 0}, "max_keypoints is 0; it must be from 1 to 3840"),
        ("sift", {}, "no network to export for 'sift'. There are: aliked"),
        ("orb", {}, "no network to export for 'orb'"),
    ],
)
def test_what_cannot_be_had(tmp_path, features, options, told):
    with untyped(), pytest.raises(ConfigError, match=told):
        export_extractor(tmp_path / "a.onnx", features, **options)


def test_deform_conv_needs_its_opset(tmp_path):
    with pytest.raises(ConfigError, match="DeformConv is in 22 and later"):
        export_extractor(tmp_path / "a.onnx", small_aliked(), opset=18)
    assert list(tmp_path.iterdir()) == []


def test_licence_and_place(tmp_path):
    with pytest.raises(LicenceError):
        export_extractor(tmp_path / "a.onnx", "superpoint")
    with pytest.raises(OutputError, match="is a folder"):
        (tmp_path / "b.onnx").mkdir()
        export_extractor(tmp_path / "b.onnx", "aliked")


def test_case_is_a_small_photo_in_whole_shades():
    options = ExportedOptions(
        count=5, channels=3, multiple=1, descriptor_dim=64, resize=None, detection_threshold=0.0, nms_radius=2
    )
    case = extractor_case(small_aliked(), options, "noise", torch.rand(3, 60, 80))
    image = case.inputs["image"] * 255
    assert image.shape == (1, 3, 60, 80) and abs(image - image.round()).max() < 1e-4
    assert case.expected["keypoints"].shape == (5, 2)
