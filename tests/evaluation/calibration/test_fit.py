"""Which matches are correct, and the curves that are fitted to them."""

import math

import numpy as np
import pytest
import torch

from photoglue import Matches
from photoglue.datasets.truths import Apart, Planar, Posed
from photoglue.errors import ConfigError
from photoglue.evaluation.calibration.fit import (
    correct_by_depth,
    correct_matches,
    equal_weights,
    fit_calibration,
    fit_logistic,
    fit_verdict,
)
from photoglue.geometry.camera import PinholeCamera
from photoglue.matchers.lightglue.verdict import VERDICTS, ScoreCalibration
from photoglue.metrics import expected_calibration_error, reliability


@pytest.fixture
def scene(make):
    """Two cameras side by side before a wall at depth 4; gives (truth, points0, points1) of 60 exact matches."""

    camera = PinholeCamera(fx=100.0, fy=100.0, cx=79.5, cy=59.5, image_size=(160, 120))
    truth = Posed(camera0=camera, camera1=camera, cam1_from_cam0=make.pose(degrees=0.0, translation=(-0.8, 0, 0)))
    points0 = np.random.default_rng(0).uniform([40, 10], [150, 110], (60, 2))
    return truth, points0, points0 - [20, 0]  # 100 · 0.8 / 4


WALL = torch.full((120, 160), 4.0)


class TestCorrect:
    def test_by_homography(self, make):
        twice = Planar(image1_from_image0=np.diag([2.0, 2.0, 1.0]))
        points0 = np.array([[10.0, 10], [20, 30], [50, 40]])
        # Off by (0, 3.9, 4.1) in image 1 and half of that in image 0: the means are 0, 2.925, 3.075.
        points1 = 2 * points0 + [[0, 0], [3.9, 0], [0, 4.1]]
        assert correct_matches(make.matches(points0, points1), twice).tolist() == [True, True, False]

    def test_by_poses_a_wrong_match_along_the_line_passes(self, make, scene):
        truth, points0, points1 = scene
        moved = points1 + np.where(np.arange(60)[:, None] % 2, [0, 3.1], [30, 2.9])
        assert correct_matches(make.matches(points0, moved), truth).tolist() == [i % 2 == 0 for i in range(60)]

    def test_by_depth_it_does_not(self, make, scene):
        truth, points0, points1 = scene
        moved = points1 + np.where(np.arange(60)[:, None] % 2, [2.9, 0], [3.1, 0])
        found = correct_by_depth(make.matches(points0, moved), truth, WALL, WALL)
        assert found.tolist() == [i % 2 == 1 for i in range(60)]

    def test_the_depth_of_either_photo_is_enough(self, make, scene):
        """A wrong depth on one side (the background, at an edge), or none, is made good by the other."""
        truth, points0, points1 = scene
        matches = make.matches(points0, points1)
        for depths in ((WALL, WALL * 3), (WALL * 3, WALL), (WALL, WALL * torch.nan), (WALL * torch.nan, WALL)):
            assert correct_by_depth(matches, truth, *depths).all()
        assert not correct_by_depth(matches, truth, WALL * 3, WALL * 3).any()

    def test_without_depth_the_lines_decide(self, make, scene):
        truth, points0, points1 = scene
        unknown = WALL * torch.nan
        for shift, expected in (([30, 0], True), ([0, 4], False)):
            assert (correct_by_depth(make.matches(points0, points1 + shift), truth, unknown, unknown) == expected).all()

    def test_no_matches_and_no_truth(self, make, scene):
        none = make.matches(np.zeros((0, 2)), np.zeros((0, 2)))
        assert correct_matches(none, scene[0]).shape == (0,)
        assert correct_by_depth(none, scene[0], WALL, WALL).shape == (0,)
        with pytest.raises(ConfigError, match="of the kind Apart"):
            correct_matches(none, Apart())


def drawn(slope, offset, count=20_000, seed=0):
    """Scores, and whether they are correct, with a known probability."""
    generator = np.random.default_rng(seed)
    scores = generator.uniform(0.1, 0.999, count)
    probability = 1 / (1 + np.exp(-offset - slope * np.log(scores / (1 - scores))))
    return torch.from_numpy(scores), torch.from_numpy(generator.uniform(size=count) < probability)


