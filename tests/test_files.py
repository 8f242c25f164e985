"""Files are whole or absent; JSON comes back as it went, or is refused with the reason."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from photoglue.errors import ConfigError, OutputError
from photoglue.files import (
    as_json,
    check_output,
    digest_of,
    digest_of_file,
    from_json,
    to_json,
    whole_lines,
    write_whole,
)


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 1.0
    sizes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    kind: Literal["a", "b"] = "a"
    most: int | None = None
    limit: float | None = None
    place: Path | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    inner: Inner = Inner()

    def __post_init__(self):
        if self.name == "bad":
            raise ConfigError("The name is bad.")


def test_a_dataclass_comes_back_as_it_went():
    value = Outer(
        name="x",
        most=3,
        limit=math.inf,
        place=Path("a/b"),
        values={"y": -math.inf},
        inner=Inner(sizes=((1, 2), (3, 4))),
    )
    assert from_json(Outer, to_json(value), origin="it") == value
    assert json.loads(to_json(value))["limit"] == "inf"


def test_whole_numbers_are_taken_for_floats():
    assert from_json(Inner, '{"rate": 2}', origin="it").rate == 2.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": "x", "kinds": "a"}', "kinds"),
        ("{}", "name"),
        ('{"name": 3}', "name"),
        ('{"name": "x", "most": "3"}', "most"),
        ('{"name": "x", "kind": "c"}', "kind"),
        ('{"name": "x", "kind": "of\\nlines"}', "of lines"),
        ('{"name": "x", "inner": {"rate": []}}', "it holds no Outer"),
        ('{"name": "x", "inner": 5}', "inner"),
        ('{"name": "x", "inner": {"sizes": [[1, "b"]]}}', "sizes"),
        ('{"name": "bad"}', "it: The name is bad"),
        ("[1]", "list"),
        ("null", "NoneType"),
        ("{", "it holds no Outer"),
        ("[" * 100_000, "it holds no Outer"),
        (b"\xff\xfe", "it holds no Outer"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text, message):
    with pytest.raises(ConfigError, match=message) as error:
        from_json(Outer, text, origin="it")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", [240, 300])
def test_a_name_that_is_too_long_is_said_to_be(tmp_path, length):
    path = tmp_path / ("a" * length + ".json")
    with pytest.raises(OutputError, match="too long for the name of a file"):
        check_output(path, (".json",))
        write_whole(path, b"{}")


def test_nan_becomes_text():
    assert as_json([math.nan, -math.inf, 1.5, True, None]) == ["nan", "-inf", 1.5, True, None]


def test_digests_differ_and_do_not_depend_on_order():
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 1, "b": 3})
    assert digest_of((1, 2)) == digest_of([1, 2])


def test_the_digest_of_a_file_is_that_of_its_content(tmp_path):
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    one.write_bytes(b"x"), two.write_bytes(b"x"), other.write_bytes(b"y")
    assert digest_of_file(one) == digest_of_file(two) != digest_of_file(other)


def test_a_file_is_replaced_and_nothing_is_left_over(tmp_path):
    path = tmp_path / "a"
    write_whole(path, b"1")
    write_whole(path, b"2")
    assert path.read_bytes() == b"2"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("target", ["absent/a", "folder"])
def test_what_cannot_be_written_leaves_nothing(tmp_path, target):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=rf"{target}.* cannot be written: .*\. Try again\."):
        write_whole(tmp_path / target, b"1", advice="Try again.")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("m.xyz", ConfigError, r"has no known format; the name must end in \.json, \.csv"),
        ("absent/m.json", OutputError, "absent' does not exist; make it first"),
        ("folder.json", OutputError, "is a folder; give a file name"),
    ],
)
def test_an_output_is_refused_before_the_work(tmp_path, name, error, message):
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(error, match=message):
        check_output(tmp_path / name, (".json", ".csv"))
    check_output(tmp_path / "m.CSV", (".json", ".csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.json"]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "a").write_bytes(b"before")
    with pytest.raises(OutputError, match="the disk is full"):
        write_whole(tmp_path / "a", b"1")
    assert (tmp_path / "a").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a", b"1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rest", ["", '{"a": 3', '{"a": 3}', "\x00\n", "}{\n", "x\n" + '{"a": 4}\n'])
def test_lines_are_read_up_to_the_first_that_is_not_whole(tmp_path, rest):
    path = tmp_path / "lines"
    path.write_text('{"a": 1}\n{"a": 2}\n' + rest)
    assert whole_lines(path) == ([{"a": 1}, {"a": 2}], 18)


def test_no_file_has_no_lines(tmp_path):
    assert whole_lines(tmp_path / "absent") == ([], 0)


def test_left_overs_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = tmp_path / f"m.json.{ended.pid}.partial", tmp_path / f"m.json.{os.getppid()}.partial"
    others = [tmp_path / f"am.json.{ended.pid}.partial", tmp_path / "m.json.partial", tmp_path / "m.json.x.partial"]
    for path in (dead, alive, *others):
        path.write_text("half")
    write_whole(tmp_path / "m.json", b"{}")
    assert not dead.exists()
    assert all(path.exists() for path in (alive, *others))


def test_a_name_that_is_too_long_is_one_line(tmp_path):
    with pytest.raises(OutputError, match=r"too long"):
        check_output(tmp_path / ("x" * 300 + ".json"), (".json",))
    with pytest.raises(OutputError, match=r"cannot be written: File name too long"):
        write_whole(tmp_path / ("x" * 300 + ".json"), b"{}")
    assert list(tmp_path.iterdir()) == []
