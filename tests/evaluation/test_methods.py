import sys

import pytest
import tiny_training
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


def test_refined():
    method = Method.parse("sift+ratio0.9@float32~refined0.8")
    assert (method.matcher, method.ratio, method.precision) == ("nn", 0.9, "float32")
    assert method.refine.min_correlation == 0.8
    assert method.resolved_name(CPU) == "sift+ratio0.9~refined0.8"
    plain, refined = Method.parse("sift+nn"), Method.parse("sift+nn~refined")
    assert (plain.refine, refined.refine.min_correlation) == (None, None)
    assert plain.fingerprint(CPU) != refined.fingerprint(CPU)
    assert {**refined.fingerprint(CPU), "refine": None} == {**plain.fingerprint(CPU), "refine": None}
    assert refined.build(protocol_named("photoglue", "homography"), CPU, allow_noncommercial=False).refine


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


def test_weights_of_a_released_model():
    method = Method.parse("sift+adaptive:sift-photoglue")
    assert (method.name, method.matcher) == ("sift+adaptive:sift-photoglue", "lightglue-adaptive")
    assert method.weights.name == "sift-photoglue.safetensors"
    assert method.resolved_name(CPU).startswith("sift+adaptive:sift-photoglue")


@pytest.mark.parametrize(
    "text",
    [
        "aliked",
        "sfit+nn",
        "sift+nnn",
        "sift+ratio2",
        "sift+",
        "+nn",
        "sift+nn@int8",
        "sift+/absent.pth",
        "sift+nn~refine",
    ],
)
def test_no_methods(text):
    with pytest.raises(ConfigError, match=r"EXTRACTOR\+MATCHER|it must be in \(0, 1\]"):
        Method.parse(text)


def test_resolved_name_has_the_precision_that_was_used(monkeypatch):
    import photoglue.evaluation.methods as module

    assert Method.parse("aliked+nn@float32").resolved_name(CPU) == "aliked+nn"
    assert Method.parse("aliked+nn@bfloat16").resolved_name(CPU) == "aliked+nn@bfloat16"
    monkeypatch.setattr(module, "choose_precision", lambda precision, device, work: torch.bfloat16)
    monkeypatch.setattr(module, "matching_precision", lambda precision, device: "bfloat16")
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

    monkeypatch.setattr(module, "named_extractor", create)
    protocol = protocol_named("superglue", "relative_pose")
    for name in ("superpoint", "aliked"):
        Method.parse(f"{name}+nn").build(protocol, CPU, allow_noncommercial=True)
    assert (asked["superpoint"]["nms_radius"], asked["superpoint"]["detection_threshold"]) == (4, 0.005)
    assert asked["aliked"].keys() == {"max_keypoints", "resize", "precision"}


@pytest.fixture
def corners(tmp_path, monkeypatch):
    """A file with an extractor of one's own, in a folder with a plus sign; the modules of other tests are gone."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "corners", raising=False)
    path = tmp_path / "a+b" / "corners.py"
    path.parent.mkdir()
    path.write_text(tiny_training.EXTRACTOR)
    return path


def test_a_class_of_ones_own(corners, tmp_path):
    method = Method.parse(f"{corners}:Corners+nn@float32")
    assert (method.name, method.resolved_name(CPU), method.matcher) == ("Corners+nn@float32", "Corners+nn", "nn")
    built = method.build(protocol_named("glue-factory", "homography"), CPU, allow_noncommercial=False)
    assert (built.extractor.kind, built.extractor.config.max_keypoints, built.extractor.config.resize) == (
        "corners", 1024, None
    )  # fmt: skip
    path = tmp_path / "c+d.safetensors"
    LightGlue(shape=LightGlueShape(input_dim=9, descriptor_dim=32, num_heads=2, n_layers=2)).save(path)
    method = Method.parse(f"{corners}:Corners+{path}")
    assert method.name == f"Corners+{path}"
    built = method.build(protocol_named("glue-factory", "homography"), CPU, allow_noncommercial=False)
    assert built.matcher.shape.input_dim == 9


def test_a_module_of_ones_own(corners, monkeypatch):
    monkeypatch.chdir(corners.parent)
    assert Method.parse("corners:Corners+ratio@float32").name == "Corners+ratio@float32"


def test_the_fingerprint_changes_with_the_code_of_the_class_and_not_with_its_place(corners, monkeypatch):
    before = Method.parse(f"{corners}:Corners+nn").fingerprint(CPU)
    monkeypatch.chdir(corners.parent)
    assert Method.parse("corners.py:Corners+nn").fingerprint(CPU) == before
    corners.write_text(tiny_training.EXTRACTOR + "\n# another\n")
    assert Method.parse(f"{corners}:Corners+nn").fingerprint(CPU) != before
    assert "source" not in Method.parse("sift+nn").fingerprint(CPU)


@pytest.mark.parametrize("name", ["Absent", "NoKind"])
def test_a_class_that_cannot_be_used_says_why(corners, name):
    with pytest.raises(ConfigError, match=r"is not there|does not define kind"):
        Method.parse(f"{corners}:{name}+nn").build(
            protocol_named("photoglue", "homography"), CPU, allow_noncommercial=False
        )


@pytest.mark.slow
def test_exported_files(matcher_file, staged_folder, extractor_file):
    method = Method.parse(f"{extractor_file}+{matcher_file}")
    assert (method.name, method.matcher) == (f"aliked.onnx+{matcher_file}", "exported")
    assert method.resolved_name(CPU) == method.name
    built = method.build(protocol_named("photoglue", "homography"), CPU, allow_noncommercial=False)
    assert (type(built.extractor).__name__, type(built.matcher).__name__) == ("OnnxExtractor", "OnnxMatcher")
    staged = Method.parse(f"aliked+{staged_folder}")
    assert staged.matcher == "exported"
    prints = [each.fingerprint(CPU) for each in (method, staged, Method.parse(f"aliked+{matcher_file}"))]
    assert len({print_["weights"] for print_ in prints}) == 2
    assert prints[0]["source"] and "source" not in prints[1]


def test_a_preset_has_its_own_points_and_pixels_whatever_the_protocol_says(planes):
    from photoglue.datasets.layouts import load_dataset
    from photoglue.evaluation.jobs import Settings, jobs_of

    best, plain = jobs_of(
        [load_dataset(planes)], ["aliked+best@float32", "aliked+lightglue@float32"], Settings(device="cpu")
    )
    assert (best.protocol.max_keypoints, best.protocol.resize, best.protocol.resize_side) == (4096, 1600, "long")
    assert best.card == plain.card
    assert best.method.refine is not None and Method.parse("aliked+edge").refine is None
    assert best.method.resolved_name(CPU) == "aliked+best"
    assert Method.parse("aliked+best@bfloat16~refined0.8").resolved_name(CPU) == "aliked+best@bfloat16~refined0.8"
    assert best.method.fingerprint(CPU) != Method.parse("aliked+lightglue@float32~refined").fingerprint(CPU)
    assert Method.parse("aliked+edge")._config().n_layers == 5
