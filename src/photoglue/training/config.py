"""What a training run is made of, apart from its data: sizes, schedule, precision, how often it reports and saves."""

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, get_args

from photoglue.errors import ConfigError
from photoglue.precision import Precision, check_precision

Schedule: TypeAlias = Literal["constant", "exponential", "cosine"]
"""Curve of the learning rate from its full value to ``final_share`` of it."""

FREE_TO_CHANGE = ("workers",)
"""Fields that may differ when a run is resumed: they change how fast it is, not what comes out."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The training loop. Everything is counted in pairs of images, whatever the batch size is.

    Raises:
        ConfigError: If a value is out of range, or neither or both of ``pairs`` and ``hours`` are given.
    """

    hours: float | None = None
    """Length of the run in hours of wall-clock time, interruptions not counted; None: given by --pairs."""
    pairs: int | None = None
    """Length of the run in pairs; None: given by --hours."""
    batch_size: int = 8
    """Pairs in one step of the optimiser, of all processes together."""
    accumulate: int = 1
    """Parts that each process works through its share of a batch in: the same result with less memory."""
    learning_rate: float = 2e-4
    """Learning rate of AdamW, at its highest."""
    warmup_steps: int = 100
    """Steps in which the learning rate rises linearly, but at most a tenth of the run; 0: none."""
    schedule: Schedule = "cosine"
    """Curve by which the learning rate falls after the warm-up."""
    decay_from: float = 0.0
    """Share of the run that is over before the learning rate begins to fall, in [0, 1)."""
    final_share: float = 0.01
    """Share of the learning rate that is left at the end, in (0, 1]."""
    weight_decay: float = 0.01
    """Weight decay of AdamW; 0 makes it plain Adam."""
    clip_norm: float | None = 1.0
    """Norm that longer gradients are shortened to; None: gradients are not clipped."""
    ema: float | None = None
    """Average the weights with this decay, such as 0.999, and validate and ship the average; None: do not."""
    precision: Precision = "auto"
    """Precision of the network while it trains, whose weights stay float32; auto: bfloat16 where it is native."""
    checkpointed: bool = False
    """Save most of the memory by computing each layer again in the backward pass, for a third more time."""
    seed: int = 0
    """Seed of new weights, and of the choice and order of the pairs."""
    workers: int | None = None
    """Processes that read pairs ahead, for each that trains; 0: it reads them itself; None: 1, on a GPU up to 8."""
    validate_every: int = 4000
    """Pairs between two validations."""
    save_every: int = 2000
    """Pairs between two checkpoints."""
    log_every: int = 160
    """Pairs between two lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate", "validate_every", "save_every", "log_every"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("warmup_steps", "workers", "seed", "weight_decay"):
            _check((getattr(self, name) or 0) >= 0, name, getattr(self, name), "0 or more")
        _check(self.batch_size % self.accumulate == 0, "batch_size", self.batch_size, "a multiple of accumulate")
        _check(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        _check(self.clip_norm is None or self.clip_norm > 0, "clip_norm", self.clip_norm, "above 0, or None")
        _check(0 <= self.decay_from < 1, "decay_from", self.decay_from, "in [0, 1)")
        _check(0 < self.final_share <= 1, "final_share", self.final_share, "in (0, 1]")
        _check(self.ema is None or 0 < self.ema < 1, "ema", self.ema, "in (0, 1), or None")
        _check(
            self.schedule in get_args(Schedule), "schedule", self.schedule, "one of " + ", ".join(get_args(Schedule))
        )
        _check(self.pairs is None or self.pairs > 0, "pairs", self.pairs, "at least 1")
        _check(self.hours is None or self.hours > 0, "hours", self.hours, "above 0")
        check_precision(self.precision)
        if (self.pairs is None) == (self.hours is None):
            given = "both were" if self.hours is not None else "neither was"
            raise ConfigError(f"The length of a run is pairs or hours; {given} given, give one of them.")


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
