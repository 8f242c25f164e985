"""What timings depend on is told as this machine has it."""

import json
import sys

import pytest
import torch

from photoglue import machine
from photoglue.version import __version__


def test_facts():
    facts = machine.machine()
    assert facts == json.loads(json.dumps(facts))
    assert facts["threads"] == torch.get_num_threads()
    assert facts["auto_precision"] in ("float32", "bfloat16", "float16")
    assert facts["versions"] == {
        "photoglue": __version__, "torch": torch.__version__, "python": sys.version.split()[0],
    }  # fmt: skip
    assert set(facts["cpu_flags"]) <= set(machine.CPU_FLAGS)
    assert (facts["gpu"] is None) == (not torch.cuda.is_available())


def test_the_line_says_the_same():
    line, facts = machine.version_line(), machine.machine()
    assert line.startswith(f"photoglue {__version__} · torch {torch.__version__}")
    assert line.endswith(f"precision {facts['auto_precision']}")


@pytest.mark.parametrize(("available", "device"), [(False, "cpu"), (True, "cuda")])
def test_a_gpu_is_taken_if_there_is_one(monkeypatch, available, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert machine.default_device() == torch.device(device)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the processor's flags in a file")
def test_the_processor_has_a_name():
    assert machine.machine()["cpu"]
