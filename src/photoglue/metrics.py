"""Numbers from errors and scores: pure functions, without files and without images.

Errors are at least 0; a failure (no pose, no homography) is infinite, and so is NaN here. Failures count: none is ever
dropped. Where nothing was measured at all the result is NaN, unless a function says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from photoglue.errors import ConfigError, ShapeError

Values: TypeAlias = Shaped[np.ndarray, " n"] | Sequence[int | float]
Thresholds: TypeAlias = Shaped[np.ndarray, " t"] | Sequence[int | float]
Flags: TypeAlias = Shaped[np.ndarray, " n"] | Sequence[bool]


def recall_curve(errors: Values) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """The share of pairs with at most some error: (errors in ascending order, shares), from (0, 0) on.

    Straight lines join its points. Failures have no point, but the shares are of all pairs: with any, the last one is
    below 1. Without any pair, it is the point (0, 0).
    """
    ordered = np.sort(_checked_errors(errors))
    recall = np.arange(1, len(ordered) + 1) / max(1, len(ordered))
    finite = np.isfinite(ordered)
    return np.concatenate([[0.0], ordered[finite]]), np.concatenate([[0.0], recall[finite]])


def auc(errors: Values, thresholds: Thresholds) -> tuple[float, ...]:
    """The area under the recall curve up to each threshold, as a share of the whole, 0…1.

    It is the curve through the exact errors, by the trapezoidal rule, flat between the last error below the threshold
    and the threshold itself, as in SuperGlue's and glue-factory's evaluations (which round to four digits).
    """
    limits = _checked_thresholds(thresholds)
    x, y = recall_curve(errors)
    if len(errors) == 0:
        return (float("nan"),) * len(limits)
    areas = []
    for limit in limits:
        count = int(np.searchsorted(x, limit))
        widths = np.diff(np.append(x[:count], limit))
        heights = y[:count] + np.append(y[1:count], y[count - 1])
        areas.append(float(widths @ heights / 2 / limit))
    return tuple(areas)


def precision_at(errors: Values, thresholds: Thresholds) -> tuple[float, ...]:
    """The share of the matches of a pair with an error below each threshold.

    It is 0 without a match, as in glue-factory: a pair for which a method finds nothing is not left out of its mean.
    """
    return tuple(0.0 if np.isnan(share) else share for share in _shares_below(errors, thresholds))


def mean_average_accuracy(errors: Values, thresholds: Thresholds) -> float:
    """The share of errors below each threshold, averaged over the thresholds: mAA, such as over 1…20 px for WxBS.

    For many pairs take the mean of the pairs' values.
    """
    return float(np.mean(_shares_below(errors, thresholds)))


def average_precision(scores: Values, correct: Flags) -> float:
    """The area under the precision-recall curve of matches accepted in the order of their scores, 0…1.

    The sum of precision times gain in recall, without interpolation; equal scores are accepted together, so that the
    order of the input does not matter. Recall is relative to the correct ones among these matches. Zero if none is
    correct.
    """
    values, flags = _checked_scores(scores, "scores"), _checked_flags(correct, len(scores))
    if len(values) == 0:
        return float("nan")
    if not flags.any():
        return 0.0
    order = np.argsort(-values, kind="stable")
    values, flags = values[order], flags[order]
    last_of_equals = np.append(np.diff(values) != 0, True)
    found = np.cumsum(flags)[last_of_equals]
    accepted = np.arange(1, len(values) + 1)[last_of_equals]
    return float((np.diff(found, prepend=0) / flags.sum()) @ (found / accepted))


def roc_auc(scores_positive: Values, scores_negative: Shaped[np.ndarray, " m"] | Sequence[int | float]) -> float:
    """The chance that a positive has the higher score than a negative, 0…1; equal scores count half.

    The area under the curve of true positives against false positives. NaN if either has no member.
    """
    positive = _checked_scores(scores_positive, "scores_positive")
    negative = np.sort(_checked_scores(scores_negative, "scores_negative"))
    if len(positive) == 0 or len(negative) == 0:
        return float("nan")
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    return float((below + not_above).mean() / 2 / len(negative))


@dataclass(frozen=True, kw_only=True, eq=False)
class ReliabilityBins:
    """Predicted against observed precision, in bins of equal width; each holds its upper edge, the first also 0."""

    edges: Float64[np.ndarray, " bins_and_1"]
    """Edges of the bins, from 0 to 1."""
    counts: Int64[np.ndarray, " bins"]
    """Number of matches in each bin."""
    confidence: Float64[np.ndarray, " bins"]
    """Mean confidence of the matches in each bin, 0…1; NaN in an empty bin."""
    precision: Float64[np.ndarray, " bins"]
    """Share of the matches in each bin that is correct, 0…1; NaN in an empty bin."""


def reliability(confidence: Values, correct: Flags, bins: int = 10) -> ReliabilityBins:
    """What a reliability diagram shows (Guo et al., ICML 2017): how often matches of some confidence are correct.

    Args:
        confidence: Predicted confidence of each match, 0…1.
        correct: Whether each match is correct.
        bins: Number of bins, at least 1.

    Raises:
        ConfigError: If the number of bins is below 1.
        ShapeError: If a confidence is outside 0…1, or there are not as many of both.
    """
    if bins < 1:
        raise ConfigError(f"bins is {bins}; a reliability diagram needs at least 1.")
    values, flags = _checked_scores(confidence, "confidence"), _checked_flags(correct, len(confidence))
    if len(values) and (values.min() < 0 or values.max() > 1):
        raise ShapeError(f"confidence goes from {values.min():g} to {values.max():g}; it must be within 0…1.")
    edges = np.linspace(0, 1, bins + 1)
    index = np.maximum(np.searchsorted(edges, values, side="left") - 1, 0)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        return ReliabilityBins(
            edges=edges,
            counts=counts.astype(np.int64),
            confidence=np.bincount(index, weights=values, minlength=bins) / counts,
            precision=np.bincount(index, weights=flags, minlength=bins) / counts,
        )


def expected_calibration_error(bins: ReliabilityBins) -> float:
    """The mean distance between predicted and observed precision, over all matches, 0…1 (Guo et al., equation 3).

    It depends on the number of bins: compare only between equal ones.
    """
    if not bins.counts.any():
        return float("nan")
    gaps = np.abs(bins.precision - bins.confidence)
    return float(np.nansum(bins.counts * gaps) / bins.counts.sum())


def _shares_below(errors: Values, thresholds: Thresholds) -> tuple[float, ...]:
    limits = _checked_thresholds(thresholds)
    ordered = np.sort(_checked_errors(errors))
    if len(ordered) == 0:
        return (float("nan"),) * len(limits)
    return tuple((np.searchsorted(ordered, limits) / len(ordered)).tolist())


def _checked_errors(errors: Values) -> np.ndarray:
    values = _checked_vector(errors, "errors")
    if bool((values < 0).any()):
        raise ShapeError(f"errors go down to {np.nanmin(values):g}; an error is at least 0, a failure infinite.")
    return np.where(np.isnan(values), np.inf, values)


def _checked_scores(scores: Values, name: str) -> np.ndarray:
    values = _checked_vector(scores, name)
    if bool(np.isnan(values).any()):
        raise ShapeError(f"{name} has NaN among its values, which cannot be ordered; leave those matches out.")
    return values


def _checked_flags(correct: Flags, count: int) -> np.ndarray:
    flags = _checked_vector(correct, "correct").astype(bool)
    if len(flags) != count:
        raise ShapeError(f"There are {count} scores and {len(flags)} flags 'correct'; there must be one for each.")
    return flags


def _checked_vector(values: Values, name: str) -> np.ndarray:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ShapeError(f"{name} has shape {vector.shape}; it must be a list of numbers or an array with one axis.")
    return vector


def _checked_thresholds(thresholds: Thresholds) -> np.ndarray:
    limits = _checked_vector(thresholds, "thresholds")
    if len(limits) == 0 or not bool(((limits > 0) & (limits < np.inf)).all()):
        raise ConfigError(f"thresholds are {limits.tolist()}; give at least one, all positive, in the errors' unit.")
    return limits
