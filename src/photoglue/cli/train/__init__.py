"""`photoglue train`: train LightGlue for any features."""

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from photoglue.cli.train.calibrate import TrainCalibrate
from photoglue.cli.train.confidence import TrainConfidence
from photoglue.cli.train.homography import TrainHomography
from photoglue.cli.train.posed import TrainPosed
from photoglue.cli.train.resume import TrainResume


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train LightGlue for any features, on photos or posed scenes of your own.

    On several GPUs: torchrun --no-python --nproc-per-node GPUS photoglue train …
    """

    command: (
        Annotated[TrainHomography, tyro.conf.subcommand("homography")]
        | Annotated[TrainPosed, tyro.conf.subcommand("posed")]
        | Annotated[TrainConfidence, tyro.conf.subcommand("confidence")]
        | Annotated[TrainCalibrate, tyro.conf.subcommand("calibrate")]
        | Annotated[TrainResume, tyro.conf.subcommand("resume")]
    )

    def run(self, console: Console) -> int:
        """Do it."""
        return self.command.run(console)
