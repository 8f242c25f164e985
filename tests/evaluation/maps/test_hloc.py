"""The peer is hloc's own code with the true cameras; skipped where hloc is not installed."""

import importlib
import json
import shutil
import sys
from types import SimpleNamespace

import pytest

from photoglue.errors import ConfigError, MissingExtra
from photoglue.evaluation.maps import hloc as peer
from photoglue.evaluation.maps.hloc import HlocMapper
from photoglue.evaluation.maps.mappers import mapper_named
from photoglue.evaluation.maps.run import measure_maps

pytest.importorskip("pycolmap", exc_type=ImportError)


def test_without_it(tmp_path, monkeypatch):
    """The message says where it is to be had."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "hloc"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hloc", None)
    with pytest.raises(MissingExtra, match=r"hloc cannot be imported.*pip install git\+https"):
        mapper_named("hloc")(tmp_path, tmp_path, None, lambda *_: None)


def test_names_of_configurations(tmp_path, monkeypatch):
    monkeypatch.setattr(peer, "_part", lambda name: SimpleNamespace(confs={"aliked-n16": {}}))
    with pytest.raises(ConfigError, match=r"no configuration 'aliked\+lightglue'\. There are: aliked-n16"):
        HlocMapper()(tmp_path, tmp_path, None, lambda *_: None)


def test_without_the_package_that_it_uses(tmp_path, monkeypatch):
    confs = SimpleNamespace(confs={"aliked-n16": {}, "aliked+lightglue": {}})
    monkeypatch.setattr(peer, "_part", lambda name: confs)
    monkeypatch.setitem(sys.modules, "lightglue", None)
    with pytest.raises(MissingExtra, match=r"LightGlue's package.*cvg/LightGlue"):
        HlocMapper()(tmp_path, tmp_path, None, lambda *_: None)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_four_photos_with_known_cameras(shared_data, tmp_path, official, monkeypatch):
    pytest.importorskip("hloc", reason="hloc is not installed", exc_type=ImportError)
    monkeypatch.setitem(sys.modules, "lightglue", official)
    assert importlib.import_module("lightglue") is official
    scene = tmp_path / "fountain"
    source = shared_data / "eval" / "strecha" / "fountain-P11"
    (scene / "images").mkdir(parents=True)
    for number in (4, 5, 6, 7):
        shutil.copy(source / "images" / f"000{number}.jpg", scene / "images")
    frames = json.loads((source / "cameras.json").read_text())
    frames = {name: frame for name, frame in frames.items() if (scene / "images" / name).is_file()}
    (scene / "cameras.json").write_text(json.dumps(frames))
    (result,) = measure_maps([scene], ["hloc"], tmp_path / "out", intrinsics=["known"])
    assert result.score.placed == 4
    assert result.score.position < 0.02  # metres
    assert set(result.cpu_seconds) == {"extract", "match", "verify", "map"}
