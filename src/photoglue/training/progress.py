"""What a run reports while it goes on and when it ends, and the functions that it calls to do so."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from photoglue.matchers.lightglue import LightGlue
from photoglue.training.checkpoint import Position

BASELINE = "baseline_"
"""Prefix of the names of numbers that do not depend on the network."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Result of a validation."""

    score: float
    """The number that decides which weights are kept: the higher, the better."""
    numbers: Mapping[str, float]
    """Everything that was measured, by name."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """State of a run. Rates and means are over the steps since the last report."""

    pairs: int
    """Pairs that the run has seen."""
    progress: float
    """Share of the run that is over, in [0, 1]."""
    elapsed_s: float
    """Seconds that it has run, interruptions not counted."""
    left_s: float
    """Seconds that it will probably still take."""
    pairs_per_s: float
    """Pairs per second, validations and checkpoints included."""
    waiting: float
    """Share of the time in which the trainer waited for pairs."""
    learning_rate: float
    """Learning rate of the last step."""
    gradient_norm: float
    """Norm of the gradient before clipping."""
    loss: float
    """The loss that is minimised."""
    last_layer: float
    """Negative log-likelihood of the last layer, nats."""
    skipped: int
    """Steps skipped in the whole run, because something was not finite."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    position: Position
    """How far the run came."""
    finished: bool
    """False: it was interrupted, and can be resumed."""
    last: Score | None
    """Score of the final validation; None if there is none, or the run was interrupted."""
    files: tuple[Path, ...] = ()
    """What a finished run wrote: weights, curves, card."""


def _ignore(*_: object) -> None:
    """The hook of those who do not want to know."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Functions that a run calls; if several processes train together, only the first one calls them."""

    validate: Callable[[LightGlue], Score] | None = None
    """Measures how good weights are, before the first step, now and then, and at the end; None: on held-out pairs."""
    on_message: Callable[[str], None] = _ignore
    """Called with lines for people: what the run is made of, and what is left out."""
    on_extraction: Callable[[int, int], None] = _ignore
    """Called while features are extracted, with the number of photos done and of all photos."""
    on_report: Callable[[Report], None] = _ignore
    """Called every ``log_every`` pairs."""
    on_validation: Callable[[int, Score], None] = _ignore
    """Called after each validation, with the number of pairs that the run has seen."""
    tensorboard: bool | None = None
    """Whether to write scalars for TensorBoard; None: if it is installed."""
    clock: Callable[[], float] = time.monotonic
    """Gives seconds; another clock is for tests."""
