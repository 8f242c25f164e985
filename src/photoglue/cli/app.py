"""From arguments to a command, and from an error to one line and an exit code."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import torch
import tyro
from rich.console import Console

from photoglue.cli.bench import Bench
from photoglue.cli.demo import Demo
from photoglue.cli.evaluate import Evaluate
from photoglue.cli.extract import Extract
from photoglue.cli.match import Match
from photoglue.cli.match_many import MatchPairs
from photoglue.cli.train import Train, defaults
from photoglue.cli.weights import Weights
from photoglue.errors import PhotoGlueError, PhotoGlueWarning
from photoglue.machine import version_line

Command: TypeAlias = (
    Annotated[Match, tyro.conf.subcommand("match")]
    | Annotated[Extract, tyro.conf.subcommand("extract")]
    | Annotated[MatchPairs, tyro.conf.subcommand("match-pairs")]
    | Annotated[Weights, tyro.conf.subcommand("weights")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Train, tyro.conf.subcommand("train")]
)

DESCRIPTION = """Which points in two photos show the same thing.

photoglue --version prints the version. With --debug, an error shows where it came from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name.

    Args:
        arguments: Command and options; None: those of this process.

    Returns:
        0 only if the job was done; 1 if it failed; 2 if the arguments make no sense; 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        sys.stdout.write(version_line() + "\n")
        return 0
    debug = "--debug" in given
    errors = Console(stderr=True, highlight=False)
    warnings.showwarning = _warning_printer(errors)
    try:
        return parse([argument for argument in given if argument != "--debug"]).run(console_for_output())
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (whatever it is, one line says it)
        if debug:
            traceback.print_exc()
        errors.print(f"[red]error:[/red] {_escaped(_message_of(error))}", soft_wrap=True)
        return 130 if isinstance(error, KeyboardInterrupt) else 1


def _message_of(error: BaseException) -> str:
    if isinstance(error, PhotoGlueError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted."
    if isinstance(error, torch.OutOfMemoryError):
        return "Not enough memory on the device. Use fewer --max-keypoints, a smaller --resize, or --device cpu."
    return f"Unexpected {type(error).__name__}: {error}. This is a bug of PhotoGlue; --debug shows where."


def parse(arguments: Sequence[str]) -> Command:
    """The command that the arguments describe; prints help or a suggestion and exits if they describe none."""
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    words = list(arguments)
    if words[:1] == ["train"]:  # the defaults of its options follow from --preset
        train: Train = tyro.cli(Train, prog="photoglue train", args=words[1:], config=config, **defaults(words[1:]))
        return train
    command: Command = tyro.cli(Command, prog="photoglue", description=DESCRIPTION, args=words, config=config)
    return command


def console_for_output() -> Console:
    """The console for results: as wide as the terminal; for a file or pipe wide enough that no table is folded."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def _warning_printer(console: Console) -> Callable[..., None]:
    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        if issubclass(category, PhotoGlueWarning):
            console.print(f"[yellow]note:[/yellow] {_escaped(str(message))}", soft_wrap=True)

    return show


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
