"""Metrics against hand-computed values, numerical integration and the definition counted out."""

import math

import numpy as np
import pytest
import torch

from photoglue import metrics
from photoglue.errors import ConfigError, ShapeError

CHANCE = np.random.default_rng(0)


def _integrated(errors, limit, steps=200_000):
    """The area under the recall curve, drawn point by point, by Simpson-free brute force."""
    ordered = np.sort(np.asarray(errors, dtype=float))
    below = ordered[ordered < limit]
    x = np.concatenate([[0], below, [limit]])
    y = np.concatenate([[0], np.arange(1, len(below) + 1), [len(below)]]) / len(ordered)
    where = (np.arange(steps) + 0.5) * limit / steps
    return float(np.interp(where, x, y).mean())


def test_auc_by_hand():
    # Curve (0, 0), (2, 1/2), then flat to 4: a triangle of 0.5 and a rectangle of 1, of 4.
    assert metrics.auc([2.0, 7.0], (4,)) == pytest.approx((1.5 / 4,))
    # Up to 10 it goes on to (7, 1) and is flat: 0.5 + 3.75 + 3.
    assert metrics.auc([7.0, 2.0], (4, 10)) == pytest.approx((0.375, 0.725))
    assert metrics.auc([0.0, 0.0], (5,)) == (1.0,)
    assert metrics.auc([math.inf, math.inf], (5, 10)) == (0.0, 0.0)
    # An error at the threshold is not below it.
    assert metrics.auc([5.0], (5,)) == (0.0,)


def test_auc_is_the_area_under_the_curve():
    for seed in range(5):
        errors = np.random.default_rng(seed).exponential(6, 57)
        errors[:9] = math.inf
        for limit, area in zip((5, 10, 20), metrics.auc(errors, (5, 10, 20)), strict=True):
            assert area == pytest.approx(_integrated(errors, limit), abs=1e-5)


def test_failures_count_and_nan_is_one():
    few = metrics.auc([1.0, 2.0], (5,))
    assert metrics.auc([1.0, 2.0, math.inf, math.inf], (5,)) == pytest.approx((few[0] / 2,))
    assert metrics.auc([1.0, math.nan, 2.0, math.inf], (5,)) == pytest.approx((few[0] / 2,))
    assert metrics.mean_average_accuracy([1.0, math.nan], (5,)) == 0.5


def test_auc_does_not_depend_on_order_or_container():
    errors = CHANCE.exponential(6, 30)
    expected = metrics.auc(errors, (5, 10))
    assert metrics.auc(errors[::-1].copy(), [5.0, 10.0]) == expected
    assert metrics.auc(errors.tolist(), np.array([5, 10])) == expected


def test_recall_curve():
    x, y = metrics.recall_curve([3.0, math.inf, 1.0, 1.0])
    assert x.tolist() == [0, 1, 1, 3]
    assert y.tolist() == [0, 0.25, 0.5, 0.75]
    x, y = metrics.recall_curve([])
    assert (x.tolist(), y.tolist()) == ([0], [0])


def test_precision_and_mean_average_accuracy_by_hand():
    errors = [0.5, 1.0, 2.9, 7.0]
    assert metrics.precision_at(errors, (1, 3, 5)) == (0.25, 0.75, 0.75)
    assert metrics.mean_average_accuracy(errors, (1, 3, 5)) == pytest.approx((0.25 + 0.75 + 0.75) / 3)
    assert metrics.mean_average_accuracy(errors, range(1, 21)) == pytest.approx(
        np.mean([[error < limit for error in errors] for limit in range(1, 21)])
    )


def test_nothing_measured():
    assert all(math.isnan(area) for area in metrics.auc([], (5, 10)))
    assert math.isnan(metrics.mean_average_accuracy([], (5,)))
    assert metrics.precision_at([], (1, 3)) == (0, 0), "a pair without matches is not left out"
    assert math.isnan(metrics.average_precision([], []))
    assert math.isnan(metrics.roc_auc([], [0.5]))
    assert math.isnan(metrics.roc_auc([0.5], []))
    empty = metrics.reliability([], [], bins=3)
    assert empty.counts.tolist() == [0, 0, 0]
    assert np.isnan(empty.precision).all()
    assert math.isnan(metrics.expected_calibration_error(empty))


def test_average_precision_by_hand():
    # Found at ranks 1 and 3 of two: (1/1 + 2/3) / 2.
    assert metrics.average_precision([0.9, 0.8, 0.7], [True, False, True]) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision([0.7, 0.9, 0.8], [True, True, False]) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision([0.9, 0.8], [False, False]) == 0
    assert metrics.average_precision([0.9, 0.8], [True, True]) == 1
    # Equal scores come together: half of two are right.
    assert metrics.average_precision([0.5, 0.5], [True, False]) == 0.5
    assert metrics.average_precision([0.5, 0.5], [False, True]) == 0.5