class TestScores:
    @pytest.mark.parametrize(("slope", "offset"), [(0.7, 0.6), (1.0, 0.0), (2.0, -1.0)])
    def test_a_known_map_is_found_again(self, slope, offset):
        found = fit_calibration(*drawn(slope, offset))
        assert (found.slope, found.offset) == (pytest.approx(slope, abs=0.1), pytest.approx(offset, abs=0.1))

    def test_scenes_weigh_the_same(self):
        """Ten times the matches of one scene change nothing."""
        (a, correct_a), (b, correct_b) = drawn(1.0, 1.0, 3000), drawn(1.0, -1.0, 3000, seed=1)
        balanced = fit_calibration(torch.cat([a, b]), torch.cat([correct_a, correct_b]))
        many = fit_calibration(
            torch.cat([a.repeat(10), b]), torch.cat([correct_a.repeat(10), correct_b]), ["a"] * 30_000 + ["b"] * 3000
        )
        assert (many.slope, many.offset) == (pytest.approx(balanced.slope), pytest.approx(balanced.offset))

    def test_nothing_to_learn_from(self):
        scores = torch.linspace(0.1, 0.9, 50)
        with pytest.raises(ConfigError, match="Of 50 matches 50 are correct; both kinds"):
            fit_calibration(scores, torch.ones(50, dtype=torch.bool))
        with pytest.raises(ConfigError, match="higher scores are less often correct"):
            fit_calibration(scores, scores < 0.5 + 0.2 * torch.sin(40 * scores))

    def test_the_numbers_of_the_first_release(self):
        """To the last digit but one: verdicts that were fitted once must come out again."""
        scores, correct = drawn(0.7, 0.6, 3000)
        found = fit_calibration(scores, correct, ["a"] * 1000 + ["b"] * 2000)
        assert (found.slope, found.offset) == (
            pytest.approx(0.6636433883858716, rel=1e-12), pytest.approx(0.5928640332703343, rel=1e-12),
        )  # fmt: skip


class TestLogistic:
    def test_against_the_closed_form(self):
        """One yes-or-no quantity: the coefficients are logits of shares."""
        quantity = np.repeat([0.0, 1.0], [40, 60])
        labels = np.concatenate([np.arange(40) < 10, np.arange(60) < 45])
        offset, slope = fit_logistic(quantity, labels, np.ones(100), ridge=0.0)
        assert offset == pytest.approx(math.log(10 / 30))
        assert offset + slope == pytest.approx(math.log(45 / 15))
        assert fit_logistic(quantity, labels, np.where(labels, 3.0, 1.0), ridge=0.0)[0] == pytest.approx(math.log(1))

    def test_a_ridge_keeps_certainty_finite(self):
        """The gradient of the penalty and of the loss together is zero at the solution."""
        quantity = np.concatenate([np.linspace(-3, -1, 50), np.linspace(1, 3, 50)])
        labels = quantity > 0
        offset, slope = fit_logistic(quantity, labels, np.ones(100), ridge=0.1)
        predicted = 1 / (1 + np.exp(-offset - slope * quantity))
        assert ((labels - predicted) * quantity).sum() == pytest.approx(0.1 * slope, abs=1e-6)
        assert 1 < slope < 20


def test_equal_weights():

    np.testing.assert_allclose(equal_weights(["a", "b", "a", "a"]), [2 / 3, 2, 2 / 3, 2 / 3])


