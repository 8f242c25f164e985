"""`photoglue train resume RUN`: go on where a run was interrupted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import tyro
from rich.console import Console

from photoglue.cli.train.base import RunOptions, from_json
from photoglue.cli.train.confidence import TrainConfidence
from photoglue.cli.train.homography import TrainHomography
from photoglue.cli.train.posed import TrainPosed
from photoglue.errors import ConfigError
from photoglue.training.folder import read_command

COMMANDS: Mapping[str, type[RunOptions]] = MappingProxyType(
    {command.command: command for command in (TrainHomography, TrainPosed, TrainConfidence)}
)
"""By the name in the folder of a run."""


@dataclass(frozen=True, kw_only=True)
class TrainResume:
    """Go on with a run, exactly as if it had not been interrupted."""

    folder: tyro.conf.Positional[Path]
    """Of the run: its --out."""
    workers: int | None = None
    """Processes that read pairs ahead; None: as before."""

    def run(self, console: Console) -> int:
        """Do it."""
        command = read_command(self.folder)
        if command.name not in COMMANDS:
            raise ConfigError(f"The run in {str(self.folder)!r} is of a kind unknown here: {command.name!r}.")
        options = replace(from_json(COMMANDS[command.name], command.options), out=self.folder)
        if self.workers is not None:
            options = replace(options, workers=self.workers)
        return options.go_on(console)
