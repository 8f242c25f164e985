"""Pairs to calibrate with: which are drawn, how they are judged, and that what is measured was not fitted to."""

import random
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import rendered_scene
import torch

from photoglue import Extractor, ExtractorConfig, Features, Matcher
from photoglue.datasets.scenes import read_scene
from photoglue.datasets.truths import Planar, Posed
from photoglue.errors import ConfigError
from photoglue.evaluation.calibration.fit import correct_matches, fit_calibration
from photoglue.evaluation.calibration.pairs import (
    JudgedPair,
    PhotoPair,
    ScoreErrors,
    extract_photos,
    fit_pairs,
    judged,
    leave_scenes_out,
    overlapping_pairs,
    pooled,
    unrelated_pairs,
)
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.structs import Matches


def features_at(points, kind="dots"):
    return Features.from_arrays(np.asarray(points), np.eye(len(points)), (240, 180), kind=kind)


class Diagonal(Matcher):
    """Point i of one photo matches point i of the other."""

    def match_many(self, pairs):
        return [NearestNeighbor().match(*pair) for pair in pairs]


class Dots(Extractor):
    """Two points a photo, the worse one first; counts the photos that it sees."""

    kind = "dots"
    descriptor_dim = 2

    def __init__(self):
        super().__init__(ExtractorConfig())
        self.seen = 0

    def detect(self, images, masks=None):
        self.seen += len(images)
        return [
            Features.from_arrays([[1, 2], [3, 4]], np.eye(2), (8, 6), scores=[0.1, 0.9], kind=self.kind) for _ in images
        ]


@pytest.fixture
def wall(tmp_path):
    """A rendered scene of 8 photos with exact poses and depths."""
    return read_scene(rendered_scene.write_scene(tmp_path / "wall", count=8))


class TestDrawing:
    def test_overlapping_pairs_are_spread_and_each_is_drawn_once(self, wall):
        scene = wall
        scene.overlaps[:] = torch.linspace(0.0, 1.0, len(scene.pairs))
        overlap_of = {
            (scene.frames[i].image_path, scene.frames[j].image_path): float(overlap)
            for (i, j), overlap in zip(scene.pairs.tolist(), scene.overlaps, strict=True)
        }
        found = overlapping_pairs(scene, 9, random.Random(0))
        overlaps = sorted(overlap_of[pair.paths] for pair in found)
        assert len({pair.paths for pair in found}) == 9
        assert overlaps[0] >= 0.1
        assert [sum(low <= value < high for value in overlaps) for low, high in ((0.1, 0.3), (0.3, 0.6), (0.6, 2))] == [
            3, 3, 3,
        ]  # fmt: skip
        assert {pair.places for pair in found} == {("wall", "wall")}
        assert [pair.paths for pair in overlapping_pairs(scene, 9, random.Random(0))] == [pair.paths for pair in found]

    def test_unrelated_photos_are_of_different_places(self):
        def photo(place, number):
            return Path(f"{place}/{number}")

        overlapping = [
            PhotoPair(paths=(photo(place, i), photo(place, i + 1)), places=(place, place))
            for place in "abc"
            for i in range(3)
        ]
        found = unrelated_pairs(overlapping, 60, random.Random(0))
        assert len(found) == 60
        assert {pair.places for pair in found} == {(a, b) for a in "abc" for b in "abc" if a != b}
        for pair in found:
            assert tuple(path.parent.name for path in pair.paths) == pair.places
            assert pair.truth is None

    def test_one_place_is_refused(self):
        same = [PhotoPair(paths=(Path("a/0"), Path("a/1")), places=("a", "a"))]
        with pytest.raises(ConfigError, match=r"of 1 scenes \(a\)\. A calibration needs two at least"):
            unrelated_pairs(same, 3, random.Random(0))
        with pytest.raises(ConfigError, match=r"of 0 scenes \(none\)"):
            unrelated_pairs([], 3, random.Random(0))


class TestJudging:
    def test_photos_are_extracted_once_and_the_best_points_come_first(self, tmp_path):
        for name in "ab":
            PIL.Image.new("RGB", (8, 6)).save(tmp_path / f"{name}.png")
        paths = (tmp_path / "a.png", tmp_path / "b.png")
        extractor = Dots()
        found = extract_photos([PhotoPair(paths=paths, places=("x", "x"))] * 3, extractor)
        assert extractor.seen == 2
        assert set(found) == set(paths)
        assert found[paths[0]].scores.tolist() == pytest.approx([0.9, 0.1])

    def test_by_depth(self, wall):
        """Points that the renderer knows to be the same; two of them moved off, one along its epipolar line."""
        scene, rendered = wall, rendered_scene
        pose0, pose1 = rendered.poses(2)
        points0 = np.array([[60.0, 40.0], [100.0, 90.0], [70.0, 140.0], [150.0, 60.0]])
        _, world = rendered.exact_depth(pose0, points0)

        def seen(world):
            xyz = (world @ pose1[:3, :3].T + pose1[:3, 3]) @ rendered.CAMERA.T
            return xyz[:, :2] / xyz[:, 2:]

        points1 = seen(world)
        points1[1] += [0.0, 9.0]
        line = seen(1.2 * world)[2] - points1[2]  # camera 0 stands in the origin
        points1[2] += 9.0 * line / np.linalg.norm(line)
        frames = (scene.frames[0], scene.frames[1])
        pair = PhotoPair(paths=(frames[0].image_path, frames[1].image_path), places=("wall", "wall"), truth=frames)
        features = {pair.paths[0]: features_at(points0), pair.paths[1]: features_at(points1)}
        found = judged(pair, features, Diagonal(), 10)
        assert found.correct.tolist() == [True, False, False, True]
        truth = Posed(camera0=frames[0].camera, camera1=frames[1].camera, cam1_from_cam0=pose1 @ np.linalg.inv(pose0))
        assert correct_matches(found.matches, truth).tolist() == [True, False, True, True]  # what poses alone would say
        assert judged(pair, features, Diagonal(), 2).correct.tolist() == [True, False]

    def test_by_homography_and_unrelated(self):
        paths = (Path("a"), Path("b"))
        points = np.array([[10.0, 10.0], [50.0, 20.0]])
        features = {paths[0]: features_at(points), paths[1]: features_at(points + np.array([[5, 0], [5, 8]]))}
        shift = np.array([[1.0, 0, 5], [0, 1, 0], [0, 0, 1]])
        planar = PhotoPair(paths=paths, places=("x", "x"), truth=Planar(image1_from_image0=shift))
        assert judged(planar, features, Diagonal(), 10).correct.tolist() == [True, False]
        unrelated = judged(PhotoPair(paths=paths, places=("x", "y")), features, Diagonal(), 10)
        assert unrelated.correct is None


