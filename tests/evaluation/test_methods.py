import pytest
import torch

from photoglue import LightGlue, LightGlueShape
from photoglue.errors import ConfigError
from photoglue.evaluation.methods import Method
from photoglue.evaluation.protocols import protocol_named

CPU = torch.device("cpu")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "a+b@1.safetensors"
    LightGlue(shape=LightGlueShape(input_dim=128, descriptor_dim=32, num_heads=2, n_layers=2)).save(path)
    return path


@pytest.mark.parametrize(
    ("text", "extractor", "matcher", "ratio", "precision"),
    [
        ("aliked+lightglue", "aliked", "lightglue", None, "auto"),
        ("aliked-n32+lightglue-adaptive@bfloat16", "aliked-n32", "lightglue-adaptive", None, "bfloat16"),
        ("disk+nn", "disk", "nn", None, "auto"),
        ("sift+ratio", "sift", "nn", 0.8, "auto"),
        ("sift+ratio0.95@float32", "sift", "nn", 0.95, "float32"),
    ],
)
def test_names(text, extractor, matcher, ratio, precision):
    method = Method.parse(text)
    assert (method.extractor, method.matcher, method.ratio, method.precision) == (extractor, matcher, ratio, precision)
    assert method.name == text
    assert method.weights is None


def test_own_weights(weights):
    """Plus and at signs in the path are no grammar."""
    for text, kind, full in ((f"sift+{weights}", "lightglue", True), (f"sift+adaptive:{weights}@float32", None, False)):
        method = Method.parse(text)
        assert method.weights == weights
        if kind:
            assert method.matcher == kind
        matcher = method.build(protocol_named("photoglue", "homography"), CPU, allow_noncommercial=False).matcher
        assert (matcher.config.depth_confidence is None) == full
        assert matcher.shape.descriptor_dim == 32


@pytest.mark.parametrize(
    "text", ["aliked", "sfit+nn", "sift+nnn", "sift+ratio2", "sift+", "+nn", "sift+nn@int8", "sift+/absent.pth"]
)
def test_no_methods(text):
    with pytest.raises(ConfigError, match=r"EXTRACTOR\+MATCHER|it must be in \(0, 1\]"):
        Method.parse(text)


def test_resolved_name_has_the_precision_that_was_used(monkeypatch):
    import photoglue.evaluation.methods as module

    assert Method.parse("aliked+nn@float32").resolved_name(CPU) == "aliked+nn"
    assert Method.parse("aliked+nn@bfloat16").resolved_name(CPU) == "aliked+nn@bfloat16"
    monkeypatch.setattr(module, "choose_precision", lambda precision, device: torch.bfloat16)
    assert Method.parse("aliked+lightglue").resolved_name(CPU) == "aliked+lightglue@bfloat16"
    assert Method.parse("sift+nn").resolved_name(CPU) == "sift+nn"  # nothing there is ever in half precision


def test_fingerprint_changes_with_the_weights(weights):
    before = Method.parse(f"sift+{weights}").fingerprint(CPU)
    LightGlue(shape=LightGlueShape(input_dim=128, descriptor_dim=32, num_heads=2, n_layers=3)).save(weights)
    assert Method.parse(f"sift+{weights}").fingerprint(CPU) != before


def test_the_protocol_makes_the_extractor():
    protocol = protocol_named("glue-factory", "homography")
    config = Method.parse("sift+nn").build(protocol, CPU, allow_noncommercial=False).extractor.config
    assert (config.max_keypoints, config.resize, config.nms_radius) == (1024, None, 3)


def test_suppression_is_for_superpoint_alone(monkeypatch):
    import photoglue.pipeline as module
    from photoglue.extractors import SIFT

    asked = {}

    def create(name, *, allow_noncommercial, **options):
        asked[name] = options
        return SIFT()

    monkeypatch.setattr(module, "create_extractor", create)
    protocol = protocol_named("superglue", "relative_pose")
    for name in ("superpoint", "aliked"):
        Method.parse(f"{name}+nn").build(protocol, CPU, allow_noncommercial=True)
    assert (asked["superpoint"]["nms_radius"], asked["superpoint"]["detection_threshold"]) == (4, 0.005)
    assert asked["aliked"].keys() == {"max_keypoints", "resize", "precision"}
