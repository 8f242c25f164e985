"""The curves that are fitted to matches whose correctness is known."""

import math

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.evaluation.calibration.fit import (
    JudgedPair,
    equal_weights,
    fit_calibration,
    fit_logistic,
    fit_verdict,
    pooled,
)
from photoglue.matchers.lightglue.verdict import ScoreCalibration
from photoglue.structs import Matches


def pair_of(scores, correct, places="aa"):
    """``correct`` is a flag for each match, how many of the first are correct, or None."""
    rows, scores = torch.arange(len(scores)), torch.as_tensor(scores)
    matches = Matches(
        matches0=rows, matches1=rows, matching_scores0=scores, matching_scores1=scores,
        keypoints0=torch.zeros(len(rows), 2), keypoints1=torch.zeros(len(rows), 2), stop=9, n_layers=9,
    )  # fmt: skip
    flags = rows < correct if isinstance(correct, int) else correct
    return JudgedPair(places=tuple(places), matches=matches, correct=flags)


def drawn(slope, offset, count=20_000, seed=0, places="aa"):
    """Matches that are correct as often as the calibration says."""
    generator = np.random.default_rng(seed)
    scores = generator.uniform(0.1, 0.999, count)
    probability = 1 / (1 + np.exp(-offset - slope * np.log(scores / (1 - scores))))
    return pair_of(scores, torch.from_numpy(generator.uniform(size=count) < probability), places)


def around(level, count, seed, correct=None):
    """So many scores around a level."""
    scores = np.random.default_rng(seed).uniform(level - 0.15, level + 0.15, count)
    return pair_of(torch.from_numpy(scores).float(), correct)


def spread(share, correct):
    """40 sure matches, that share of the points: these lie in a square, and the sure ones all over it."""
    count = round(40 / share)
    sure = torch.arange(count) < 40
    points = torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) * 100
    partners = torch.where(sure, torch.arange(count), -1)
    matches = Matches(
        matches0=partners, matches1=partners, matching_scores0=0.9 * sure, matching_scores1=0.9 * sure,
        keypoints0=points, keypoints1=points, stop=9, n_layers=9,
    )  # fmt: skip
    return JudgedPair(places=("a", "a"), matches=matches, correct=None if correct is None else sure[:40])


def cases(unrelated):
    """40 pairs that were matched, 10 that overlap and were not, and some unrelated ones."""
    chance = np.random.default_rng(0)
    real = [around(0.8, int(count), i, correct=20) for i, count in enumerate(chance.integers(25, 200, 40))]
    failed = [around(0.3, int(count), i, correct=7) for i, count in enumerate(chance.integers(0, 25, 10))]
    return real + failed + [around(0.3, int(n), i) for i, n in enumerate(chance.integers(0, 25, unrelated))]


class TestScores:
    @pytest.mark.parametrize(("slope", "offset"), [(0.7, 0.6), (1.0, 0.0), (2.0, -1.0)])
    def test_a_known_map_is_found_again(self, slope, offset):
        found = fit_calibration([drawn(slope, offset)])
        assert (found.slope, found.offset) == (pytest.approx(slope, abs=0.1), pytest.approx(offset, abs=0.1))

    def test_scenes_weigh_the_same(self):
        """Ten times the matches of one scene change nothing."""
        a, b = drawn(1.0, 1.0, 3000), drawn(1.0, -1.0, 3000, seed=1, places="bb")
        balanced, many = fit_calibration([a, b]), fit_calibration([a] * 10 + [b])
        assert (many.slope, many.offset) == (pytest.approx(balanced.slope), pytest.approx(balanced.offset))

    def test_the_numbers_of_the_first_release(self):
        """To the last digits: what was fitted once must come out again. Two scenes of one third and two thirds."""
        whole = drawn(0.7, 0.6, 3000)
        halves = [
            pair_of(whole.matches.scores[rows], whole.correct[rows], places)
            for rows, places in ((slice(1000), "aa"), (slice(1000, None), "bb"))
        ]
        found = fit_calibration(halves)
        assert found.slope == pytest.approx(0.6636433883858716, rel=1e-12)
        assert found.offset == pytest.approx(0.5928640332703343, rel=1e-12)

    def test_nothing_to_learn_from(self):
        scores = torch.linspace(0.1, 0.9, 50)
        with pytest.raises(ConfigError, match="Of 50 matches 50 are correct; both kinds"):
            fit_calibration([pair_of(scores, 50)])
        with pytest.raises(ConfigError, match="Of 0 matches 0 are correct"):
            fit_calibration([pair_of(scores, None)])
        with pytest.raises(ConfigError, match="higher scores are less often correct"):
            fit_calibration([pair_of(scores, scores < 0.5 + 0.2 * torch.sin(40 * scores))])

    def test_pooled(self):
        pairs = [pair_of([0.1, 0.2, 0.3], 1), pair_of([0.4], None, "ab"), pair_of([0.5, 0.6], 2, "bb")]
        scores, correct, places = pooled(pairs)
        assert scores.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.5, 0.6])
        assert correct.tolist() == [True, False, False, True, True]
        assert places == ["a", "a", "a", "b", "b"]


