"""The page says what is true of a model, takes no name for markup, and needs nothing else."""

import json
import re
from base64 import b64decode

import numpy as np
import PIL.Image
import pytest
import torch
from tiny_model import write_tiny_model

from photoglue.errors import ConfigError, OutputError, PhotoGlueWarning
from photoglue.sfm.report.page import write_map_report

for package in ("pycolmap", "matplotlib"):
    pytest.importorskip(package, exc_type=ImportError)


def written(tiny, tmp_path, **given):
    page = write_map_report(str(tmp_path / "page.html"), model=str(tiny.model), photos=str(tiny.photos), **given)
    return page.read_text()


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.mark.slow
def test_numbers_rows_and_pairs(tmp_path):
    tiny = write_tiny_model(tmp_path)
    verified = [("a.jpg", "b.jpg", 12, "calibrated"), ("b.jpg", "sub/c.jpg", 3, "planar")]
    text = written(
        tiny, tmp_path, verified=verified, unplaced={"d.jpg": "no verified pair"},
        settings={"seed": 7, "masks": None}, seconds={"extract": 2.5, "map": 5.0},
    )  # fmt: skip
    assert "<b>3 of 4</b> <span>photos placed</span>" in text
    assert "<b>12</b> <span>points</span>" in text
    assert "1 photo could not be placed" in text
    assert re.search(r"not placed:</b> no verified pair There is no file .*d\.jpg", text)
    assert "<dt>seed</dt><dd>7</dd>" in text and "<dt>masks</dt><dd>–</dd>" in text
    assert "5.0 s" in text and "width: 50.0%" in text
    data = data_of(text)
    assert data["names"] == ["a.jpg", "b.jpg", "d.jpg", "sub/c.jpg"]
    assert data["placed"] == [0, 1, 3]
    assert data["kinds"] == ["calibrated", "planar"]
    columns = {name: np.frombuffer(b64decode(data["pairs"][name]), "<u4").tolist() for name in "ijn"}
    assert columns == {"i": [0, 1], "j": [1, 3], "n": [12, 3]}
    assert np.frombuffer(b64decode(data["points"]), "<f4").shape == (36,)
    # The weakest link comes first.
    weakest = re.findall(r"<figcaption><b>(\d+)</b> (inliers, \w+)", text)
    assert weakest == [("3", "inliers, planar"), ("12", "inliers, calibrated")]
    assert text.count('src="data:image/jpeg;base64') == 2


def test_without_pairs_those_of_the_model_are_counted(tmp_path):
    text = written(write_tiny_model(tmp_path), tmp_path)
    data = data_of(text)
    assert data["words"] == "shared points"
    assert np.frombuffer(b64decode(data["pairs"]["n"]), "<u4").tolist() == [12, 12, 12]
    assert "remarks" not in text
    assert "could not be placed" not in text


def test_names_are_never_markup(tmp_path):
    """Neither in the page nor in the data of its script."""
    evil = "<script>alert(1)<script>&quot;.jpg"
    closing = "sub<!--/x]]>.jpg"
    tiny = write_tiny_model(tmp_path, names=(evil, closing, "ok.jpg"))
    kinds = [(evil, closing, 5, "</script><img src=x onerror=alert(2)>")]
    text = written(tiny, tmp_path, verified=kinds, unplaced={"</td>": "<b>why</b>"}, settings={"<i>": "</dl>"})
    assert data_of(text)["names"] == sorted([evil, closing, "ok.jpg", "</td>"])
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    for markup in ("<script>alert", "<img src=x", "<b>why", "<i>", "</dl>\n</dd>", "<!--/x"):
        assert markup not in outside
    assert len(re.findall(r"<script\b", text)) == len(re.findall(r"</script>", text)) == 2


def test_it_needs_nothing_else(tmp_path):
    text = written(write_tiny_model(tmp_path), tmp_path)
    assert "default-src 'none'" in text
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text


def test_links_that_are_given_are_drawn(tmp_path):
    """Pairs in either order; a pair without matches at hand says so."""
    tiny = write_tiny_model(tmp_path)
    points = torch.tensor([[1.0, 2.0], [30.0, 40.0]])
    verified = [("a.jpg", "b.jpg", 12, "calibrated"), ("b.jpg", "sub/c.jpg", 3, "planar")]
    text = written(tiny, tmp_path, verified=verified, links=[("sub/c.jpg", "b.jpg", points, points)])
    assert text.count('src="data:image/jpeg;base64') == 1
    assert "no picture: its matches are not at hand" in text


def test_photos_that_are_gone_leave_a_page(tmp_path):
    tiny = write_tiny_model(tmp_path)
    (tiny.photos / "a.jpg").unlink()
    (tiny.photos / "b.jpg").write_bytes(b"no photo")
    with pytest.warns(PhotoGlueWarning, match=r"2 of 3 photos of the model are not in"):
        text = written(tiny, tmp_path)
    assert re.search(r"There is no file .*a\.jpg", text) and "is not an image" in text
    assert [bool(photo) for photo in data_of(text)["photos"]] == [False, False, True]


def test_photos_of_another_size_are_told_of(tmp_path):
    tiny = write_tiny_model(tmp_path)
    PIL.Image.new("RGB", (32, 24)).save(tiny.photos / "a.jpg")
    text = written(tiny, tmp_path)
    assert "the photo has 32 × 24 pixels, its camera 64 × 48" in text
    assert text.count("no picture: its matches are not at hand") == 2  # where they lie in that photo is not known


@pytest.mark.slow
def test_turned_photos_are_upright(tmp_path):
    tiny = write_tiny_model(tmp_path, exif={"a.jpg": 6})
    (tmp_path / "a.jpg").write_bytes(b64decode(data_of(written(tiny, tmp_path))["photos"][0]))
    with PIL.Image.open(tmp_path / "a.jpg") as small:
        assert small.size == (48, 64)


def test_what_cannot_be_shown(tmp_path):
    tiny = write_tiny_model(tmp_path)
    with pytest.raises(ConfigError, match=r"must end in \.html"):
        write_map_report(tmp_path / "page.txt", model=tiny.model, photos=tiny.photos)
    with pytest.raises(OutputError, match="does not exist"):
        write_map_report(tmp_path / "no" / "page.html", model=tiny.model, photos=tiny.photos)
    empty = write_tiny_model(tmp_path / "empty", names=(), points=0)
    with pytest.raises(ConfigError, match="has no photo"):
        write_map_report(tmp_path / "page.html", model=empty.model, photos=tiny.photos)
    assert not (tmp_path / "page.html").exists()
