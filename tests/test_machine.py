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


@pytest.mark.parametrize("name", ["bfloat16", "int16"])
def test_the_line_tells_the_precision(monkeypatch, name):
    monkeypatch.setattr(machine, "matching_precision", lambda *_: name)
    assert machine.version_line().endswith(f" · precision {name}")


def test_choices_have_reasons():
    lines = machine.choice_lines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["matching", "extraction"]
    assert all("PHOTOGLUE_AUTO=rules" in line or "this CPU has no" in line for line in lines[:2])
    assert lines[-1].startswith("native: ")
    assert machine.machine()["choices"]["matching"][0] == machine.auto_precision(torch.device("cpu"))
