"""What pycolmap lacks is named, and a model says what is in it. Mapping itself is in tests/sfm/test_reconstruct.py."""

from types import ModuleType, SimpleNamespace

import pytest

from photoglue.errors import ConfigError, OutputError, PhotoGlueError
from photoglue.solvers import colmap_mapping
from photoglue.solvers.colmap_mapping import MapperOptions, map_photos, numbers_in, read_model


@pytest.mark.parametrize(
    ("mapper", "capability"), [("incremental", "IncrementalPipeline"), ("global", "global_mapping")]
)
def test_an_old_pycolmap_is_told_what_it_lacks(tmp_path, monkeypatch, mapper, capability):
    old = ModuleType("pycolmap")
    old.__version__ = "3.9"
    monkeypatch.setattr(colmap_mapping, "pycolmap", lambda: old)
    with pytest.raises(ConfigError, match=rf"\(3\.9\) has no {capability}.*pip install --upgrade pycolmap"):
        map_photos(tmp_path / "d.db", tmp_path, tmp_path, MapperOptions(mapper=mapper))


def test_no_model(tmp_path):
    pytest.importorskip("pycolmap", exc_type=ImportError)
    for read in (read_model, numbers_in):
        with pytest.raises(ConfigError, match="no COLMAP model"):
            read(tmp_path)


def test_a_model_says_what_is_in_it(tmp_path):
    """Two photos and one point, in COLMAP's text format."""
    pytest.importorskip("pycolmap", exc_type=ImportError)
    (tmp_path / "cameras.txt").write_text("3 PINHOLE 100 80 90 90 50 40\n")
    (tmp_path / "images.txt").write_text("7 1 0 0 0 0 0 0 3 b.jpg\n50 43 5\n2 1 0 0 0 -1 0 0 3 a.jpg\n5 40 5 1 2 -1\n")
    (tmp_path / "points3D.txt").write_text("5 0 0 2 255 0 0 0.5 7 0 2 0\n")
    model = read_model(tmp_path)
    assert (model.path, model.placed, model.points) == (tmp_path, ("a.jpg", "b.jpg"), 1)
    assert (model.mean_track, model.observations) == (2.0, {"a.jpg": 1, "b.jpg": 1})
    assert numbers_in(tmp_path) == {"a.jpg": (2, 3), "b.jpg": (7, 3)}


@pytest.mark.parametrize(
    ("raised", "free", "kind", "said"),
    [
        (
            RuntimeError("SQLite error: database or disk is full"),
            1 << 30,
            OutputError,
            "room",
        ),
        (RuntimeError("No registered database factory succeeded."), 100, OutputError, "the disk is full"),
        (RuntimeError("Check failed: x > 0"), 1 << 30, PhotoGlueError, "could not map the photos: Check failed"),
        (ConfigError("there is none"), 100, ConfigError, "^there is none$"),
    ],
)
def test_what_colmap_fails_at_is_told_in_one_sentence(tmp_path, monkeypatch, raised, free, kind, said):
    def fail(*_):
        raise raised

    monkeypatch.setattr(colmap_mapping, "pycolmap", lambda: None)
    monkeypatch.setattr(colmap_mapping, "_mapped", fail)
    monkeypatch.setattr(colmap_mapping.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(kind, match=said):
        map_photos(tmp_path / "d.db", tmp_path, tmp_path, MapperOptions())
