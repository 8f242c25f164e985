"""A folder is of one collection of photos, and says what changed in it."""

import pytest
from mapped_scene import write

from photoglue.datasets.photos import photos_of
from photoglue.errors import ConfigError, OutputError
from photoglue.sfm.folder import FORMAT, RunRecord, beside, prepare, write_record


def prepared(photos, out):
    found = photos_of([photos])
    record = RunRecord(format=FORMAT, photos=str(found.root.resolve()), names=found.names, settings={}, version="1")
    return prepare(out, found, record)


def test_changes_are_told(tmp_path):
    photos, out = write(tmp_path / "a", 0, 1), tmp_path / "deep" / "out"
    assert prepared(photos, out) == []
    assert prepared(photos, out) == []
    write(photos, 2).joinpath("000.png").unlink()
    assert prepared(photos, out) == [
        "1 photo added since the last run: 002.png",
        "1 photo removed since the last run: 000.png",
    ]


def test_a_folder_that_was_moved_is_known_by_its_names(tmp_path):
    photos, out = write(tmp_path / "a", 0, 1), tmp_path / "out"
    prepared(photos, out)
    moved = photos.rename(tmp_path / "b")
    assert prepared(moved, out) == []
    write(tmp_path / "c", 5)
    with pytest.raises(ConfigError, match=r"holds the map of other photos, those in .*/a'"):
        prepared(tmp_path / "c", out)


def test_keyframes_of_a_video_are_gone_on_from(tmp_path):
    photos = write(tmp_path / "k" / "images", 0, 1)
    for name in ("features.h5", "matches.h5", "keyframes.json"):
        (tmp_path / "k" / name).write_text("")
    assert prepared(photos, tmp_path / "k") == []
    assert (tmp_path / "k" / "run.json").exists()


def test_what_is_no_map_is_refused(tmp_path):
    photos = write(tmp_path / "a", 0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").touch()
    with pytest.raises(ConfigError, match=r"not empty, and not the folder of a map \(it has 'letter.txt'"):
        prepared(photos, tmp_path / "out")
    for content, message in (('{"a": 1}', "holds no RunRecord"), ("{", "holds no RunRecord")):
        (tmp_path / "out" / "run.json").write_text(content)
        with pytest.raises(ConfigError, match=message):
            prepared(photos, tmp_path / "out")
    record = RunRecord(format="another", photos="", names=(), settings={}, version="1")
    write_record(tmp_path / "out", record)
    with pytest.raises(ConfigError, match="is of 'another'"):
        prepared(photos, tmp_path / "out")


def test_the_folder_of_the_photos_is_refused(tmp_path):
    photos = write(tmp_path / "a", 0)
    with pytest.raises(ConfigError, match="has photos itself"):
        prepared(photos, photos)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        prepared(photos, tmp_path / "file" / "below")


def test_photos_that_a_run_left_among_the_photos_are_none(tmp_path):
    photos = write(tmp_path / "a", 0)
    out = photos / "map"
    found = photos_of([photos])
    assert beside(out, found) == found
    prepared(photos, out)
    write(out / "undistorted", 0)
    assert beside(out, photos_of([photos])) == found


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match="is a file; a folder for the map was wanted"):
        prepared(write(tmp_path / "a", 0), tmp_path / "out")
