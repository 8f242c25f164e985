"""What a training run is made of, apart from its data: sizes, schedule, precision, how often it reports and saves."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

import torch

from photoglue.errors import ConfigError
from photoglue.precision import Precision, choose_precision

Schedule: TypeAlias = Literal["constant", "exponential", "cosine"]
"""How the learning rate goes from its full value to ``final_share`` of it."""
Trained: TypeAlias = Literal["all", "confidence"]
"""Which parameters change: all, or only the confidence heads, with all else as it is."""

FREE_TO_CHANGE = ("workers",)
"""Fields that may differ when a run is resumed: they change how fast it is, not what comes out."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run. ``presets.PRESETS`` has complete ones.

    Everything is counted in pairs of images, so that numbers stay comparable between batch sizes.

    Raises:
        ConfigError: If a value is out of range, or neither or both of ``total_pairs`` and ``hours`` are given.
    """

    batch_size: int = 8
    """Pairs in one step of the optimiser, over all processes and all parts of ``accumulate``."""
    accumulate: int = 1
    """Each process works through its share of a batch in so many parts: the same result, less memory."""
    learning_rate: float = 2e-4
    """Of AdamW, at its highest."""
    warmup_steps: int = 100
    """Steps over which it rises linearly to that, but at most a tenth of the run; 0: none."""
    schedule: Schedule = "cosine"
    """How it falls afterwards."""
    decay_from: float = 0.0
    """Share of the run that is over before it begins to fall, in [0, 1)."""
    final_share: float = 0.01
    """What is left of it at the end, in (0, 1]."""
    total_pairs: int | None = None
    """Length of the run in pairs; None: given by ``hours``."""
    hours: float | None = None
    """Length of the run in hours of wall-clock time, interruptions not counted; None: given by ``total_pairs``."""
    weight_decay: float = 0.01
    """Of AdamW; 0.0 makes it plain Adam."""
    clip_norm: float | None = 1.0
    """Longer gradients are shortened to this; None: they are not."""
    precision: Precision = "auto"
    """What the network computes in while training; weights and the optimiser's state stay float32."""
    checkpointed: bool = False
    """Compute each layer again in the backward pass: a third more time, far less memory."""
    ema_decay: float | None = None
    """Keep a running average of the weights with this decay, such as 0.999, and validate and ship that; None: no."""
    trained: Trained = "all"
    """Which parameters change."""
    seed: int = 0
    """Of the weights that are new."""
    validate_every: int = 4000
    """Pairs between two validations."""
    save_every: int = 2000
    """Pairs between two checkpoints."""
    log_every: int = 160
    """Pairs between two lines of ``metrics.jsonl``."""
    workers: int = 1
    """Processes that read pairs ahead, for each training process; 0: it reads them itself."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate", "validate_every", "save_every", "log_every"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("warmup_steps", "workers", "seed", "weight_decay"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _check(self.batch_size % self.accumulate == 0, "batch_size", self.batch_size, "a multiple of accumulate")
        _check(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        _check(self.clip_norm is None or self.clip_norm > 0, "clip_norm", self.clip_norm, "above 0, or None")
        _check(0 <= self.decay_from < 1, "decay_from", self.decay_from, "in [0, 1)")
        _check(0 < self.final_share <= 1, "final_share", self.final_share, "in (0, 1]")
        _check(self.ema_decay is None or 0 < self.ema_decay < 1, "ema_decay", self.ema_decay, "in (0, 1), or None")
        _check(self.schedule in get_args(Schedule), "schedule", self.schedule, _one_of(Schedule))
        _check(self.trained in get_args(Trained), "trained", self.trained, _one_of(Trained))
        _check(self.total_pairs is None or self.total_pairs > 0, "total_pairs", self.total_pairs, "at least 1")
        _check(self.hours is None or self.hours > 0, "hours", self.hours, "above 0")
        choose_precision(self.precision, torch.device("cpu"))  # refuses unknown ones
        if (self.total_pairs is None) == (self.hours is None):
            given = "both were" if self.hours is not None else "neither was"
            raise ConfigError(f"The length of a run is total_pairs or hours, one of the two; {given} given.")

    def to_json(self) -> str:
        """All fields, as text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "TrainingConfig":
        """The config that ``to_json`` wrote.

        Raises:
            ConfigError: If it has fields that are unknown here, or is not a config at all.
        """
        try:
            stored = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"This is no training config: {error}.") from None
        unknown = sorted(set(stored) - {field.name for field in fields(cls)})
        if unknown:
            raise ConfigError(
                f"The training config has fields unknown to this version of PhotoGlue: {', '.join(unknown)}."
            )
        return cls(**stored)


def differences(stored: TrainingConfig, wanted: TrainingConfig) -> list[str]:
    """Each field in which two configs differ, as "name: stored there, wanted now"; harmless ones left out."""
    there, here = asdict(stored), asdict(wanted)
    return [
        f"{name}: {there[name]!r} there, {here[name]!r} now"
        for name in there
        if there[name] != here[name] and name not in FREE_TO_CHANGE
    ]


def _check(fits: bool, name: str, value: object, wanted: str) -> None:
    if not fits:
        raise ConfigError(f"{name} is {value!r}; it must be {wanted}.")


def _one_of(choices: Any) -> str:
    return "one of " + ", ".join(get_args(choices))
