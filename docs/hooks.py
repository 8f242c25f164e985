"""Pages of the site that are made from the program, so that they cannot be out of date.

mkdocs calls the functions that begin with ``on_``. What they add to the pages in this folder:

- ``commands.md``: every command with all its options, read from what ``--help`` prints;
- ``changelog.md``: CHANGELOG.md;
- a copy of every file outside this folder that a page links to (``../examples/…``), so that such a link works in the
  site as well as on a code host. A Python file becomes a page that shows it.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ROOT = DOCS.parent
OUTSIDE = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")
"""The target of a link from a page in this folder to a file beside this folder."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file in this folder has."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    files.append(File.generated(config, "changelog.md", content=(ROOT / "CHANGELOG.md").read_text()))
    linked = {target for page in DOCS.glob("*.md") for target in OUTSIDE.findall(page.read_text())}
    for target in sorted(linked):
        text = (ROOT / target).read_text()
        if target.endswith(".py"):
            text = f"# {target}\n\n```python\n{text}```\n"
        files.append(File.generated(config, inside(target), content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Let links of guides to files outside this folder lead to their copies."""
    if "/" in page.file.src_uri:  # in a folder below this one, "../" is this one
        return markdown
    return OUTSIDE.sub(lambda link: inside(link[1]), markdown)


def inside(target: str) -> str:
    """Where the site has the copy of a file: its path from the repository's root."""
    return f"{target}.md" if target.endswith(".py") else target


@dataclass(frozen=True, kw_only=True)
class Option:
    """One entry of a command's help."""

    name: str
    """As the help has it, such as "--max-keypoints {None}|INT"."""
    help: str
    """What it does, with its default."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What one command's help says."""

    words: tuple[str, ...]
    """What to type after "photoglue"."""
    usage: str
    description: str
    groups: dict[str, list[Option]]
    about: dict[str, str]
    """Group → what it says of itself, if it says something that the description does not."""
    subcommands: tuple[str, ...]


def commands_page() -> str:
    """The page of all commands, in markdown."""
    parts = ["# Commands", "What `photoglue COMMAND --help` prints, of all commands."]
    for command in commands():
        name = " ".join(("photoglue", *command.words))
        parts += [f"{'##' if len(command.words) < 2 else '###'} {name}", _escaped(command.description)]
        parts += [f"```text\n{command.usage}\n```"]
        if command.subcommands:
            links = (f"[{name} {word}](#{_anchor((*command.words, word))})" for word in command.subcommands)
            parts.append(" · ".join(links))
        for title, options in command.groups.items():
            parts.append(f"**{title.rpartition('.')[2].capitalize()}**")
            if title in command.about:
                parts.append(_escaped(command.about[title]))
            parts += [_entry(command, option) for option in options]
    return "\n\n".join(parts) + "\n"


def commands(words: tuple[str, ...] = ()) -> Iterator[Command]:
    """A command and all below it, in the order of the help."""
    command = read_help(words, help_of(words))
    yield command
    for word in command.subcommands:
        yield from commands((*words, word))


def help_of(words: tuple[str, ...]) -> str:
    """What the program prints with --help, in one column of lines so long that next to none is folded."""
    from photoglue.cli.app import parse

    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # of another encoding, the boxes are drawn in ASCII
    with (
        mock.patch.dict(os.environ, COLUMNS="1000"),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        parse([*words, "--help"])
    printed.seek(0)
    return "\n".join(_one_column(printed.read().splitlines())) + "\n"


def _one_column(lines: list[str]) -> list[str]:
    """The lines of a help text with boxes that stand side by side, as in long ones, one below the other."""
    for number, line in enumerate(lines):
        if (width := line.find("╮╭") + 1) > 0:
            left, right = ([each[part] for each in lines[number:]] for part in (slice(width), slice(width, None)))
            return lines[:number] + left + _one_column(right)
    return lines


def read_help(words: tuple[str, ...], text: str) -> Command:
    """The parts of a help text: usage, description, and boxes with an entry for each option."""
    head, *boxes = re.split(r"^╭─ (.*?) ─+╮$", text, flags=re.MULTILINE)
    usage, _, description = head.removeprefix("usage: ").partition("\n\n")
    groups, about, subcommands = {}, {}, ()
    for title, box in zip(boxes[::2], boxes[1::2], strict=True):
        lines = [line[1:-1] for line in box.splitlines() if line.startswith("│")]
        if title == "subcommands":
            subcommands = tuple(match[1] for line in lines if (match := re.match(r" +• (\S+)", line)))
        else:
            if rules := [number for number, line in enumerate(lines) if set(line.strip()) == {"─"}]:
                about[title] = " ".join(" ".join(lines[: rules[0]]).split())
                del lines[: rules[0] + 1]
            groups[title] = [option for option in _options(lines) if "--help" not in option.name]
    return Command(
        words=words,
        usage=" ".join(usage.split()),
        description=description.strip(),
        groups={title: options for title, options in groups.items() if options},
        about={title: text for title, text in about.items() if text != description.strip()},
        subcommands=subcommands,
    )


def _options(lines: list[str]) -> Iterator[Option]:
    """Entries begin after one space; what belongs to them is indented deeper, or stands behind two spaces."""
    entries: list[list[str]] = []
    for line in lines:
        if re.match(r" \S", line):
            entries.append(re.split(r" {2,}", line.strip(), maxsplit=1))
        elif entries:
            entries[-1].append(line.strip())
    for name, *rest in entries:
        yield Option(name=name, help=" ".join(" ".join(rest).split()))


def _entry(command: Command, option: Option) -> str:
    """A term and its definition; the default stands apart, and is left out if it is nothing."""
    text, _, default = option.help.partition(" (default: ")
    value = default.removesuffix(")").strip()
    text = _escaped(text).replace("(required)", "**Required.**") + (f" Default: `{value}`." if value else "")
    word = re.match(r"--([a-z0-9-]+)", option.name)
    anchor = f"{{ #{_anchor((*command.words, word[1]))} }}" if word else ""
    return f"`{option.name}`{anchor}\n:   {text}"


def _anchor(words: tuple[str, ...]) -> str:
    return "-".join(("photoglue", *words))


def _escaped(text: str) -> str:
    """Text in which markdown sees code, but no HTML and no emphasis."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if i % 2 else re.sub(r"([<_*])", r"\\\1", part) for i, part in enumerate(parts))
