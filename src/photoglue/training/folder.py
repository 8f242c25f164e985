"""The folder of a run: what is in it says how to go on with it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photoglue.errors import ConfigError, OutputError
from photoglue.training.checkpoint import BEST, LAST, write_whole
from photoglue.training.model_card import WEIGHTS

COMMAND = "command.json"
"""What the run was started with."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a run was started with, for those who resume it and for its card."""

    name: str
    """Such as "homography"."""
    options: dict[str, Any]
    """As JSON can say them."""
    started_from: str
    """Which weights it began with, for people."""


def prepare_folder(folder: Path) -> None:
    """Make the folder of a new run.

    Raises:
        ConfigError: If it holds a run already, or what one left behind.
        OutputError: If it cannot be made.
    """
    if (folder / LAST).exists():
        raise ConfigError(
            f"{str(folder)!r} holds a run already. Go on with it by `photoglue train resume {folder}`, or give "
            "another --out."
        )
    if (folder / WEIGHTS).exists():
        raise ConfigError(
            f"{str(folder)!r} holds the weights of a finished run ({WEIGHTS}), which would be overwritten. "
            "Give another --out."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Of a run that ended before its first checkpoint: it would pass for the best of the new one.
        (folder / BEST).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(folder)!r} cannot be made: {error.strerror}.") from error


def write_command(folder: Path, command: Command) -> None:
    """Keep what a run was started with.

    Raises:
        OutputError: If it cannot be written.
    """
    write_whole(folder / COMMAND, (json.dumps(vars(command), indent=1) + "\n").encode())


def read_command(folder: Path) -> Command:
    """What a run was started with.

    Raises:
        ConfigError: If there is no run in the folder, or it has not come to its first checkpoint.
    """
    if not (folder / COMMAND).is_file():
        raise ConfigError(f"There is no run in {str(folder)!r}: it has no {COMMAND}. Give the --out of the run.")
    if not (folder / LAST).is_file():
        raise ConfigError(
            f"The run in {str(folder)!r} has not come to its first checkpoint ({LAST}): start it anew, with the same "
            "command. What it has cached is used again."
        )
    try:
        return Command(**json.loads((folder / COMMAND).read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{str(folder / COMMAND)!r} is damaged: {error}.") from None
