"""Files that are exported once for all tests: a small LightGlue with scale and orientation, and small extractors."""

import contextlib
from pathlib import Path

import pytest


@contextlib.contextmanager
def untyped():
    """Without the jaxtyping hook, which would compare lengths that torch's tracing keeps open."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def small_lightglue(*, scales: bool = True, n_layers: int = 3):
    """Layers of random weights that match, exit and drop points: the same each time."""
    import torch

    from photoglue import LightGlue, LightGlueConfig
    from photoglue.matchers.lightglue.config import LightGlueShape

    torch.manual_seed(7)
    shape = LightGlueShape(
        input_dim=16, descriptor_dim=32, n_layers=n_layers, num_heads=2, add_scale_ori=scales, kinds=("made-up",)
    )
    model = LightGlue(LightGlueConfig(), shape=shape)
    with torch.no_grad():
        for layer in model.transformers:
            for block in (layer.self_attn, layer.cross_attn):
                block.ffn[3].weight.mul_(0.1)
                block.ffn[3].bias.mul_(0.1)
        for head in model.log_assignment:
            torch.nn.init.orthogonal_(head.final_proj.weight, gain=7.0)
            head.matchability.weight.mul_(18)
            head.matchability.bias.fill_(3.0)
        for confidence in model.token_confidence:
            confidence.token[0].bias.fill_(2.3)
            confidence.token[0].weight.mul_(3)
    return model.eval().requires_grad_(False)


def _exported(folder: Path, function, *arguments, **options):
    pytest.importorskip("onnxscript", exc_type=ImportError)
    pytest.importorskip("onnxruntime", exc_type=ImportError)
    with untyped():
        return function(folder, *arguments, **options)


@pytest.fixture(scope="session")
def matcher_file(tmp_path_factory) -> Path:
    """The small network with scales, of 2 layers, in the general form."""
    from photoglue.export import export_matcher

    path = tmp_path_factory.mktemp("matcher") / "small.onnx"
    _exported(path, export_matcher, small_lightglue(n_layers=2))
    return path


@pytest.fixture(scope="session")
def opencv_file(tmp_path_factory) -> Path:
    """The first layer of the network for ALIKED, for OpenCV."""
    from photoglue import LightGlue, LightGlueConfig
    from photoglue.export import export_matcher

    path = tmp_path_factory.mktemp("opencv") / "opencv.onnx"
    model = LightGlue.pretrained("aliked", LightGlueConfig(n_layers=1), precision=None)
    model.shape = model.shape.__class__(**{**vars(model.shape), "kinds": None})  # features from photos take long
    _exported(path, export_matcher, model, flavour="opencv")
    return path


@pytest.fixture(scope="session")
def staged_folder(tmp_path_factory) -> Path:
    """The small network with scales, in stages."""
    from photoglue.export import export_staged

    folder = tmp_path_factory.mktemp("staged") / "small"
    _exported(folder, export_staged, small_lightglue())
    return folder


def small_aliked():
    """ALIKED t16 of random weights, which finds points in most photos."""
    import torch

    from photoglue.extractors import ALIKED, ALIKEDConfig

    torch.manual_seed(3)
    config = ALIKEDConfig(variant="t16", max_keypoints=40, detection_threshold=0.0, resize=120, precision="float32")
    return ALIKED(config).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def photo_file(tmp_path_factory) -> Path:
    """A part of a real photo, 120 × 90 pixels."""
    import PIL.Image

    skimage = pytest.importorskip("skimage", exc_type=ImportError)
    path = tmp_path_factory.mktemp("photo") / "part.png"
    with PIL.Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png") as photo:
        photo.crop((150, 20, 390, 200)).resize((120, 90)).save(path)
    return path


@pytest.fixture(scope="session")
def extractor_file(tmp_path_factory, photo_file) -> Path:
    """ALIKED of random weights and 40 points, with DeformConv."""
    from photoglue.export import export_extractor

    path = tmp_path_factory.mktemp("extractor") / "aliked.onnx"
    _exported(path, export_extractor, small_aliked(), max_keypoints=40, photos=[photo_file])
    return path


def recertified(path: Path, target: Path, **changes) -> Path:
    """A copy of an exported file whose certificate says something else."""
    import onnx

    from photoglue.export.convert import write_certified
    from photoglue.exported import OnnxFile

    certificate = OnnxFile(path, threads=1, allow_noncommercial=True).certificate
    write_certified(target, onnx.load(str(path)), certificate.__class__(**{**vars(certificate), **changes}))
    return target
