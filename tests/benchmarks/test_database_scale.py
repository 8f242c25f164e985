"""A tiny run of database_scale.py: the database has what was asked for."""

import sqlite3
from contextlib import closing

import pytest

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)


@pytest.mark.rare
def test_database_scale(tmp_path, capsys, started):
    import database_scale

    for _ in range(2):  # the second time the stores are there
        started(database_scale, f"--photos 4 --neighbors 2 --keypoints 30 --out {tmp_path}")
        assert "4 photos, 5 pairs: 0 MB in" in capsys.readouterr().out
    with closing(sqlite3.connect(tmp_path / "4_2_30" / "database.db")) as base:
        count = {name: base.execute(f"SELECT SUM(rows) FROM {name}").fetchone()[0] for name in
                 ("keypoints", "matches", "two_view_geometries")}  # fmt: skip
    assert count == {"keypoints": 120, "matches": 150, "two_view_geometries": 150}
