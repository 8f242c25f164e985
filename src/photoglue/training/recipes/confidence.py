"""The third stage: only the heads that decide when a pair is done."""

from dataclasses import dataclass, replace
from typing import ClassVar, final

from photoglue.errors import ConfigError
from photoglue.matchers.lightglue import LightGlueShape
from photoglue.structs import Features
from photoglue.training.config import TrainingConfig
from photoglue.training.recipes.homography import PhotosRecipe
from photoglue.training.recipes.presets import PRESETS
from photoglue.training.warm_start import shape_of


@final
@dataclass(frozen=True, kw_only=True)
class ConfidenceRecipe(PhotosRecipe):
    """Train only the confidence heads of --init, for early exit and pruning; all else stays as it is."""

    name: ClassVar[str] = "confidence"
    heads_only: ClassVar[bool] = True

    keypoints: int = PRESETS["confidence"].keypoints
    config: TrainingConfig = PRESETS["confidence"].config

    def network(self, example: Features) -> LightGlueShape:
        """Shape of the network of --init, whatever --model says.

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
