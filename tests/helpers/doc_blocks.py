"""The fenced blocks of a markdown page, and the commands in them."""

import os
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r" *(`{3,}|~{3,}) *(\S*)")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block."""

    path: Path
    line: int
    """Number of the fence's line, from 1."""
    language: str
    text: str

    def run(self, names: dict[str, object]) -> None:
        """Execute Python code; a traceback shows the lines of the page."""
        exec(compile("\n" * self.line + self.text, str(self.path), "exec"), names)

    def commands(self) -> Iterator[list[str]]:
        """The words of each line, of lines that end in a backslash together, without comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(os.path.expandvars(line), comments=True)
            if words:
                yield words

    def photoglue_commands(self) -> Iterator[list[str]]:
        """Arguments of the lines that run photoglue, on several GPUs too."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if found := re.match(r"(?:torchrun \S.* )?(?:\S*/)?photoglue (.*)", line):
                yield shlex.split(found[1], comments=True)


def blocks_of(path: Path) -> list[Block]:
    """All blocks of a page, in order; indented ones, as in lists, are dedented."""
    blocks, fence, language, start, lines = [], "", "", 0, []
    for number, line in enumerate(path.read_text().splitlines(keepends=True), start=1):
        opening = FENCE.match(line)
        if fence and line.strip() == fence:
            text = textwrap.dedent("".join(lines))
            blocks.append(Block(path=path, line=start, language=language, text=text))
            fence = ""
        elif fence:
            lines.append(line)
        elif opening:
            (fence, language), start, lines = opening.groups(), number, []
    assert not fence, f"{path}:{start}: this block does not end"
    return blocks