def drawn(places, seed, count, *, correct=True, slope=0.7, offset=0.8):
    """A pair whose matches are correct as often as the calibration (slope, offset) says."""
    chance = np.random.default_rng(seed)
    scores = torch.from_numpy(chance.uniform(0.12, 0.95, count))
    found = torch.from_numpy(chance.uniform(size=count)) < torch.sigmoid(offset + slope * torch.logit(scores))
    everyone = torch.arange(count)
    matches = Matches(
        matches0=everyone, matches1=everyone, matching_scores0=scores.float(), matching_scores1=scores.float(),
        keypoints0=torch.zeros(count, 2), keypoints1=torch.zeros(count, 2), stop=9, n_layers=9,
    )  # fmt: skip
    return JudgedPair(places=tuple(places), matches=matches, correct=found if correct else None)


def drawn_of(*places):
    """Pairs of some places, and unrelated ones of each two of them, with few matches."""
    pairs = [drawn(place * 2, 10 * i + ord(place), 300) for place in places for i in range(3)]
    return pairs + [drawn(a + b, ord(a) * ord(b), 12, correct=False) for a in places for b in places if a < b]


def test_errors_of_scores_by_hand():
    """Half of the matches with score 0.9 are correct, and all say 0.5 once they are calibrated."""
    found = ScoreErrors.of(torch.full((4,), 0.9), torch.full((4,), 0.5), torch.tensor([True, False, True, False]))
    assert (found.matches, found.correct) == (4, 0.5)
    assert (found.before, found.after) == (pytest.approx(0.4), pytest.approx(0.0))
    assert np.isnan(ScoreErrors.of(torch.zeros(0), torch.zeros(0), torch.zeros(0, dtype=torch.bool)).before)


class TestLeavingOut:
    def test_pooled(self):
        pairs = [drawn("aa", 0, 3), drawn("ab", 1, 4, correct=False), drawn("bb", 2, 2)]
        scores, correct, places = pooled(pairs)
        assert scores.tolist() == [*pairs[0].matches.scores.tolist(), *pairs[2].matches.scores.tolist()]
        assert correct.tolist() == [*pairs[0].correct.tolist(), *pairs[2].correct.tolist()]
        assert places == ["a", "a", "a", "b", "b"]
        assert [len(part) for part in pooled(pairs[1:2])] == [0, 0, 0]

    def test_the_calibration_is_found(self):
        verdict = fit_pairs(drawn_of("a", "b", "c", "d"))
        assert verdict.calibration.slope == pytest.approx(0.7, abs=0.1)
        assert verdict.calibration.offset == pytest.approx(0.8, abs=0.1)

    def test_nothing_of_a_scene_is_in_what_it_is_measured_with(self):
        pairs = drawn_of("a", "b", "c")
        found = leave_scenes_out(pairs)
        of_b = [pair for pair in pairs if pair.places == ("b", "b")]
        others = [pair for pair in pairs if "b" not in pair.places]
        scores, correct, _ = pooled(of_b)
        assert found.scenes["b"] == ScoreErrors.of(scores, fit_calibration(*pooled(others))(scores), correct)
        assert found.whole.after < 0.5 * found.whole.before
        assert found.whole.matches == sum(errors.matches for errors in found.scenes.values()) == 9 * 300
        # Three overlapping pairs and two unrelated ones of each scene, by the verdict of the other two.
        assert found.overlaps.tolist() == [True, True, True, False, False] * 3
        verdict = fit_pairs(others)
        assert found.probabilities[5:8].tolist() == [verdict(pair.matches) for pair in of_b]
        assert (found.probabilities > 0.5).tolist() == found.overlaps.tolist()

    def test_two_scenes_leave_nothing_to_tell_pairs_apart_with(self):
        found = leave_scenes_out(drawn_of("a", "b"))
        assert set(found.scenes) == {"a", "b"}
        assert len(found.probabilities) == len(found.overlaps) == 0
        assert found.whole.after < found.whole.before
