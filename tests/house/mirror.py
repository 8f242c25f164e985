"""The rule that tests/ mirrors src/photoglue/, as functions of lists of paths; run as a program, it prints the faults.

    python tests/house/mirror.py

src/photoglue/a/b.py is tested by tests/a/test_b.py, and a package whose __init__.py defines something by
tests/a/test_a.py: exactly there. More tests of one module may lie beside it, in tests/a/test_b_more.py. What is tested
by another file stands in ELSEWHERE.
"""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]

ELSEWHERE: dict[str, str] = {
    "extractors/__init__.py": "extractors/test_base.py",
    "video/results.py": "video/test_tracker.py",
    "sfm/matching.py": "sfm/test_map.py",
    "sfm/options.py": "sfm/test_map.py",
    "sfm/stages.py": "sfm/test_map.py",
    "export/aliked.py": "export/test_networks.py",
    "extractors/disk_joined.py": "extractors/test_disk_layers.py",
    "sfm/locating/answer.py": "sfm/test_localize.py",
    "sfm/locating/drawing.py": "sfm/locating/test_page.py",
    "sfm/locating/placing.py": "sfm/test_localize.py",
    "sfm/locating/writing.py": "sfm/locating/test_many.py",
    "solvers/colmap_triangulation.py": "sfm/locating/test_adopt.py",
}
"""Module → the file that tests it, where that is not the file that mirrors it."""

NO_MODULE = ("house", "parity", "properties", "benchmarks", "examples", "fuzz", "cases")
"""Folders of tests/ whose files test no single module."""

UNTESTED = ("version.py",)
"""Modules with nothing to test."""


def home_of(module: str) -> str:
    """The file in tests/ that mirrors a module of the package."""
    path = PurePosixPath(module)
    name = path.parent.name if path.name == "__init__.py" else path.stem
    return str(path.parent / f"test_{name}.py")


def faults(
    modules: Iterable[str], tests: Iterable[str], elsewhere: Mapping[str, str], rooms: Iterable[str] = ()
) -> list[str]:
    """What breaks the rule, a line each, with what to do.

    Args:
        modules: Paths below src/photoglue/ of all files that define something.
        tests: Paths below tests/ of all test files.
        elsewhere: Module → the file that tests it.
        rooms: Paths of those __init__.py that define nothing; they may be tested, but need not be.
    """
    modules, tests = sorted(set(modules) - set(UNTESTED)), set(tests)
    found = []
    for module in modules:
        home, other = home_of(module), elsewhere.get(module)
        if home not in tests and other is None:
            found.append(f'{module}: write tests/{home}, or add to ELSEWHERE: "{module}": "<its test file>",')
        if home in tests and other is not None:
            found.append(f'{module}: tests/{home} exists; remove from ELSEWHERE: "{module}": "{other}",')
    for module, other in sorted(elsewhere.items()):
        if module not in modules:
            found.append(f'{module}: there is no such module; remove from ELSEWHERE: "{module}": "{other}",')
        elif other not in tests:
            found.append(f'{module}: there is no tests/{other}; correct in ELSEWHERE: "{module}": "{other}",')
    homes = {home_of(module).removesuffix(".py") for module in [*modules, *rooms]}
    for test in sorted(tests - set(elsewhere.values())):
        stem = test.removesuffix(".py")
        if PurePosixPath(test).parts[0] not in NO_MODULE and not _of_a_module(stem, homes):
            found.append(f"tests/{test}: no module has this name; name it after what it tests")
    return found


def _of_a_module(stem: str, homes: set[str]) -> bool:
    """Whether a test file is the home of a module, or lies beside it with more words in its name."""
    return stem in homes or any(stem.startswith(f"{home}_") for home in homes)


def modules_and_rooms() -> tuple[list[str], list[str]]:
    """The paths below src/photoglue/: files that define something, and __init__.py files that do not."""
    package = ROOT / "src" / "photoglue"
    modules, rooms = [], []
    for path in sorted(package.rglob("*.py")):
        plain = path.name == "__init__.py" and not any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            for node in ast.parse(path.read_text()).body
        )
        (rooms if plain else modules).append(path.relative_to(package).as_posix())
    return modules, rooms


def files_of_tests() -> list[str]:
    """The paths below tests/ of all test files."""
    return [path.relative_to(ROOT / "tests").as_posix() for path in sorted((ROOT / "tests").rglob("test_*.py"))]


def faults_of_the_checkout() -> list[str]:
    """What breaks the rule here."""
    modules, rooms = modules_and_rooms()
    return faults(modules, files_of_tests(), ELSEWHERE, rooms)


if __name__ == "__main__":
    print("\n".join(faults_of_the_checkout()) or "tests/ mirrors src/photoglue/.")
