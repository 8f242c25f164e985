"""The report on disk: whole or not at all, and from real photos."""

import itertools
import math

import pytest
from report_cases import OPENCV, matched, photos, record, result

from photoglue.errors import ConfigError, OutputError, PhotoGlueWarning
from photoglue.evaluation.report import page as report_module
from photoglue.evaluation.report.page import write_report


@pytest.fixture
def one(tmp_path):
    (tmp_path / "photos").mkdir()
    photos(tmp_path / "photos")
    return result(images=str(tmp_path / "photos"), records=(record(1), record(math.inf, name1="a.png")))


def test_what_is_written(one, tmp_path):
    page = write_report([one], tmp_path / "deep" / "out")
    assert page == tmp_path / "deep" / "out" / "report.html"
    files = sorted(str(path.relative_to(page.parent)) for path in page.parent.rglob("*") if path.is_file())
    assert files == [
        "report.html", "report.md", "report_files/set-errors-0.svg", "report_files/set-worst-0.jpg",
        "report_files/set-worst-1.jpg",
    ]  # fmt: skip
    assert (page.parent / "report.md").read_text(encoding="utf-8").startswith("# m on set\n")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_same_results_give_the_same_report(one, tmp_path):
    first, second = (write_report([one], tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".md").read_bytes() == second.with_suffix(".md").read_bytes()


def test_different_cards_are_refused_and_nothing_is_written(one, tmp_path):
    with pytest.raises(ConfigError, match="estimator"):
        write_report([one, result("b", card=OPENCV)], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_report([one, result("b", card=OPENCV)], tmp_path / "out", allow_mixed=True)


def test_a_failure_leaves_the_old_report(one, tmp_path, monkeypatch):
    page = write_report([one], tmp_path / "out")
    before = page.read_bytes()

    def full(path, content):
        raise OutputError("No space left on device")

    monkeypatch.setattr(report_module, "write_whole", full)
    with pytest.raises(OutputError, match="space"):
        write_report([one, result("b")], tmp_path / "out", worst_pairs=0)
    assert page.read_bytes() == before


def test_a_file_in_the_place_of_the_folder(one, tmp_path):
    (tmp_path / "out").write_text("here first")
    with pytest.raises(OutputError, match=r"folder .*out.* cannot be made"):
        write_report([one], tmp_path / "out")


def test_missing_photos_are_a_warning_not_an_end(tmp_path):
    with pytest.warns(PhotoGlueWarning, match=r"3 pairs are without a picture.*no file"):
        page = write_report([result(images=str(tmp_path))], tmp_path / "out")
    assert "There is no file" in page.read_text(encoding="utf-8")


def test_matches_are_drawn_where_they_are_at_hand(one, tmp_path, as_a_user):
    import torch

    asked = []

    def matches_of(found, pair):
        asked.append((found.method, pair.name1))
        points = torch.tensor([[10.0, 10.0]])
        return matched(points, points) if pair.name1 == "b.png" else None

    page = write_report([one], tmp_path / "out", matches_of=matches_of)
    assert asked == [("m", "a.png"), ("m", "b.png")]
    assert "Lines are matches" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("count", [0, 1])
def test_as_many_pictures_as_were_asked_for(one, tmp_path, count):
    page = write_report([one], tmp_path, worst_pairs=count)
    assert page.read_text(encoding="utf-8").count("<img") == count


def test_a_number_of_pictures_that_makes_no_sense(one, tmp_path):
    with pytest.raises(ConfigError, match="worst_pairs is -1"):
        write_report([one], tmp_path, worst_pairs=-1)


@pytest.mark.slow
@pytest.mark.data
def test_real_photos(shared_data, tmp_path):
    folder = shared_data / "eval" / "imb_reichstag" / "images"
    names = sorted(path.name for path in folder.iterdir())[:4]
    records = tuple(record(i, name0=a, name1=b) for i, (a, b) in enumerate(itertools.combinations(names, 2)))
    page = write_report([result(images=str(folder), records=records)], tmp_path)
    assert page.read_text(encoding="utf-8").count("<img") == 6
    sizes = [path.stat().st_size for path in (tmp_path / "report_files").glob("*.jpg")]
    assert len(sizes) == 6
    assert all(10_000 < size <= 60_000 for size in sizes)
