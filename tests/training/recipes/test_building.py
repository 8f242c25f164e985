"""What is said while the files that a run reads are built."""

import pytest

from photoglue.datasets.photos import SkippedPhoto
from photoglue.store import atomic_store
from photoglue.store.cache import CacheWriter
from photoglue.training import Hooks
from photoglue.training.recipes.building import build_once, build_workers, list_skipped, readable_size


def listed(skipped, path):
    told = []
    list_skipped(Hooks(on_message=told.append), skipped, path)
    return told


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


def test_the_first_process_builds_and_says_what_an_interruption_costs(tmp_path):
    told = []

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(tmp_path / "cache.h5", interrupted, tmp_path, Hooks(on_message=told.append))
    assert told == ["What has been extracted is kept: the same command goes on from there."]


def test_other_processes_wait_for_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    path = tmp_path / "cache.h5"

    def built_meanwhile(_):
        with atomic_store(path, {}, CacheWriter) as writer:
            writer.append([], steps=1, notes=["a.jpg\tunreadable"])

    monkeypatch.setattr("time.sleep", built_meanwhile)
    summary = build_once(path, lambda: pytest.fail("built twice"), tmp_path, Hooks())
    assert (summary.images, summary.skipped[0].name) == (0, "a.jpg")


def test_a_few_photos_need_no_processes(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert [build_workers(None, 16), build_workers(None, 17), build_workers(2, 1)] == [0, 6, 2]


@pytest.mark.parametrize(("count", "text"), [(1200, "1 kB"), (2_500_000, "2 MB"), (1.44e9, "1.4 GB")])
def test_readable_size(count, text):
    assert readable_size(count) == text
