"""The metrics of a run: lines that are there at once, none twice."""

import json
import math

import pytest


def test_lines(tmp_path):
    from photoglue.training.log import RunLog, read_metrics

    log = RunLog(tmp_path, pairs=0, tensorboard=False)
    log.write("train", 8, {"loss": 1.5, "norm": math.inf})
    # Already there, before it is closed; and JSON as everybody reads it, which knows no infinity.
    assert json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail) == {
        "kind": "train", "pairs": 8, "loss": 1.5, "norm": None,
    }  # fmt: skip
    log.close()
    assert read_metrics(tmp_path) == [{"kind": "train", "pairs": 8, "loss": 1.5, "norm": None}]


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path):
    from photoglue.training.log import RunLog, read_metrics

    log = RunLog(tmp_path, pairs=0, tensorboard=False)
    for pairs in (8, 16, 24):
        log.write("train", pairs, {"loss": 1.0})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "pai')  # killed while writing
    log = RunLog(tmp_path, pairs=16, tensorboard=False)
    log.write("train", 24, {"loss": 2.0})
    log.close()
    assert [(line["pairs"], line["loss"]) for line in read_metrics(tmp_path)] == [(8, 1.0), (16, 1.0), (24, 2.0)]


def test_a_disk_that_is_full_at_a_resume_costs_no_line(tmp_path, monkeypatch):
    import os

    from photoglue.errors import OutputError
    from photoglue.training.log import RunLog, read_metrics

    lines = [{"kind": "train", "pairs": pairs} for pairs in (8, 16)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"metrics\.jsonl' cannot be written: the disk is full"):
        RunLog(tmp_path, pairs=16, tensorboard=False)
    assert read_metrics(tmp_path) == lines


def test_a_new_run_begins_with_an_empty_file(tmp_path):
    from photoglue.training.log import RunLog, read_metrics

    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "pairs": 8}\n')
    RunLog(tmp_path, pairs=0, tensorboard=False).close()
    assert read_metrics(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path):
    from photoglue.errors import OutputError
    from photoglue.training.log import RunLog

    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        RunLog(tmp_path / "absent", pairs=0)


def test_a_full_disk_says_how_to_go_on(tmp_path):
    from photoglue.errors import OutputError
    from photoglue.training.log import RunLog

    log = RunLog(tmp_path, pairs=0, tensorboard=False)
    log._file.close()
    log._file = open("/dev/full", "w")  # noqa: PTH123, SIM115
    with pytest.raises(OutputError, match=r"No space left on device.*give the same command again"):
        log.write("train", 8, {"loss": 1.0})
    (tmp_path / "last.pt").touch()
    with pytest.raises(OutputError, match=r"No space left on device.*photoglue train resume"):
        log.write("train", 8, {"loss": 1.0})
    log.close()  # says nothing a second time, so that the first error is what a user sees


def test_tensorboard_is_asked_for_by_name(tmp_path, monkeypatch):
    import sys

    from photoglue.errors import MissingExtra
    from photoglue.training.log import RunLog

    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'photoglue\[train\]'"):
        RunLog(tmp_path, pairs=0, tensorboard=True)


def test_tensorboard_gets_the_same_numbers(tmp_path):
    pytest.importorskip("tensorboard", exc_type=ImportError)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from photoglue.training.log import RunLog

    log = RunLog(tmp_path, pairs=0)
    log.write("train", 8, {"loss": 1.5})
    log.write("train", 16, {"loss": 1.0})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(8, 1.5), (16, 1.0)]


def test_a_disk_that_is_full_for_tensorboard_says_how_to_go_on(tmp_path):
    import errno
    import os

    from photoglue.errors import OutputError
    from photoglue.training.log import RunLog

    class Full:
        def fail(self, *_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        add_scalar = close = fail

    log = RunLog(tmp_path, pairs=0, tensorboard=False)
    log._board = Full()
    with pytest.raises(OutputError, match=r"metrics\.jsonl.*No space left on device"):
        log.write("train", 8, {"loss": 1.0})
    log.close()


@pytest.mark.parametrize("line", ["3", "[]", '{"kind": "train"}', '{"kind": "train", "pairs": "8"}'])
def test_a_damaged_line_counts_as_cut_off(tmp_path, line):
    from photoglue.training.log import read_metrics

    (tmp_path / "metrics.jsonl").write_text(
        f'{{"kind": "train", "pairs": 4}}\n{line}\n{{"kind": "train", "pairs": 9}}\n'
    )
    assert read_metrics(tmp_path) == [{"kind": "train", "pairs": 4}]
