"""photoglue verify and photoglue reconstruct: the steps after the matching, alone."""

import pytest
from mapped_scene import Scene

from photoglue.cli.app import main

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)
pytest.importorskip("pycolmap", exc_type=ImportError)


@pytest.mark.slow
def test_both_steps(tmp_path, capsys, monkeypatch):
    Scene(tmp_path, 0, 1, 2, 3)
    monkeypatch.chdir(tmp_path)
    stores = ["photos", "--features-store", "f.h5", "--matches", "m.h5", "--intrinsics", "280"]
    assert main(["verify", *stores, "--store", "v.h5"]) == 0
    assert capsys.readouterr().out.startswith("6 checked pairs, ")
    assert main(["reconstruct", *stores, "--verified", "v.h5", "--out", "out", "--mapper", "none"]) == 0
    assert capsys.readouterr().out == "1 camera, 1 with a known focal length → out/database.db\n"
    assert main(["reconstruct", *stores, "--verified", "v.h5", "--out", "out"]) == 0
    printed = capsys.readouterr().out
    assert "out/sparse/0" in printed
    assert "4 of 4" in printed


def test_pairs_of_a_list(tmp_path, capsys, monkeypatch):
    Scene(tmp_path, 0, 1, 2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.txt").write_text("001.png 000.png\n002.png absent.png\n")
    stores = ["photos", "--features-store", "f.h5", "--matches", "m.h5", "--pairs", "p.txt"]
    assert main(["verify", *stores, "--store", "v.h5"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("1 checked pair, ")
    assert "skipped: 002.png absent.png: not matched" in printed