class TestLogistic:
    def test_against_the_closed_form(self):
        """One yes-or-no quantity: the coefficients are logits of shares."""
        quantities = np.repeat([0.0, 1.0], [40, 60])[:, None]
        labels = np.concatenate([np.arange(40) < 10, np.arange(60) < 45])
        offset, slope = fit_logistic(quantities, labels, np.ones(100), ridge=0.0)
        assert offset == pytest.approx(math.log(10 / 30))
        assert offset + slope == pytest.approx(math.log(45 / 15))
        assert fit_logistic(quantities, labels, np.where(labels, 3.0, 1.0), ridge=0.0)[0] == pytest.approx(math.log(1))

    def test_a_ridge_keeps_certainty_finite(self):
        """The gradient of the penalty and of the loss together is zero at the solution."""
        quantity = np.concatenate([np.linspace(-3, -1, 50), np.linspace(1, 3, 50)])
        labels = quantity > 0
        offset, slope = fit_logistic(quantity[:, None], labels, np.ones(100), ridge=0.1)
        predicted = 1 / (1 + np.exp(-offset - slope * quantity))
        assert ((labels - predicted) * quantity).sum() == pytest.approx(0.1 * slope, abs=1e-6)
        assert 1 < slope < 20


def test_equal_weights():
    np.testing.assert_allclose(equal_weights(["a", "b", "a", "a"]), [2 / 3, 2, 2 / 3, 2 / 3])


class TestVerdict:
    def test_it_tells_new_pairs_apart_whatever_the_shares_it_learned_from(self):
        calibration = ScoreCalibration(slope=0.7, offset=0.6)
        verdict = fit_verdict(cases(200), calibration)
        assert verdict.failures == pytest.approx(0.2)
        assert verdict(around(0.8, 100, 1000).matches) > 0.99
        # Of 1 + 0.2 pairs that look like this, 0.2 overlap.
        assert verdict(around(0.3, 5, 1000).matches) == pytest.approx(0.2 / 1.2, abs=0.01)
        # Five times the unrelated ones weigh the same in all.
        between = around(0.5, 20, 1).matches
        assert verdict(between) == pytest.approx(fit_verdict(cases(200)[:90], calibration)(between), abs=0.15)

    def test_the_numbers_of_the_first_release(self):
        found = fit_verdict(cases(60), fit_calibration([drawn(0.7, 0.6, 3000)]))
        assert found.offset == pytest.approx(-19.301055931259043, rel=1e-6)
        assert found.evidence == pytest.approx(6.6691890421971936, rel=1e-6)
        assert found.failures == pytest.approx(0.2)

    def test_look_alikes_have_lonely_matches(self):
        """As many matches, but among points without partners: only with look-alikes their neighbours count."""
        calibration = ScoreCalibration(slope=0.7, offset=0.6)
        lonely, dense = [spread(share, correct) for share, correct in ((0.2, None), (0.9, True))]
        plain = fit_verdict(cases(60), calibration)
        assert plain.neighbors == 0 and plain(lonely.matches) == pytest.approx(plain(dense.matches), abs=1e-6)
        verdict = fit_verdict(cases(60), calibration, [lonely, dense] * 20)
        assert verdict.neighbors > 0.5
        assert verdict(lonely.matches) < 0.5 < verdict(dense.matches)
        assert verdict.failures == plain.failures

    @pytest.mark.parametrize("correct", [[9, 9], [None, 7], [None, None]])
    def test_one_kind_is_not_enough(self, correct):
        pairs = [around(0.5, 10, 0, correct=count) for count in correct]
        with pytest.raises(ConfigError, match=r"Of 2 pairs \d overlap with 8 correct matches or more"):
            fit_verdict(pairs, ScoreCalibration(slope=1.0, offset=0.0))
