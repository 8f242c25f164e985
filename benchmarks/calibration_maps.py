"""The kinds of calibration that benchmarks/calibrate.py compares: each fitted to matches, then used on other scenes."""

from collections.abc import Callable, Mapping

import numpy as np

from photoglue.evaluation.calibration.fit import equal_weights, fit_logistic
from photoglue.matchers.lightglue.verdict import SCORE_LIMIT

Map = Callable[[np.ndarray], np.ndarray]
Fitter = Callable[[np.ndarray, np.ndarray, np.ndarray], Map]
"""(scores, whether they are correct, weights) → the fitted map of scores."""


def as_it_is(scores: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> Map:  # noqa: ARG001  (as all fitters)
    """No calibration."""
    return lambda new: new


def temperature(scores: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> Map:
    """The logit times a constant."""
    return _logistic(scores, correct, weights, intercept=False)


def platt(scores: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> Map:
    """The logit times a constant, plus a constant."""
    return _logistic(scores, correct, weights, intercept=True)


def isotonic(scores: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> Map:
    """The best of all that keep the order, by pooling neighbours in the wrong order; straight lines in between."""
    blocks: list[list[float]] = []  # [weight of the correct, weight, weight × score]
    for i in np.argsort(scores):
        blocks.append([weights[i] * correct[i], weights[i], weights[i] * scores[i]])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    hits, totals, places = np.array(blocks).T
    return lambda new: np.interp(new, places / totals, hits / totals)


MAPS: Mapping[str, Fitter] = {
    "scores as they are": as_it_is,
    "temperature": temperature,
    "Platt": platt,
    "isotonic": isotonic,
}


def left_out(fitter: Fitter, scores: np.ndarray, correct: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """For each match the probability that a map fitted to all other groups gives it."""
    predicted = np.empty(len(scores))
    for group in np.unique(groups):
        there = groups == group
        weights = equal_weights(groups[~there].tolist())
        predicted[there] = fitter(scores[~there], correct[~there], weights)(scores[there])
    return predicted


def _logistic(scores: np.ndarray, correct: np.ndarray, weights: np.ndarray, intercept: bool) -> Map:
    offset, slope = fit_logistic(_logit(scores), correct, weights=weights, ridge=0.0, intercept=intercept)
    return lambda new: 1 / (1 + np.exp(-offset - slope * _logit(new)[:, 0]))


def _logit(scores: np.ndarray) -> np.ndarray:
    inside = np.clip(scores, SCORE_LIMIT, 1 - SCORE_LIMIT)
    logit: np.ndarray = np.log(inside / (1 - inside))
    return logit[:, None]
