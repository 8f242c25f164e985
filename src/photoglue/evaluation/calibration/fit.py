"""From matches whose correctness is known: how far scores are from probabilities, and the map that makes them so.

Guo et al., On Calibration of Modern Neural Networks (ICML 2017); Platt, Probabilistic Outputs for Support Vector
Machines (1999).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from photoglue.datasets.depth import project_points, sample_depth
from photoglue.datasets.truths import Posed, Truth, match_errors
from photoglue.errors import ConfigError
from photoglue.matchers.lightglue.verdict import SCORE_LIMIT, PairVerdict, ScoreCalibration, expected_matches
from photoglue.structs import Matches

CORRECT_PX = 3.0
"""A match is correct up to this error, pixels of the images as read."""
ENOUGH = 8
"""Correct matches from which a pair counts as matched."""
RIDGE = 0.1
"""Penalty on the squared weight of the evidence in a verdict. Other pairs are nearly always told apart, so that without
it the weight, and with it the certainty, would grow without bound."""
NEWTON_STEPS = 100
LONGEST_STEP = 5.0
"""Longest step of a coefficient: where examples can be told apart, Newton's steps overshoot at first."""


def correct_matches(matches: Matches, truth: Truth) -> Bool[Tensor, " k"]:
    """Which matches have an error of at most 3 px (see ``match_errors``), row by row of ``matches.indices``.

    With poses, a few of a hundred random matches pass too: those that happen to lie along their epipolar lines.

    Raises:
        ConfigError: If the truth says nothing about single matches.
    """
    errors = match_errors(matches.points0, matches.points1, truth)
    if errors is None:
        raise ConfigError(f"Matches cannot be judged one by one with a truth of the kind {type(truth).__name__}.")
    return errors <= CORRECT_PX


def correct_by_depth(
    matches: Matches, truth: Posed, depth0: Float[Tensor, "h0 w0"], depth1: Float[Tensor, "h1 w1"]
) -> Bool[Tensor, " k"]:
    """Which matches are correct, where depth tells exactly where a point should be.

    The smaller of the errors of reprojection from image 0 to 1 and back counts, because at the edge of an object one of
    the two depths is often that of the background. Where neither is known: as ``correct_matches`` with poses.

    Args:
        matches: In pixels of the images as read.
        truth: Poses in the unit of the depths.
        depth0: Depth of image 0 along the optical axis; NaN where unknown.
        depth1: Depth of image 1 along the optical axis; NaN where unknown.
    """
    points0, points1 = matches.points0, matches.points1
    pose = torch.from_numpy(truth.cam1_from_cam0)
    there = project_points(points0, sample_depth(depth0, points0), truth.camera0, truth.camera1, pose)
    back = project_points(points1, sample_depth(depth1, points1), truth.camera1, truth.camera0, torch.linalg.inv(pose))
    errors = torch.fmin((there - points1).norm(dim=1), (back - points0).norm(dim=1))
    return torch.where(errors.isnan(), correct_matches(matches, truth), errors <= CORRECT_PX)


def fit_calibration(
    scores: Float[Tensor, " k"], correct: Bool[Tensor, " k"], groups: Sequence[str] | None = None
) -> ScoreCalibration:
    """The calibration with the least logarithmic loss: Platt scaling of the logit.

    Args:
        scores: Scores of matches of overlapping pairs.
        correct: For each, whether it is; some must be and some not.
        groups: For each, its scene; scenes then weigh the same, however many matches they have.

    Raises:
        ConfigError: If all are correct or none, or correct ones have the lower scores.
    """
    if bool(correct.all()) or not bool(correct.any()):
        raise ConfigError(f"Of {len(correct)} matches {int(correct.sum())} are correct; both kinds are needed.")
    logits = torch.logit(scores.double(), eps=SCORE_LIMIT).numpy()
    weights = np.ones(len(logits)) if groups is None else equal_weights(groups)
    offset, slope = fit_logistic(logits, correct.numpy(), weights, ridge=0.0)
    if slope <= 0:
        raise ConfigError(f"Matches with higher scores are less often correct here (slope {slope:.3g}).")
    return ScoreCalibration(slope=slope, offset=offset)


def fit_verdict(
    matches: Sequence[Matches], correct: Sequence[int | None], calibration: ScoreCalibration
) -> PairVerdict:
    """The verdict that fits these pairs best; overlapping and unrelated ones weigh the same in all.

    Args:
        matches: Matches of overlapping and of unrelated pairs.
        correct: For each pair how many matches are correct; None: the photos are unrelated. Overlapping pairs with
            fewer than 8 (seven determine a fundamental matrix, and any seven have one) count as failures of the
            matcher: how many there are is learned, and nothing else.
        calibration: The calibration of the scores.

    Raises:
        ConfigError: If no unrelated pair is given, or no overlapping one that was matched, or unrelated ones have as
            good matches.
    """
    overlapping = np.array([count is not None for count in correct], dtype=bool)
    matched = np.array([count is not None and count >= ENOUGH for count in correct], dtype=bool)
    if overlapping.all() or not matched.any():
        raise ConfigError(
            f"Of {len(correct)} pairs {int(matched.sum())} overlap with {ENOUGH} correct matches or more, and "
            f"{int((~overlapping).sum())} are unrelated; both kinds are needed."
        )
    used = matched | ~overlapping
    evidence = np.array([math.log1p(expected_matches(item, calibration)) for item in matches])
    weights = equal_weights([str(flag) for flag in matched[used]])
    offset, weight = fit_logistic(evidence[used], matched[used], weights, ridge=RIDGE)
    if weight <= 0:
        raise ConfigError("Unrelated pairs have as good matches as overlapping ones here: nothing tells them apart.")
    failures = 1 - float(matched.sum() / overlapping.sum())
    return PairVerdict(calibration=calibration, offset=offset, evidence=weight, failures=failures)


def fit_logistic(
    quantity: Float64[np.ndarray, " n"],
    labels: Bool[np.ndarray, " n"],
    weights: Float64[np.ndarray, " n"],
    *,
    ridge: float,
) -> tuple[float, float]:
    """(offset, slope) of a logistic regression with one quantity, by Newton's method.

    It minimises the sum of weight × logarithmic loss, plus ridge / 2 × the squared slope.

    Args:
        quantity: One number for each example.
        labels: What is to be predicted.
        weights: Weights of the examples, 1 on average.
        ridge: At least 0; above 0 if the labels can be told apart without error.
    """
    design = np.column_stack([np.ones(len(labels)), quantity])
    penalty = np.array([0.0, ridge])
    coefficients = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        predicted = 1 / (1 + np.exp(-np.clip(design @ coefficients, -500, 500)))
        slope = design.T @ (weights * (labels - predicted)) - penalty * coefficients
        curvature = (design * (weights * predicted * (1 - predicted))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        coefficients += step * min(1.0, LONGEST_STEP / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return float(coefficients[0]), float(coefficients[1])


def equal_weights(groups: Sequence[str]) -> Float64[np.ndarray, " n"]:
    """A weight for each member such that all groups weigh the same together; 1 on average."""
    _, member_of, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    weights: np.ndarray = (len(groups) / len(sizes)) / sizes[member_of]
    return weights.astype(np.float64)
