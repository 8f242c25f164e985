"""What is told of the machine."""

import json

import pytest
import torch

from photoglue import machine
from photoglue.precision import choose_device
from photoglue.version import __version__


def test_the_line_names_what_results_depend_on():
    line = machine.version_line()
    assert line.startswith(f"photoglue {__version__} · torch {torch.__version__} · Python 3.")
    assert line.endswith(f"precision {machine.auto_precision(choose_device(None))}")


def test_facts_are_json_and_of_this_process():
    facts = json.loads(json.dumps(machine.machine()))
    assert facts["threads"] == torch.get_num_threads()
    assert facts["cores"] >= 1
    assert set(facts["cpu_flags"]) <= set(machine.CPU_FLAGS)
    assert facts["versions"]["photoglue"] == __version__


def test_flags_of_the_processor(tmp_path, monkeypatch):
    table = tmp_path / "cpuinfo"
    table.write_text("processor : 0\nmodel name : A fast one\nflags : fpu avx2 amx_tile\n\nflags : of another core\n")
    monkeypatch.setattr(machine, "Path", lambda _: table)
    assert machine._processor() == ("A fast one", {"fpu", "avx2", "amx_tile"})


@pytest.mark.parametrize("name", ["bfloat16", "float32"])
def test_the_line_tells_the_precision(monkeypatch, name):
    monkeypatch.setattr(machine, "choose_precision", lambda *_: getattr(torch, name))
    assert machine.version_line().endswith(f" · precision {name}")
