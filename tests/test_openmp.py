"""The number of spins is there while torch is loaded, unless the user has said how threads shall wait."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
{before}
class Spy:
    def find_spec(self, name, *_):
        if name == "torch":
            print("loads torch with", os.environ.get("GOMP_SPINCOUNT"))
sys.meta_path.insert(0, Spy())
import photoglue
print("after", os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "before", "printed"),
    [
        ({}, "", ["loads torch with 20000", "after None"]),
        ({"GOMP_SPINCOUNT": "7"}, "", ["loads torch with 7", "after 7"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "", ["loads torch with None", "after None"]),
        ({}, "import torch", ["after None"]),
    ],
)
def test_the_environment_while_torch_is_loaded(given, before, printed):
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    program = [sys.executable, "-c", PROGRAM.format(before=before)]
    done = subprocess.run(program, env=clean | given, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == printed
