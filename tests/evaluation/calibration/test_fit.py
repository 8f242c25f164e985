import math

import numpy as np
import pytest
import torch


@pytest.fixture
def scene(make):
    """Two cameras side by side before a wall at depth 4; gives (truth, points0, points1) of 60 exact matches."""
    from photoglue.datasets.truths import Posed
    from photoglue.geometry.camera import PinholeCamera

    camera = PinholeCamera(fx=100.0, fy=100.0, cx=79.5, cy=59.5, image_size=(160, 120))
    truth = Posed(camera0=camera, camera1=camera, cam1_from_cam0=make.pose(degrees=0.0, translation=(-0.8, 0, 0)))
    points0 = np.random.default_rng(0).uniform([40, 10], [150, 110], (60, 2))
    return truth, points0, points0 - [20, 0]  # 100 · 0.8 / 4


WALL = torch.full((120, 160), 4.0)


class TestCorrect:
    def test_by_homography(self, make):
        from photoglue.datasets.truths import Planar
        from photoglue.evaluation.calibration.fit import correct_matches

        twice = Planar(image1_from_image0=np.diag([2.0, 2.0, 1.0]))
        points0 = np.array([[10.0, 10], [20, 30], [50, 40]])
        # Off by (0, 3.9, 4.1) in image 1 and half of that in image 0: the means are 0, 2.925, 3.075.
        points1 = 2 * points0 + [[0, 0], [3.9, 0], [0, 4.1]]
        assert correct_matches(make.matches(points0, points1), twice).tolist() == [True, True, False]

    def test_by_poses_a_wrong_match_along_the_line_passes(self, make, scene):
        from photoglue.evaluation.calibration.fit import correct_matches

        truth, points0, points1 = scene
        moved = points1 + np.where(np.arange(60)[:, None] % 2, [0, 3.1], [30, 2.9])
        assert correct_matches(make.matches(points0, moved), truth).tolist() == [i % 2 == 0 for i in range(60)]

    def test_by_depth_it_does_not(self, make, scene):
        from photoglue.evaluation.calibration.fit import correct_by_depth

        truth, points0, points1 = scene
        moved = points1 + np.where(np.arange(60)[:, None] % 2, [2.9, 0], [3.1, 0])
        found = correct_by_depth(make.matches(points0, moved), truth, WALL, WALL)
        assert found.tolist() == [i % 2 == 1 for i in range(60)]

    def test_the_depth_of_either_photo_is_enough(self, make, scene):
        """A wrong depth on one side (the background, at an edge), or none, is made good by the other."""
        from photoglue.evaluation.calibration.fit import correct_by_depth

        truth, points0, points1 = scene
        matches = make.matches(points0, points1)
        for depths in ((WALL, WALL * 3), (WALL * 3, WALL), (WALL, WALL * torch.nan), (WALL * torch.nan, WALL)):
            assert correct_by_depth(matches, truth, *depths).all()
        assert not correct_by_depth(matches, truth, WALL * 3, WALL * 3).any()

    def test_without_depth_the_lines_decide(self, make, scene):
        from photoglue.evaluation.calibration.fit import correct_by_depth

        truth, points0, points1 = scene
        unknown = WALL * torch.nan
        for shift, expected in (([30, 0], True), ([0, 4], False)):
            assert (correct_by_depth(make.matches(points0, points1 + shift), truth, unknown, unknown) == expected).all()

    def test_no_matches_and_no_truth(self, make, scene):
        from photoglue.datasets.truths import Apart
        from photoglue.errors import ConfigError
        from photoglue.evaluation.calibration.fit import correct_by_depth, correct_matches

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
        from photoglue.evaluation.calibration.fit import fit_calibration

        found = fit_calibration(*drawn(slope, offset))
        assert (found.slope, found.offset) == (pytest.approx(slope, abs=0.1), pytest.approx(offset, abs=0.1))

    def test_the_error_goes_away(self):
        from photoglue.evaluation.calibration.fit import fit_calibration, score_reliability

        scores, correct = drawn(0.7, 0.9)
        found = score_reliability(*drawn(0.7, 0.9, seed=1), fit_calibration(scores, correct))
        before, after = found.errors
        assert before > 0.1
        assert after < 0.015
        assert found.before.counts.sum() == found.after.counts.sum() == 20_000

    def test_scenes_weigh_the_same(self):
        """Ten times the matches of one scene change nothing."""
        from photoglue.evaluation.calibration.fit import fit_calibration

        (a, correct_a), (b, correct_b) = drawn(1.0, 1.0, 3000), drawn(1.0, -1.0, 3000, seed=1)
        balanced = fit_calibration(torch.cat([a, b]), torch.cat([correct_a, correct_b]))
        many = fit_calibration(
            torch.cat([a.repeat(10), b]), torch.cat([correct_a.repeat(10), correct_b]), ["a"] * 30_000 + ["b"] * 3000
        )
        assert (many.slope, many.offset) == (pytest.approx(balanced.slope), pytest.approx(balanced.offset))

    def test_nothing_to_learn_from(self):
        from photoglue.errors import ConfigError
        from photoglue.evaluation.calibration.fit import fit_calibration

        scores = torch.linspace(0.1, 0.9, 50)
        with pytest.raises(ConfigError, match="Of 50 matches 50 are correct; both kinds"):
            fit_calibration(scores, torch.ones(50, dtype=torch.bool))
        with pytest.raises(ConfigError, match="higher scores are less often correct"):
            fit_calibration(scores, scores < 0.5 + 0.2 * torch.sin(40 * scores))