class TestVerdict:
    @pytest.fixture
    def matched(self, make):
        """Makes matches with so many scores around a level, among 500 keypoints."""

        def build(count, level, seed):
            generator = np.random.default_rng(seed)
            scores = torch.zeros(500)
            scores[:count] = torch.from_numpy(generator.uniform(level - 0.15, level + 0.15, count))
            partners = torch.where(scores > 0, torch.arange(500), -1)
            return Matches(
                matches0=partners, matches1=partners, matching_scores0=scores, matching_scores1=scores,
                keypoints0=torch.zeros(500, 2), keypoints1=torch.zeros(500, 2), stop=9, n_layers=9,
            )  # fmt: skip

        return build

    def test_it_tells_new_pairs_apart_whatever_the_shares_it_learned_from(self, matched):
        calibration = ScoreCalibration(slope=0.7, offset=0.6)
        chance = np.random.default_rng(0)
        real = [matched(int(count), 0.8, i) for i, count in enumerate(chance.integers(25, 200, 40))]
        failed = [matched(int(count), 0.3, i) for i, count in enumerate(chance.integers(0, 25, 10))]
        unrelated = [matched(int(count), 0.3, i) for i, count in enumerate(chance.integers(0, 25, 200))]
        verdict = fit_verdict(real + failed + unrelated, [20] * 40 + [7] * 10 + [None] * 200, calibration)
        assert verdict.failures == pytest.approx(0.2)
        assert verdict(matched(100, 0.8, 1000)) > 0.99
        # Of 1 + 0.2 pairs that look like this, 0.2 overlap.
        assert verdict(matched(5, 0.3, 1000)) == pytest.approx(0.2 / 1.2, abs=0.01)
        # Five times the unrelated ones weigh the same in all.
        few = fit_verdict(real + failed + unrelated[::5], [20] * 40 + [7] * 10 + [None] * 40, calibration)
        assert verdict(matched(20, 0.5, 1)) == pytest.approx(few(matched(20, 0.5, 1)), abs=0.15)

    def test_the_numbers_of_the_first_release(self, matched):
        chance = np.random.default_rng(0)
        real = [matched(int(count), 0.8, i) for i, count in enumerate(chance.integers(25, 200, 40))]
        failed = [matched(int(count), 0.3, i) for i, count in enumerate(chance.integers(0, 25, 10))]
        unrelated = [matched(int(count), 0.3, i) for i, count in enumerate(chance.integers(0, 25, 60))]
        calibration = fit_calibration(*drawn(0.7, 0.6, 3000))
        found = fit_verdict(real + failed + unrelated, [20] * 40 + [7] * 10 + [None] * 60, calibration)
        assert (found.offset, found.evidence, found.failures) == (
            pytest.approx(-19.301055931259043, rel=1e-9), pytest.approx(6.6691890421971936, rel=1e-9),
            pytest.approx(0.2),
        )  # fmt: skip

    @pytest.mark.parametrize("correct", [[9, 9], [None, 7], [None, None]])
    def test_one_kind_is_not_enough(self, matched, correct):
        with pytest.raises(ConfigError, match=r"Of 2 pairs \d overlap with 8 correct matches or more"):
            fit_verdict([matched(5, 0.5, 0)] * 2, correct, ScoreCalibration(slope=1.0, offset=0.0))


@pytest.mark.data
@pytest.mark.weights
@pytest.mark.slow
def test_on_a_real_scene_calibrated_scores_are_closer_to_the_truth(shared_data):
    """Pairs of a scene of the evaluation sets, which the table was not fitted to."""
    from photoglue import LightGlue, create_extractor
    from photoglue.datasets.layouts import load_dataset

    dataset = load_dataset(shared_data / "eval/imb_reichstag", max_pairs=4)
    names = sorted({name for pair in dataset.pairs for name in (pair.name0, pair.name1)})
    extractor = create_extractor("aliked", max_keypoints=1024, resize=800)
    features = dict(zip(names, extractor.extract_many([dataset.folder / name for name in names]), strict=True))
    found = LightGlue.pretrained("aliked").match_many([(features[p.name0], features[p.name1]) for p in dataset.pairs])
    correct = [correct_matches(matches, pair.truth) for matches, pair in zip(found, dataset.pairs, strict=True)]
    scores = torch.cat([matches.scores for matches in found])
    before, after = (
        expected_calibration_error(reliability(values.double().numpy(), torch.cat(correct).numpy()))
        for values in (scores, VERDICTS["aliked"].calibration(scores))
    )
    assert after < before
