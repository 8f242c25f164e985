"""Files that are exported once for all tests: a small LightGlue with scale and orientation, and small extractors."""

import contextlib
import fcntl
import os
import shutil
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


def _exported(factory, name: str, function, *arguments, **options) -> Path:
    """What a function exports, once for all processes of the tests: a file or folder of this name."""
    pytest.importorskip("onnxscript", exc_type=ImportError)
    pytest.importorskip("onnxruntime", exc_type=ImportError)
    root = factory.getbasetemp()
    root = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    folder = root / f"exported {function.__name__} {name}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            folder.mkdir()
            try:
                with untyped():
                    function(folder / name, *arguments, **options)
            except BaseException:
                shutil.rmtree(folder)
                raise
    return folder / name


@pytest.fixture(scope="session")
def matcher_file(tmp_path_factory) -> Path:
    """The small network with scales, of 2 layers, in the general form."""
    from photoglue.export import export_matcher

    return _exported(tmp_path_factory, "small.onnx", export_matcher, small_lightglue(n_layers=2))


@pytest.fixture(scope="session")
def opencv_file(tmp_path_factory) -> Path:
    """The first layer of the network for ALIKED, for OpenCV."""
    from photoglue import LightGlue, LightGlueConfig
    from photoglue.export import export_matcher

    model = LightGlue.pretrained("aliked", LightGlueConfig(n_layers=1), precision=None)
    model.shape = model.shape.__class__(**{**vars(model.shape), "kinds": None})  # features from photos take long
    return _exported(tmp_path_factory, "opencv.onnx", export_matcher, model, flavour="opencv")


@pytest.fixture(scope="session")
def staged_folder(tmp_path_factory) -> Path:
    """The small network with scales, in stages."""
    from photoglue.export import export_staged

    return _exported(tmp_path_factory, "small", export_staged, small_lightglue())


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

    return _exported(
        tmp_path_factory, "aliked.onnx", export_extractor, small_aliked(), max_keypoints=40, photos=[photo_file]
    )


def recertified(path: Path, target: Path, **changes) -> Path:
    """A copy of an exported file whose certificate says something else."""
    import onnx

    from photoglue.export.convert import write_certified
    from photoglue.exported import OnnxFile

    certificate = OnnxFile(path, threads=1, allow_noncommercial=True).certificate
    write_certified(target, onnx.load(str(path)), certificate.__class__(**{**vars(certificate), **changes}))
    return target
