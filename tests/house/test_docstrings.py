"""A docstring is read alone: in an IDE, on a page of the reference, in --help."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEGINNINGS = ("Of", "The same", "Do it")
"""First words that say nothing without what stands above them."""


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each: of the module, of classes and functions, and under attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for statement, before in zip(node.body, [None, *node.body], strict=False):
                if (
                    (before is None or isinstance(before, ast.Assign | ast.AnnAssign))
                    and isinstance(statement, ast.Expr)
                    and isinstance(statement.value, ast.Constant)
                    and isinstance(statement.value.value, str)
                ):
                    yield statement.lineno, statement.value.value


def fragments(code: str) -> list[tuple[int, str]]:
    """Line and first line of each docstring that cannot be read alone."""
    return [
        (line, text.strip().partition("\n")[0])
        for line, text in docstrings(ast.parse(code))
        if any(text.strip() == begin or text.strip().startswith((f"{begin} ", f"{begin}\n")) for begin in BEGINNINGS)
    ]


def test_docstrings_can_be_read_alone():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "src" / "photoglue").rglob("*.py"))
        for line, text in sorted(fragments(path.read_text()))
    ]
    assert not found, f"{len(found)} docstrings begin with one of {BEGINNINGS}:\n" + "\n".join(found)


def test_all_kinds_are_found():
    code = '''"""Of a module."""
NUMBER = 3
"""The same for a constant."""


class Options:
    """Do it in a class."""

    decay: float = 0.1
    """Of AdamW."""
    other = 2
    """Offsets are fine, and so are: often, of."""

    def run(self):
        """Of a method."""
        text = "a"
        """The same
        for a local name."""
        """Of no attribute: the second string in a row is not read by anybody."""
'''
    assert [line for line, _ in sorted(fragments(code))] == [1, 3, 7, 10, 15, 17]
