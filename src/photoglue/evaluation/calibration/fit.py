"""The map from scores to probabilities, and the verdict on pairs, that fit pairs whose correct matches are known.

Guo et al., On Calibration of Modern Neural Networks (ICML 2017); Platt, Probabilistic Outputs for Support Vector
Machines (1999).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.matchers.lightglue.verdict import (
    SCORE_LIMIT,
    PairVerdict,
    ScoreCalibration,
    expected_matches,
    neighbors_matched,
)
from photoglue.structs import Matches

ENOUGH = 8
"""Correct matches from which a pair counts as matched: seven determine a fundamental matrix, and any seven have one."""
RIDGE = 0.1
"""Penalty on the squared weights of the evidence in a verdict. Other pairs are nearly always told apart, so that
without it the weights, and with them the certainty, would grow without bound."""
NEWTON_STEPS = 100
LONGEST_STEP = 5.0
"""Longest step of a coefficient: where examples can be told apart, Newton's steps overshoot at first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedPair:
    """A matched pair, and what is true of it."""

    places: tuple[str, str]
    """What the photos show; the same twice if they overlap."""
    matches: Matches
    correct: Bool[Tensor, " k"] | None
    """Whether each match is correct; None for unrelated photos, where all are wrong."""


def pooled(pairs: Iterable[JudgedPair]) -> tuple[Float64[Tensor, " k"], Bool[Tensor, " k"], list[str]]:
    """(scores, whether they are correct, places) of all matches of the overlapping pairs."""
    found = [(pair.matches.scores.double(), pair.correct, pair.places[0]) for pair in pairs if pair.correct is not None]
    if not found:
        return torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.bool), []
    scores, correct, places = zip(*found, strict=True)
    return torch.cat(scores), torch.cat(correct), np.repeat(places, [len(flags) for flags in correct]).tolist()


def fit_calibration(pairs: Iterable[JudgedPair]) -> ScoreCalibration:
    """The calibration with the least logarithmic loss; scenes weigh the same, however many matches they have.

    Raises:
        ConfigError: If all matches of overlapping pairs are correct or none, or correct ones have the lower scores.
    """
    scores, correct, places = pooled(pairs)
    if bool(correct.all()) or not bool(correct.any()):
        raise ConfigError(f"Of {len(correct)} matches {int(correct.sum())} are correct; both kinds are needed.")
    logits = torch.logit(scores, eps=SCORE_LIMIT).numpy()
    offset, slope = fit_logistic(logits[:, None], correct.numpy(), equal_weights(places), ridge=0.0)
    if slope <= 0:
        raise ConfigError(f"Matches with higher scores are less often correct here (slope {slope:.3g}).")
    return ScoreCalibration(slope=slope, offset=offset)


def fit_verdict(
    pairs: Sequence[JudgedPair], calibration: ScoreCalibration | None = None, look_alikes: Sequence[JudgedPair] = ()
) -> PairVerdict:
    """The verdict that fits these pairs best; overlapping and unrelated ones weigh the same in all.

    Overlapping pairs with fewer than 8 correct matches count as failures of the matcher: how many there are is learned,
    and nothing else.

    Args:
        pairs: Overlapping and unrelated ones.
        calibration: The calibration of the scores; None: the one that fits these pairs.
        look_alikes: Parts of photos that look alike, and parts that overlap; with them ``neighbors_matched`` counts.

    Raises:
        ConfigError: If no unrelated pair is given, or no overlapping one that was matched, or unrelated ones have as
            good matches.
    """
    calibration = calibration or fit_calibration(pairs)
    overlapping = np.array([pair.correct is not None for pair in pairs], dtype=bool)
    counts = [0 if pair.correct is None else int(pair.correct.sum()) for pair in pairs]
    matched = np.array([count >= ENOUGH for count in counts], dtype=bool)
    if overlapping.all() or not matched.any():
        raise ConfigError(
            f"Of {len(pairs)} pairs {int(matched.sum())} overlap with {ENOUGH} correct matches or more, and "
            f"{int((~overlapping).sum())} are unrelated; both kinds are needed."
        )
    failures = 1 - float(matched.sum() / overlapping.sum())
    used = [pair for pair in [*pairs, *look_alikes] if pair.correct is None or int(pair.correct.sum()) >= ENOUGH]
    labels = np.array([pair.correct is not None for pair in used], dtype=bool)
    quantities = np.array([[math.log1p(expected_matches(pair.matches, calibration))] for pair in used])
    if look_alikes:
        beside = np.log([neighbors_matched(pair.matches) for pair in used])
        quantities = np.column_stack([quantities, beside])
    offset, evidence, *rest = fit_logistic(
        quantities, labels, equal_weights([str(flag) for flag in labels]), ridge=RIDGE
    )
    if evidence <= 0 or min(rest, default=0.0) < 0:
        raise ConfigError("Unrelated pairs have as good matches as overlapping ones here: nothing tells them apart.")
    found = PairVerdict(calibration=calibration, offset=offset, evidence=evidence, failures=failures)
    return replace(found, neighbors=rest[0]) if rest else found


def fit_logistic(
    quantities: Float64[np.ndarray, "n q"],
    labels: Bool[np.ndarray, " n"],
    weights: Float64[np.ndarray, " n"],
    *,
    ridge: float,
) -> list[float]:
    """The offset of a logistic regression, and the slope of each quantity, by Newton's method.

    It minimises the sum of weight × logarithmic loss, plus ridge / 2 × the squared slopes.

    Args:
        quantities: One row for each example.
        labels: What is to be predicted.
        weights: Weights of the examples, 1 on average.
        ridge: At least 0; above 0 if the labels can be told apart without error.
    """
    design = np.column_stack([np.ones(len(labels)), quantities])
    penalty = np.array([0.0, *[ridge] * quantities.shape[1]])
    coefficients = np.zeros(len(penalty))
    for _ in range(NEWTON_STEPS):
        predicted = 1 / (1 + np.exp(-np.clip(design @ coefficients, -500, 500)))
        slope = design.T @ (weights * (labels - predicted)) - penalty * coefficients
        curvature = (design * (weights * predicted * (1 - predicted))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        coefficients += step * min(1.0, LONGEST_STEP / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return [float(each) for each in coefficients]


def equal_weights(groups: Sequence[str]) -> Float64[np.ndarray, " n"]:
    """A weight for each member such that all groups weigh the same together; 1 on average."""
    _, member_of, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    weights: np.ndarray = (len(groups) / len(sizes)) / sizes[member_of]
    return weights.astype(np.float64)
