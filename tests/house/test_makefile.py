"""`make demo` says what it installs while it does, and stops if that fails."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/bash
mkdir -p "$3/bin"
cp "$(dirname "$0")/pip" "$3/bin/pip"
printf '#!/bin/bash\\necho the demo' > "$3/bin/photoglue"
chmod +x "$3/bin/photoglue"
"""
PIP = """#!/bin/bash
echo "Collecting ${@: -1}"
echo "  Downloading ${@: -1}.whl (198 MB)"
echo "Requirement already satisfied: nothing to say"
exit ${PIP_FAILS:-0}
"""


@pytest.fixture
def make(tmp_path):
    """Runs `make demo` with stand-ins for Python and pip."""
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "hatch_build.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name, text in (("python", PYTHON), ("pip", PIP)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(**environment):
        command = ["make", "demo", f"PYTHON={tmp_path / 'python'}"]
        settings = {"PATH": "/usr/bin:/bin", **environment}
        return subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)

    return run


def test_a_line_for_each_package(make, tmp_path):
    done = make()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if " of 4: " in line] == [line for line in lines if line[0].isdigit()]
    assert "    Downloading numpy.whl (198 MB)" in lines
    assert "  Collecting .[demo,geometry]" in lines
    assert not any("already satisfied" in line for line in lines)
    assert lines[-1] == "the demo"
    assert "1 of 4" not in make().stdout  # it is installed


def test_what_cannot_be_installed_stops_it(make, tmp_path):
    done = make(PIP_FAILS="1")
    assert done.returncode != 0
    assert "the demo" not in done.stdout
    assert not (tmp_path / ".venv" / "demo.stamp").exists()
