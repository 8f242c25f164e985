"""`photoglue train confidence`: only the heads that decide when a pair is done."""

from dataclasses import dataclass, replace
from typing import ClassVar

from photoglue.cli.train.base import PresetName
from photoglue.cli.train.homography import TrainHomography
from photoglue.errors import ConfigError
from photoglue.matchers.lightglue import LightGlueShape
from photoglue.structs import Features
from photoglue.training.config import TrainingConfig
from photoglue.training.warm_start import shape_of


@dataclass(frozen=True, kw_only=True)
class TrainConfidence(TrainHomography):
    """Train only the confidence heads of --init, for early exit and pruning; all else stays as it is."""

    command: ClassVar[str] = "confidence"

    preset: PresetName = "confidence"
    """Recipe to begin with; the other options change single parts of it."""

    def network(self, example: Features) -> LightGlueShape:
        """The network of --init, whatever its shape.

        Raises:
            ConfigError: If it is for other features.
        """
        assert self.init is not None
        shape = shape_of(self.init)
        width = example.descriptors.shape[1]
        if shape.input_dim != width:
            raise ConfigError(
                f"{self.init!r} is for descriptors of {shape.input_dim} channels; {self.features} has {width}."
            )
        if shape.kinds is not None and example.kind not in shape.kinds:
            raise ConfigError(
                f"{self.init!r} is for features of the kind {' or '.join(shape.kinds)}; --features {self.features} "
                f"are {example.kind}."
            )
        return replace(shape, kinds=None if example.kind is None else (example.kind,))

    def training_config(self) -> TrainingConfig:
        """The preset with the changes asked for; of whatever recipe, only the heads learn."""
        return replace(super().training_config(), trained="confidence")