def test_average_precision_is_the_sum_over_thresholds():
    scores = np.round(CHANCE.random(80), 1)  # with many ties
    correct = CHANCE.random(80) < scores
    total = before = 0.0
    for threshold in sorted(set(scores), reverse=True):
        accepted = scores >= threshold
        recall = correct[accepted].sum() / correct.sum()
        total += (recall - before) * correct[accepted].mean()
        before = recall
    assert metrics.average_precision(scores, correct) == pytest.approx(total)


def test_roc_auc_is_the_share_of_pairs_in_order():
    positive, negative = np.round(CHANCE.random(40), 1), np.round(CHANCE.random(30) * 0.8, 1)
    counted = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert metrics.roc_auc(positive, negative) == pytest.approx(np.mean(counted))
    assert metrics.roc_auc(negative, positive) == pytest.approx(1 - np.mean(counted))
    assert metrics.roc_auc([3, 4], [1, 2]) == 1
    assert metrics.roc_auc([1.0], [1.0]) == 0.5


def test_roc_auc_is_the_area_under_the_curve():
    positive, negative = CHANCE.normal(1, 1, 200), CHANCE.normal(0, 1, 300)
    thresholds = np.concatenate([[np.inf], np.sort(np.concatenate([positive, negative]))[::-1]])
    hit = [(positive >= t).mean() for t in thresholds]
    false_alarm = [(negative >= t).mean() for t in thresholds]
    area = np.sum(np.diff(false_alarm) * (np.array(hit[1:]) + hit[:-1]) / 2)
    assert metrics.roc_auc(positive, negative) == pytest.approx(area)


def test_reliability_by_hand():
    bins = metrics.reliability([0.0, 0.1, 0.5, 0.6, 0.9, 1.0], [False, True, True, False, True, True], bins=2)
    assert bins.edges.tolist() == [0, 0.5, 1]
    assert bins.counts.tolist() == [3, 3]  # 0.5 belongs to the lower one
    np.testing.assert_allclose(bins.confidence, [0.2, 2.5 / 3])
    np.testing.assert_allclose(bins.precision, [2 / 3, 2 / 3])
    assert metrics.expected_calibration_error(bins) == pytest.approx((2 / 3 - 0.2 + 2.5 / 3 - 2 / 3) / 2)


def test_reliability_leaves_empty_bins_out_of_the_error():
    bins = metrics.reliability([0.05, 0.95], [False, True])
    assert bins.counts.tolist() == [1, *[0] * 8, 1]
    assert np.isnan(bins.precision[1:-1]).all()
    assert metrics.expected_calibration_error(bins) == pytest.approx(0.05)


def test_honest_scores_are_calibrated_and_boastful_ones_are_not():
    confidence = CHANCE.random(100_000)
    honest = CHANCE.random(100_000) < confidence
    boastful = CHANCE.random(100_000) < confidence**2
    assert metrics.expected_calibration_error(metrics.reliability(confidence, honest)) < 0.01
    # The mean of x - x² over 0…1.
    error = metrics.expected_calibration_error(metrics.reliability(confidence, boastful))
    assert error == pytest.approx(1 / 6, abs=0.01)


def test_match_scores_as_they_come_from_a_matcher():
    scores = torch.tensor([0.1, 0.9, 0.4])  # float32
    correct = torch.tensor([False, True, True])
    assert metrics.average_precision(scores.numpy(), correct.numpy()) == 1
    assert metrics.reliability(scores.numpy(), correct.numpy()).counts.sum() == 3


def test_wrong_input_says_what_to_do(as_a_user):
    with pytest.raises(ShapeError, match=r"errors go down to -1; an error is at least 0"):
        metrics.auc([1.0, -1.0], (5,))
    for thresholds in ([], [0.0], [-5.0], [math.inf], [math.nan]):
        with pytest.raises(ConfigError, match="give at least one, all positive"):
            metrics.auc([1.0], thresholds)
    with pytest.raises(ShapeError, match=r"errors has shape \(2, 1\)"):
        metrics.auc(np.ones((2, 1)), (5,))
    with pytest.raises(ShapeError, match=r"2 scores and 1 flags 'correct'"):
        metrics.average_precision([0.5, 0.6], [True])
    with pytest.raises(ShapeError, match="scores has NaN"):
        metrics.average_precision([0.5, math.nan], [True, False])
    with pytest.raises(ShapeError, match=r"confidence goes from 0\.5 to 1\.5; it must be within 0…1"):
        metrics.reliability([0.5, 1.5], [True, False])
    with pytest.raises(ConfigError, match="bins is 0"):
        metrics.reliability([0.5], [True], bins=0)
