"""What a run tells those who watch it, and what it asks them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from photoglue.matchers.lightglue import LightGlue
from photoglue.training.checkpoint import Position

BASELINE = "baseline_"
"""What the names of those numbers begin with that do not depend on the network."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a validation found."""

    score: float
    """The higher, the better: decides which weights are kept."""
    numbers: Mapping[str, float]
    """All that was measured, by name."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a run stands. Rates and means are over the steps since the last report."""

    pairs: int
    """That the run has seen."""
    progress: float
    """Share of the run that is over, in [0, 1]."""
    elapsed_s: float
    """Seconds that it has run, interruptions not counted."""
    left_s: float
    """Seconds that it will probably still take."""
    pairs_per_s: float
    """Validations and checkpoints included."""
    waiting: float
    """Share of the time in which the trainer waited for pairs."""
    learning_rate: float
    """Of the last step."""
    gradient_norm: float
    """Before clipping."""
    loss: float
    """Total."""
    last_layer: float
    """Negative log-likelihood of the last layer, nats."""
    skipped: int
    """Steps skipped in the whole run, because something was not finite."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    position: Position
    """How far it came."""
    finished: bool
    """False: it was interrupted, and can be resumed."""
    last: Score | None
    """Of the final validation; None if there is none, or the run was interrupted."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Functions that a run calls, all in process 0."""

    validate: Callable[[LightGlue], Score] | None = None
    """How good are these weights? Called before the first step, now and then, and at the end."""
    on_report: Callable[[Report], None] | None = None
    """Called every ``log_every`` pairs."""
    on_validation: Callable[[int, Score], None] | None = None
    """Called after each validation, with the pairs seen."""
    tensorboard: bool | None = None
    """Whether to write for TensorBoard; None: if it is installed."""
    clock: Callable[[], float] = time.monotonic
    """Seconds; another one for tests."""
