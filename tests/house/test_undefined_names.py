"""Names that are not defined are errors of both tools, with the settings that this checkout has."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = '''"""A module with a misspelt name."""


def print_all(values: list[int], lenght: int = len(valuess)) -> int:
    """As many as there are."""
    return lenght + len(values)
'''
COMMANDS = {
    "ruff": (["ruff", "check", "--no-cache", "--config", "pyproject.toml", "--output-format", "concise"], "F821"),
    "mypy": (["mypy", "--config-file", "pyproject.toml", "--show-error-codes"], "name-defined"),
}


@pytest.mark.slow
@pytest.mark.parametrize("tool", COMMANDS)
@pytest.mark.parametrize("name", ["valuess", "values"])
def test_a_misspelt_name_is_caught(tool, name, tmp_path):
    """And nothing else is: with the name spelt right (and defined), the file passes."""
    command, code = COMMANDS[tool]
    path = tmp_path / "misspelt.py"
    path.write_text(CODE if name == "valuess" else CODE.replace("len(valuess)", "0"))
    if tool == "mypy":
        command = [*command, "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", *command, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if "misspelt.py" in line]
    if name == "values":
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        assert done.returncode == 1, done.stdout + done.stderr
        assert len(lines) == 1
        assert code in lines[0]
        assert "valuess" in lines[0]
