"""`photoglue train`: train LightGlue for any features."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import tyro
from rich.console import Console

from photoglue.cli.train.calibrate import TrainCalibrate
from photoglue.cli.train.commands import (
    NewRun,
    TrainConfidence,
    TrainDistilled,
    TrainHomography,
    TrainPosed,
    TrainResume,
)
from photoglue.training import PRESETS, RECIPES, TrainingConfig

T = TypeVar("T")
NEW_RUNS: Mapping[str, type[NewRun]] = MappingProxyType(
    {"homography": TrainHomography, "posed": TrainPosed, "distilled": TrainDistilled, "confidence": TrainConfidence}
)
"""The commands that begin a run, by name."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train LightGlue for any features, on photos or posed scenes of your own.

    On several GPUs: torchrun --no-python --nproc-per-node GPUS photoglue train …
    """

    command: (
        Annotated[TrainHomography, tyro.conf.subcommand("homography")]
        | Annotated[TrainPosed, tyro.conf.subcommand("posed")]
        | Annotated[TrainDistilled, tyro.conf.subcommand("distilled")]
        | Annotated[TrainConfidence, tyro.conf.subcommand("confidence")]
        | Annotated[TrainCalibrate, tyro.conf.subcommand("calibrate")]
        | Annotated[TrainResume, tyro.conf.subcommand("resume")]
    )

    def run(self, console: Console) -> int:
        """Run the command."""
        return self.command.run(console)


def defaults(arguments: Sequence[str]) -> dict[str, Any]:
    """What tyro takes for options that are not given: a preset's values, and a length in pairs or hours, not in both.

    Args:
        arguments: All after `photoglue train`.

    Returns:
        Arguments of ``tyro.cli``: none, if the defaults of the command's class hold.
    """
    name = arguments[0] if arguments else ""
    if name not in NEW_RUNS:
        return {}
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--preset", "--pairs", "--hours"):
        scan.add_argument(option, nargs="?")
    given, _ = scan.parse_known_args(arguments[1:])
    recipe = _unchecked(RECIPES[name])
    chosen = PRESETS.get(given.preset, recipe)  # an unknown one is refused by tyro
    config = vars(chosen.config)
    if (given.pairs is None) != (given.hours is None):
        config = {**config, "pairs": None, "hours": None}
    recipe = _unchecked(RECIPES[name], keypoints=chosen.keypoints, config=_unchecked(TrainingConfig, **config))
    command: Any = _unchecked(NEW_RUNS[name], recipe=recipe, **({"preset": given.preset} if given.preset else {}))
    return {"default": Train(command=command)}


def _unchecked(kind: type[T], **values: Any) -> T:
    """An object with some values and its defaults, which need not make sense together: the parser completes it."""
    made = object.__new__(kind)
    for field in fields(kind):  # type: ignore[arg-type]
        default = tyro.MISSING if field.default is MISSING else field.default
        object.__setattr__(made, field.name, values.get(field.name, default))
    return made
