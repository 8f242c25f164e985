"""What is said while the files that a run reads are built."""

import io

import PIL.Image
from rich.console import Console

from photoglue.cli.train.build import list_skipped
from photoglue.datasets.photos import SkippedPhoto


def listed(skipped, path):
    told = io.StringIO()
    list_skipped(Console(file=told, width=60), skipped, path)
    return told.getvalue().splitlines()


def test_more_skipped_photos_than_are_shown_are_all_in_a_file(tmp_path):
    # The name of the last is no text: a byte that is not UTF-8, as Python reads it from a folder.
    names = [*(f"photos/{i}[b].jpg" for i in range(12)), "\udcff.jpg"]
    skipped = tuple(SkippedPhoto(name=name, reason="unreadable") for name in names)
    path = tmp_path / "images[b].skipped.txt"
    lines = listed(skipped, path)
    assert lines[:10] == [f"skipped: photos/{i}[b].jpg: unreadable" for i in range(10)]
    assert lines[10:] == [f"skipped: and 3 more photos; all 13 are listed in {path}"]
    wanted = [*(f"photos/{i}[b].jpg: unreadable" for i in range(12)), "\\udcff.jpg: unreadable"]
    assert path.read_text(encoding="utf-8").splitlines() == wanted


def test_if_all_are_shown_there_is_no_file(tmp_path):
    skipped = tuple(SkippedPhoto(name=str(i), reason="too small") for i in range(10))
    assert listed(skipped, tmp_path / "skipped.txt") == [f"skipped: {i}: too small" for i in range(10)]
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_the_file_in_its_folder(tmp_path, capsys):
    from photoglue.cli import main

    photos, run = tmp_path / "photos", tmp_path / "run"
    photos.mkdir()
    PIL.Image.new("RGB", (200, 200)).save(photos / "good.png")
    for i in range(11):
        (photos / f"{i:02}.jpg").write_text("no photo")
    assert main(["train", "homography", "--images", str(photos), "--out", str(run)]) == 1  # one photo is too few
    assert f"and 1 more photos; all 11 are listed in {run / 'images.skipped.txt'}" in capsys.readouterr().out
    lines = (run / "images.skipped.txt").read_text().splitlines()
    assert [line.rpartition(": ")[0] for line in lines] == [f"{i:02}.jpg: unreadable" for i in range(11)]
