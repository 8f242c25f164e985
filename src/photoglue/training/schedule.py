"""The learning rate as a pure function of where a run stands: nothing to store, nothing to restore."""

import math

from photoglue.training.config import TrainingConfig

LONGEST_WARM_UP = 0.1
"""Share of the run after which the learning rate is up, however many steps were asked for."""


def progress(config: TrainingConfig, pairs: int, elapsed_s: float) -> float:
    """Share of the run that is over, in [0, 1]: by pairs, or by time if its length is given in hours.

    Args:
        config: Length of the run.
        pairs: Pairs that the run has seen.
        elapsed_s: Seconds that it has run, interruptions not counted.
    """
    if config.hours is not None:
        return min(1.0, elapsed_s / (3600 * config.hours))
    assert config.pairs is not None
    return min(1.0, pairs / config.pairs)


def learning_rate(config: TrainingConfig, step: int, done: float) -> float:
    """The learning rate of a step.

    Args:
        config: Learning rate and schedule of the run.
        step: Number of the step, from 0.
        done: ``progress`` before this step.
    """
    warmup = max((step + 1) / config.warmup_steps, done / LONGEST_WARM_UP) if config.warmup_steps else 1.0
    return config.learning_rate * min(1.0, warmup) * _decay(config, done)


def _decay(config: TrainingConfig, done: float) -> float:
    """Factor of the learning rate: 1 until ``decay_from``, then down to ``final_share`` at the end."""
    falling = max(0.0, done - config.decay_from) / (1 - config.decay_from)
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "exponential":
        return float(config.final_share**falling)
    return config.final_share + (1 - config.final_share) * (1 + math.cos(math.pi * falling)) / 2
