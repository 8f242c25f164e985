"""What is fastest is measured once a machine, and the same for all processes and for as long as one lives."""

import time

import pytest

from photoglue import probe
from photoglue.errors import ConfigError


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing measured yet, neither by this process nor on this machine."""
    monkeypatch.setenv("PHOTOGLUE_CACHE", str(tmp_path))
    monkeypatch.setattr(probe, "_CHOSEN", {})
    return tmp_path / "probes"


def work(seconds):
    """Keep this thread at work: sleep would not count where a thread's own time is measured."""
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        pass


def contenders(calls=None, slow=0.004):
    def made():
        if calls is not None:
            calls.append(1)
        return {"slow": lambda: work(slow), "quick": lambda: work(0.0001)}

    return made


def chosen(margin=2.0, made=None, usual="slow", name="a"):
    return probe.fastest(name, made or contenders(), usual=usual, margin=margin)


def test_the_faster_one_wins_if_by_the_margin(fresh):
    choice = chosen()
    assert choice.chosen == "quick"
    assert str(choice).startswith("a: quick (measured: slow 4.")
    assert chosen(1000.0, name="b").chosen == "slow"
    assert chosen(1000.0, name="b").reason.endswith("another would have to be 1000 times as fast")
    assert chosen(1000.0, usual="quick", name="c").chosen == "quick"


def test_measured_once_and_kept(fresh, monkeypatch):
    calls = []
    assert chosen(made=contenders(calls)) is chosen(made=contenders(calls))
    monkeypatch.setattr(probe, "_CHOSEN", {})  # another process, for which the other one is slower now
    assert chosen(made=contenders(calls, slow=0)).chosen == "quick"
    assert len(calls) == 1
    (kept,) = fresh.iterdir()
    for damaged in (b"", b"[]", b'{"ms": {"slow": 1, "quick": "x"}}', b'{"ms": {"quick": 1}}', b'{"ms": {"slow": -1}}'):
        kept.write_bytes(damaged)
        monkeypatch.setattr(probe, "_CHOSEN", {})
        assert chosen(made=contenders(calls)).chosen == "quick"
    assert len(calls) == 6
    assert [path.name for path in fresh.iterdir()] == [kept.name]


def test_who_measures_last_takes_what_is_there(fresh, monkeypatch):
    def made():  # while this process measures, another one is done
        fresh.mkdir(parents=True)
        (fresh / f"{probe._key('a', False)}.json").write_text('{"ms": {"slow": 1, "quick": 5}}')
        return contenders()()

    assert chosen(made=made).chosen == "slow"


def test_a_folder_that_cannot_be_written_to(fresh):
    fresh.write_text("a file")
    assert chosen().chosen == "quick"


def test_the_key_is_of_the_machine(monkeypatch):
    keys = {probe._key("a", False), probe._key("b", False), probe._key("a", True)}
    assert probe._key("a", False) in keys
    monkeypatch.setattr(probe, "processor", lambda: ("another", frozenset()))
    assert len(keys | {probe._key("a", False)}) == 4
    monkeypatch.setattr(probe.torch, "get_num_threads", lambda: 77)
    assert probe._key("a", False) == probe._key("a", False)
    assert len(keys | {probe._key("a", False), probe._key("a", True)}) == 5


def test_the_environment_decides(monkeypatch):
    monkeypatch.delenv(probe.VARIABLE, raising=False)
    assert probe.settled("matching", ("x", "y"), "x") is None
    monkeypatch.setenv(probe.VARIABLE, "rules")
    assert probe.settled("matching", ("x", "y"), "x").chosen == "x"
    monkeypatch.setenv(probe.VARIABLE, "matching=y, extraction=z")
    assert probe.settled("matching", ("x", "y"), "x").chosen == "y"
    assert probe.settled("attention", ("x", "y"), "x") is None
    with pytest.raises(ConfigError, match=r"PHOTOGLUE_AUTO wants 'extraction=z'; extraction can be x, y\."):
        probe.settled("extraction", ("x", "y"), "x")


def test_measuring_leaves_no_trace(fresh):
    import torch

    before = torch.random.get_rng_state()
    chosen()
    assert torch.equal(before, torch.random.get_rng_state())


def test_flags_of_the_processor(tmp_path, monkeypatch):
    table = tmp_path / "cpuinfo"
    table.write_text("processor : 0\nmodel name : A fast one\nflags : fpu avx2 amx_tile\n\nflags : of another core\n")
    monkeypatch.setattr(probe, "Path", lambda _: table)
    assert probe.processor.__wrapped__() == ("A fast one", {"fpu", "avx2", "amx_tile"})
