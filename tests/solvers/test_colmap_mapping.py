"""What pycolmap lacks is named, and what it fails at. Mapping itself is in tests/sfm/test_reconstruct.py."""

from types import ModuleType, SimpleNamespace

import pytest

from photoglue.errors import ConfigError, OutputError, PhotoGlueError
from photoglue.solvers import colmap_mapping
from photoglue.solvers.colmap_mapping import MapperOptions, map_photos


@pytest.mark.parametrize(
    ("mapper", "capability"), [("incremental", "IncrementalPipeline"), ("global", "global_mapping")]
)
def test_an_old_pycolmap_is_told_what_it_lacks(tmp_path, monkeypatch, mapper, capability):
    old = ModuleType("pycolmap")
    old.__version__ = "3.9"
    monkeypatch.setattr(colmap_mapping, "pycolmap", lambda: old)
    with pytest.raises(ConfigError, match=rf"\(3\.9\) has no {capability}.*pip install --upgrade pycolmap"):
        map_photos(tmp_path / "d.db", tmp_path, tmp_path, MapperOptions(mapper=mapper))


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