class TestLogistic:
    def test_against_the_closed_form(self):
        """One yes-or-no quantity: the coefficients are logits of shares."""
        from photoglue.evaluation.calibration.fit import fit_logistic

        quantity = np.repeat([0.0, 1.0], [40, 60])
        labels = np.concatenate([np.arange(40) < 10, np.arange(60) < 45])
        intercept, slope = fit_logistic(quantity[:, None], labels, ridge=0.0)
        assert intercept == pytest.approx(math.log(10 / 30))
        assert intercept + slope == pytest.approx(math.log(45 / 15))
        weights = np.where(labels, 3.0, 1.0)
        assert fit_logistic(quantity[:, None], labels, weights=weights, ridge=0.0)[0] == pytest.approx(math.log(1))

    def test_no_intercept(self):
        from photoglue.evaluation.calibration.fit import fit_logistic

        quantity, labels = np.ones((10, 1)), np.arange(10) < 8
        assert fit_logistic(quantity, labels, ridge=0.0, intercept=False) == pytest.approx([0, math.log(4)])

    def test_a_ridge_keeps_certainty_finite(self):
        """The gradient is zero at the solution: of the penalty and of the loss together."""
        from photoglue.evaluation.calibration.fit import fit_logistic

        quantity = np.concatenate([np.linspace(-3, -1, 50), np.linspace(1, 3, 50)])
        labels = quantity > 0
        intercept, slope = fit_logistic(quantity[:, None], labels, ridge=0.1)
        predicted = 1 / (1 + np.exp(-intercept - slope * quantity))
        assert ((labels - predicted) * quantity).sum() == pytest.approx(0.1 * slope, abs=1e-6)
        assert 1 < slope < 20


def test_equal_weights():
    from photoglue.evaluation.calibration.fit import equal_weights

    np.testing.assert_allclose(equal_weights(["a", "b", "a", "a"]), [2 / 3, 2, 2 / 3, 2 / 3])


class TestVerdict:
    @pytest.fixture
    def matched(self, make):
        """Makes matches with so many scores around a level, among 500 keypoints."""
        from photoglue import Matches

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
        from photoglue.evaluation.calibration.fit import fit_verdict
        from photoglue.matchers.lightglue.verdict import ScoreCalibration

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

    @pytest.mark.parametrize("correct", [[9, 9], [None, 7], [None, None]])
    def test_one_kind_is_not_enough(self, matched, correct):
        from photoglue.errors import ConfigError
        from photoglue.evaluation.calibration.fit import fit_verdict
        from photoglue.matchers.lightglue.verdict import ScoreCalibration

        with pytest.raises(ConfigError, match=r"Of 2 pairs \d overlap with 8 correct matches or more"):
            fit_verdict([matched(5, 0.5, 0)] * 2, correct, ScoreCalibration(slope=1.0, offset=0.0))


@pytest.mark.data
@pytest.mark.weights
@pytest.mark.slow
def test_on_a_real_scene_calibrated_scores_are_closer_to_the_truth(shared_data):
    """Pairs of a scene of the evaluation sets, which the table was not fitted to."""
    from photoglue import LightGlue, create_extractor
    from photoglue.datasets.layouts import load_dataset
    from photoglue.evaluation.calibration.fit import correct_matches, score_reliability
    from photoglue.matchers.lightglue.verdict import VERDICTS

    dataset = load_dataset(shared_data / "eval/imb_reichstag", max_pairs=4)
    names = sorted({name for pair in dataset.pairs for name in (pair.name0, pair.name1)})
    extractor = create_extractor("aliked", max_keypoints=1024, resize=800)
    features = dict(zip(names, extractor.extract_many([dataset.folder / name for name in names]), strict=True))
    found = LightGlue.pretrained("aliked").match_many([(features[p.name0], features[p.name1]) for p in dataset.pairs])
    correct = [correct_matches(matches, pair.truth) for matches, pair in zip(found, dataset.pairs, strict=True)]
    scores = torch.cat([matches.scores for matches in found])
    before, after = score_reliability(scores, torch.cat(correct), VERDICTS["aliked"].calibration).errors
    assert after < before
