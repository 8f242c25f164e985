"""Extractors by name: ours with the options of training, and classes of the user's."""

import sys

import pytest
import tiny_training

from photoglue.errors import ConfigError, WeightsError
from photoglue.extractors.named import label_of, named_extractor, source_digest, training_extractor


@pytest.fixture
def corners(tmp_path, monkeypatch):
    """A file with an extractor of one's own; the modules of other tests are gone."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "corners", raising=False)
    path = tmp_path / "corners.py"
    path.write_text(tiny_training.EXTRACTOR)
    return path


def make(name, **options):
    return training_extractor(name, **{"max_keypoints": 100, "allow_noncommercial": False, **options})


def test_ours_have_the_options_of_training():
    pytest.importorskip("cv2", exc_type=ImportError)
    extractor = make("sift", resize=320)
    assert (extractor.config.max_keypoints, extractor.config.resize) == (100, 320)


def test_a_class_of_ones_own_keeps_its_number_of_keypoints(corners):
    extractor = make(f"{corners}:Corners", resize=320)
    assert (extractor.kind, extractor.descriptor_dim, extractor.config.resize) == ("corners", 9, 320)
    assert extractor.config.max_keypoints == type(extractor)().config.max_keypoints


def test_a_module_of_ones_own(corners, monkeypatch):
    monkeypatch.chdir(corners.parent)
    assert make("corners:Corners").kind == "corners"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("corners.py:Absent", "'Absent' is not there"),
        ("corners.py:other", "is no subclass of photoglue.Extractor"),
        ("corners.py:NoKind", "does not define kind and descriptor_dim"),
        ("corners.py:Needy", "cannot be made without arguments"),
        ("absent.py:Corners", "There is no file"),
    ],
)
def test_classes_that_do_not_work(corners, name, message):
    with pytest.raises(ConfigError, match=message):
        make(str(corners.parent / name))


def test_a_name_that_python_knows_already(corners):
    corners.rename(corners.parent / "json.py")
    with pytest.raises(ConfigError, match="another module 'json'"):
        make(f"{corners.parent / 'json.py'}:Corners")


def test_a_module_that_is_not_installed():
    with pytest.raises(ConfigError, match=r"'no\.such', cannot be imported"):
        make("no.such:Class")


def test_unknown_features():
    with pytest.raises(ConfigError, match=r"There are no features 'surf'.*path/file\.py:Class"):
        make("surf")


def test_one_function_for_names_and_classes(corners):
    pytest.importorskip("cv2", exc_type=ImportError)
    assert named_extractor("sift", max_keypoints=50).config.max_keypoints == 50
    extractor = named_extractor(f"{corners}:Corners", max_keypoints=50, resize=200)
    assert (extractor.config.max_keypoints, extractor.config.resize) == (50, 200)
    assert not extractor.training


def test_a_class_says_which_options_it_does_not_have(corners):
    with pytest.raises(ConfigError, match="sharpness"):
        named_extractor(f"{corners}:Corners", sharpness=3)


def test_a_module_that_fails_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "broken_features.py").write_text("1 / 0")
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        named_extractor(f"{tmp_path / 'broken_features.py'}:Corners")


def test_exported_files(tmp_path):
    path = tmp_path / "aliked.onnx"
    assert label_of(str(path)) == "aliked.onnx" and source_digest(str(path)) is None
    path.write_bytes(b"one")
    first = source_digest(str(path))
    path.write_bytes(b"two")
    assert first and source_digest(str(path)) not in (None, first)
    assert source_digest("aliked") is None
    pytest.importorskip("onnxruntime", exc_type=ImportError)
    with pytest.raises(WeightsError, match="cannot be read as an ONNX file"):
        named_extractor(str(path))
