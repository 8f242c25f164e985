"""What this machine is, in a line and as facts."""

import pytest
import torch

from photoglue import machine


@pytest.mark.parametrize("name", ["bfloat16", "float32"])
def test_version_line_tells_the_precision(monkeypatch, name):
    monkeypatch.setattr(machine, "choose_precision", lambda *_: getattr(torch, name))
    assert machine.version_line().endswith(f" · precision {name}")


def test_facts(monkeypatch, tmp_path):
    facts = machine.machine()
    assert facts["cpu"]
    assert facts["versions"]["torch"] == torch.__version__
    table = tmp_path / "cpuinfo"
    table.write_text("processor: 0\nmodel name\t: Fast One\nflags\t: fpu avx2 amx_tile amx_bf16\n\nmodel name: 2\n")
    monkeypatch.setattr(machine, "Path", lambda _: table)
    facts = machine.machine()
    assert facts["cpu"] == "Fast One"
    assert facts["cpu_flags"] == ["avx2", "amx_tile", "amx_bf16"]
