"""The folder of a run: not used twice, and resumed only where there is something to resume."""

import re

import pytest


def test_written_and_read(tmp_path):
    from photoglue.training.folder import RunRecord, prepare_folder, read_record, write_record

    prepare_folder(tmp_path / "a" / "run")
    record = RunRecord(name="homography", recipe={"images": "/photos", "patch_size": [640, 480]}, started_from="noise")
    write_record(tmp_path / "a" / "run", record)
    (tmp_path / "a" / "run" / "last.pt").touch()
    assert read_record(tmp_path / "a" / "run") == record


def test_a_folder_with_a_run_is_refused(tmp_path):
    from photoglue.errors import ConfigError
    from photoglue.training.folder import prepare_folder

    prepare_folder(tmp_path)
    (tmp_path / "last.pt").touch()
    with pytest.raises(ConfigError, match=f"holds a run already.*photoglue train resume {re.escape(str(tmp_path))}"):
        prepare_folder(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    from photoglue.errors import OutputError
    from photoglue.training.folder import prepare_folder

    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        prepare_folder(tmp_path / "file" / "run")


def test_nothing_to_resume(tmp_path):
    from photoglue.errors import ConfigError
    from photoglue.training.folder import RunRecord, read_record, write_record

    with pytest.raises(ConfigError, match="There is no run in"):
        read_record(tmp_path)
    write_record(tmp_path, RunRecord(name="homography", recipe={}, started_from=""))
    with pytest.raises(ConfigError, match="has not come to its first checkpoint"):
        read_record(tmp_path)
    (tmp_path / "last.pt").touch()
    (tmp_path / "recipe.json").write_text('{"name": "homo')
    with pytest.raises(ConfigError, match=r"recipe\.json' holds no RunRecord that can be used here"):
        read_record(tmp_path)


def test_a_run_of_an_earlier_version_is_named(tmp_path):
    from photoglue.errors import ConfigError
    from photoglue.training.folder import read_record

    (tmp_path / "command.json").touch()
    (tmp_path / "last.pt").touch()
    with pytest.raises(ConfigError, match=f"earlier version of PhotoGlue.*--init {re.escape(str(tmp_path))}"):
        read_record(tmp_path)


def test_finished_weights_are_not_overwritten(tmp_path):
    """Whoever made room by deleting last.pt, which a finished run does not need, keeps what it made."""
    from photoglue.errors import ConfigError
    from photoglue.training.folder import prepare_folder

    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ConfigError, match=r"weights of a finished run \(model\.safetensors\).*another --out"):
        prepare_folder(tmp_path)


def test_the_best_of_a_run_that_was_given_up_does_not_pass_for_that_of_the_next(tmp_path):
    from photoglue.training.folder import prepare_folder

    (tmp_path / "best.pt").touch()
    (tmp_path / "cache.h5").touch()
    prepare_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cache.h5"]
