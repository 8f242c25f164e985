"""`photoglue convert-model` writes what is asked for, and says what is missing before it begins."""

import pytest
from tiny_model import write_tiny_model

from photoglue.cli.app import main

for package in ("pycolmap", "matplotlib"):
    pytest.importorskip(package, exc_type=ImportError)


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_model(tmp_path, blind=("b.jpg",))


@pytest.mark.slow
def test_all_at_once(tiny, tmp_path, capsys):
    out = {name: str(tmp_path / name) for name in ("splat", "nerf", "text", "points.ply", "page.html")}
    options = ("--undistort", "--nerfstudio", "--text", "--ply", "--report")
    words = [word for pair in zip(options, out.values(), strict=True) for word in pair]
    assert main(["convert-model", str(tiny.model), "--photos", str(tiny.photos), *words]) == 0
    for path in ("splat/sparse/0/images.bin", "nerf/transforms.json", "text/images.txt", "points.ply", "page.html"):
        assert (tmp_path / path).is_file()
    printed = capsys.readouterr().out
    assert "3 photos, 12 points" in printed
    assert "(2 photos)" in printed and "left out, since they see no point: b.jpg" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Nothing was asked for; give --undistort"),
        (["--undistort", "out"], "--undistort needs the photos"),
        (["--report", "page.html", "--photos", "none"], "no folder 'none' of photos"),
        (["--ply", "points.obj"], "must end in .ply"),
        (["--photos", ".", "--report", "page.pdf", "--ply", "points.ply"], "must end in .html"),
    ],
)
def test_refused_before_anything_is_written(tiny, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert main(["convert-model", str(tiny.model), *words]) == 1
    assert message in capsys.readouterr().err
    assert set(tmp_path.iterdir()) == before


def test_no_model(tmp_path, capsys):
    assert main(["convert-model", str(tmp_path), "--ply", str(tmp_path / "a.ply")]) == 1
    assert "holds no COLMAP model" in capsys.readouterr().err
