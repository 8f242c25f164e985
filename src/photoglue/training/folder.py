"""The folder of a run: what is in it says how to go on with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photoglue.errors import ConfigError, OutputError
from photoglue.files import from_json, to_json
from photoglue.training.checkpoint import BEST, LAST, write_in_run
from photoglue.training.model_card import WEIGHTS

RECIPE = "recipe.json"
"""File that says what the run was started with."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Recipe and initial weights of a run, for those who resume it and for its card."""

    name: str
    """Name of the recipe, such as "homography"."""
    recipe: dict[str, Any]
    """Fields of the recipe as JSON has them."""
    started_from: str
    """Says to people which weights the run began with."""


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


def write_record(folder: Path, record: RunRecord) -> None:
    """Keep what a run was started with.

    Raises:
        OutputError: If it cannot be written.
    """
    write_in_run(folder / RECIPE, f"{to_json(record, indent=1)}\n".encode())


def read_record(folder: Path) -> RunRecord:
    """Read what a run was started with.

    Raises:
        ConfigError: If there is no run in the folder, it has not come to its first checkpoint, or it was begun by an
            earlier version of PhotoGlue.
    """
    path = folder / RECIPE
    if (folder / "command.json").is_file() and not path.is_file():
        raise ConfigError(
            f"The run in {str(folder)!r} was begun by an earlier version of PhotoGlue. Go on with that version, or "
            f"begin a new run with --init {folder}."
        )
    if not path.is_file():
        raise ConfigError(f"There is no run in {str(folder)!r}: it has no {RECIPE}. Give the --out of the run.")
    if not (folder / LAST).is_file():
        raise ConfigError(
            f"The run in {str(folder)!r} has not come to its first checkpoint ({LAST}): start it anew, with the same "
            "command. What it has cached is used again."
        )
    return from_json(RunRecord, path.read_bytes(), origin=repr(str(path)))
