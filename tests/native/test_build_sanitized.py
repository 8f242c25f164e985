"""AddressSanitizer and UndefinedBehaviorSanitizer watch the library while all of its tests run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from photoglue.native.build import build

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def runtime() -> str:
    """The runtime of AddressSanitizer, which has to be loaded before anything else."""
    compiler = shutil.which("c++")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("no C++ compiler on Linux")
    asked = [compiler, "-print-file-name=libasan.so"]
    path = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(path).is_absolute():
        pytest.skip("the compiler has no AddressSanitizer")
    return path


@pytest.mark.rare
def test_nothing_is_found(runtime, tmp_path):
    library = build(tmp_path / "sanitized.so", compiler=("c++",), sanitize=True)
    settings = {
        "PHOTOGLUE_NATIVE": str(library),
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    files = [TESTS / "native", *sorted(TESTS.glob("matchers/**/test_native*.py"))]
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*pytest_, f"--basetemp={tmp_path / 't'}", *map(str, files)],
        cwd=TESTS.parent,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "passed" in done.stdout
