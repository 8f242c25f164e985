"""From arguments to a command, and from an error to one line and an exit code."""

import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import torch
import tyro
from rich.console import Console
from rich.text import Text

from photoglue.cli.bench import Bench
from photoglue.cli.convert_model import ConvertModel
from photoglue.cli.demo import Demo
from photoglue.cli.doctor import Doctor
from photoglue.cli.evaluate import Evaluate
from photoglue.cli.export import Export
from photoglue.cli.extract import Extract
from photoglue.cli.localize import Localize
from photoglue.cli.map import Map
from photoglue.cli.match import Match, UsageError, implied_by_preset
from photoglue.cli.match_many import MatchPairs
from photoglue.cli.pairs import Pairs
from photoglue.cli.reconstruct import Reconstruct, Verify
from photoglue.cli.search import Index, Search
from photoglue.cli.track import Track
from photoglue.cli.train import Train, defaults
from photoglue.cli.web import Web
from photoglue.cli.weights import Weights
from photoglue.errors import PhotoGlueError, PhotoGlueWarning
from photoglue.machine import choice_lines, version_line

Command: TypeAlias = (
    Annotated[Match, tyro.conf.subcommand("match")]
    | Annotated[Extract, tyro.conf.subcommand("extract")]
    | Annotated[MatchPairs, tyro.conf.subcommand("match-pairs")]
    | Annotated[Pairs, tyro.conf.subcommand("pairs")]
    | Annotated[Index, tyro.conf.subcommand("index")]
    | Annotated[Search, tyro.conf.subcommand("search")]
    | Annotated[ConvertModel, tyro.conf.subcommand("convert-model")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Map, tyro.conf.subcommand("map")]
    | Annotated[Localize, tyro.conf.subcommand("localize")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Reconstruct, tyro.conf.subcommand("reconstruct")]
    | Annotated[Track, tyro.conf.subcommand("track")]
    | Annotated[Web, tyro.conf.subcommand("web")]
    | Annotated[Weights, tyro.conf.subcommand("weights")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Train, tyro.conf.subcommand("train")]
)

DESCRIPTION = """Which points in two photos show the same thing.

photoglue --version prints the version, and what is fastest on this machine. With --debug, an error shows where it came
from."""

FILE_NAME = re.compile(r"-[^=]*\.\w*[a-zA-Z]\w*")
"""A word that begins as options do and ends as names of files do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name.

    Args:
        arguments: Command and options; None: those of this process.

    Returns:
        0 only if the job was done; 1 if it failed; 2 if the arguments make no sense; 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        sys.stdout.write("\n".join([version_line(), *choice_lines()]) + "\n")
        return 0
    debug = "--debug" in given
    errors = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    warnings.showwarning = _warning_printer(errors)
    try:
        return parse([argument for argument in given if argument != "--debug"]).run(console_for_output())
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (whatever it is, one line says it)
        if debug:
            traceback.print_exc()
        errors.print(Text.assemble(("error:", "red"), " ", _message_of(error)), soft_wrap=True)
        return 130 if isinstance(error, KeyboardInterrupt) else 2 if isinstance(error, UsageError) else 1


def _message_of(error: BaseException) -> str:
    if isinstance(error, PhotoGlueError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted."
    if isinstance(error, torch.OutOfMemoryError):
        return "Not enough memory on the device. Use fewer --max-keypoints, a smaller --resize, or --device cpu."
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)!r}: {error.strerror}."
    return f"Unexpected {type(error).__name__}: {error}. This is a bug of PhotoGlue; --debug shows where."


def parse(arguments: Sequence[str]) -> Command:
    """The command that the arguments describe; prints help or a suggestion and exits if they describe none.

    Raises:
        UsageError: If a name of a file looks like an option, or there are too many names.
    """
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    words = [*arguments, *implied_by_preset(arguments)] if arguments[:1] != ["train"] else list(arguments)
    for word in words:
        if FILE_NAME.fullmatch(word) or (word.startswith("-") and Path(word).is_file()):
            raise UsageError(f"{word!r} is taken for an option; if it is a file, write it as {'./' + word!r}.")
    if words[:1] == ["train"]:  # the defaults of its options follow from --preset
        train: Train = tyro.cli(Train, prog="photoglue train", args=words[1:], config=config, **defaults(words[1:]))
        return train
    about: dict[str, Any] = {"prog": "photoglue", "description": DESCRIPTION, "config": config}
    parsed: Command = tyro.cli(Command, args=words, **about)
    return parsed


def console_for_output() -> Console:
    """The console for results: as wide as the terminal; for a file or pipe wide enough that no table is folded.

    Text is printed as it is: no [brackets] or :colons: of a file's name are taken for markup.
    """
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)


def _warning_printer(console: Console) -> Callable[..., None]:
    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        if issubclass(category, PhotoGlueWarning):
            console.print(Text.assemble(("note:", "yellow"), " ", str(message)), soft_wrap=True)

    return show
