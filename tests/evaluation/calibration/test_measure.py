"""What scores mean: which pairs are drawn, how they are judged, and that what is measured was not fitted to."""

import random
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import rendered_scene
import torch

from photoglue import (
    SIFT,
    Extractor,
    ExtractorConfig,
    Features,
    LightGlue,
    LightGlueShape,
    Matcher,
    SIFTConfig,
)
from photoglue.datasets.scenes import read_scene, read_scenes
from photoglue.datasets.truths import Planar, Posed, match_errors
from photoglue.errors import ConfigError
from photoglue.evaluation.calibration import measure as module
from photoglue.evaluation.calibration.fit import JudgedPair, fit_calibration, fit_verdict, pooled
from photoglue.evaluation.calibration.measure import (
    TOGETHER,
    PhotoPair,
    calibrate,
    depth_errors,
    extract_photos,
    judged,
    measured,
    overlapping_pairs,
    score_errors,
    store_verdict,
    unrelated_pairs,
)
from photoglue.geometry.camera import PinholeCamera
from photoglue.matchers.lightglue.verdict import VERDICTS
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
        lines = match_errors(found.matches.points0, found.matches.points1, truth)
        assert (lines <= 3).tolist() == [True, False, True, True]  # what poses alone would say
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


WALL = torch.full((120, 160), 4.0)


class TestDepth:
    @pytest.fixture
    def sideways(self, make):
        """Two cameras side by side before a wall at depth 4; gives (truth, points0, points1) of 60 exact matches."""
        camera = PinholeCamera(fx=100.0, fy=100.0, cx=79.5, cy=59.5, image_size=(160, 120))
        truth = Posed(camera0=camera, camera1=camera, cam1_from_cam0=make.pose(degrees=0.0, translation=(-0.8, 0, 0)))
        points0 = np.random.default_rng(0).uniform([40, 10], [150, 110], (60, 2))
        return truth, points0, points0 - [20, 0]  # 100 · 0.8 / 4

    def test_a_wrong_match_along_the_line_is_wrong(self, make, sideways):
        truth, points0, points1 = sideways
        found = depth_errors(make.matches(points0, points1 + np.array([2.5, 0])), truth, WALL, WALL)
        assert found.tolist() == pytest.approx([2.5] * 60, abs=1e-4)
        none = make.matches(np.zeros((0, 2)), np.zeros((0, 2)))
        assert depth_errors(none, truth, WALL, WALL).shape == (0,)

    def test_the_depth_of_either_photo_is_enough(self, make, sideways):
        """A wrong depth on one side (the background, at an edge), or none, is made good by the other."""
        truth, points0, points1 = sideways
        matches = make.matches(points0, points1)
        for depths in ((WALL, WALL * 3), (WALL * 3, WALL), (WALL, WALL * torch.nan), (WALL * torch.nan, WALL)):
            assert (depth_errors(matches, truth, *depths) < 0.01).all()
        assert (depth_errors(matches, truth, WALL * 3, WALL * 3) > 3).all()

    def test_without_depth_the_lines_decide(self, make, sideways):
        truth, points0, points1 = sideways
        found = depth_errors(
            make.matches(points0, points1 + np.array([30, 4])), truth, WALL * torch.nan, WALL * torch.nan
        )
        assert found.tolist() == pytest.approx([4] * 60, abs=1e-4)


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
    found = score_errors(torch.full((4,), 0.9), torch.full((4,), 0.5), torch.tensor([True, False, True, False]))
    assert (found.matches, found.correct) == (4, 0.5)
    assert (found.before, found.after) == (pytest.approx(0.4), pytest.approx(0.0))
    assert np.isnan(score_errors(torch.zeros(0), torch.zeros(0), torch.zeros(0, dtype=torch.bool)).before)


class TestLeavingOut:
    def test_nothing_of_a_scene_is_in_what_it_is_measured_with(self):
        pairs = drawn_of("a", "b", "c")
        found = measured(pairs)
        others = [pair for pair in pairs if "b" not in pair.places]
        of_b = [pair for pair in pairs if pair.places == ("b", "b")]
        scores, correct, _ = pooled(of_b)
        assert found.scenes["b"] == score_errors(scores, fit_calibration(others)(scores), correct)
        assert found.scenes[TOGETHER].after < 0.5 * found.scenes[TOGETHER].before
        assert [errors.matches for errors in found.scenes.values()] == [900, 900, 900, 2700]
        # Three overlapping pairs and two unrelated ones of each scene, by the verdict of the other two.
        assert found.overlaps.tolist() == [True, True, True, False, False] * 3
        assert found.probabilities[5:8].tolist() == [fit_verdict(others)(pair.matches) for pair in of_b]
        assert (found.probabilities > 0.5).tolist() == found.overlaps.tolist()
        assert (found.pairs, found.verdict) == (9, fit_verdict(pairs))

    def test_two_scenes_leave_nothing_to_tell_pairs_apart_with(self):
        found = measured(drawn_of("a", "b"))
        assert list(found.scenes) == ["a", "b", TOGETHER]
        assert len(found.probabilities) == len(found.overlaps) == 0


class TestWeights:
    @pytest.fixture
    def own(self, tmp_path):
        """A small network for SIFT."""
        path = tmp_path / "own.safetensors"
        shape = LightGlueShape(input_dim=128, descriptor_dim=32, num_heads=2, n_layers=2, kinds=("sift-opencv",))
        LightGlue(shape=shape).save(path)
        return str(path)

    @pytest.fixture
    def extractor(self):
        pytest.importorskip("cv2", exc_type=ImportError)
        return SIFT(SIFTConfig(resize=None, max_keypoints=64))

    def test_weights_that_are_none_or_for_other_features(self, own, extractor, monkeypatch):
        with pytest.raises(ConfigError, match=r"'absent' is no weight file, and no released model; those are .*aliked"):
            calibrate("absent", [], extractor)
        monkeypatch.setattr(SIFT, "kind", "dots")
        with pytest.raises(ConfigError, match="is for features of the kind sift-opencv, not dots"):
            calibrate(own, [], extractor)

    @pytest.mark.slow
    def test_pairs_are_drawn_by_the_seed_and_matched_variously(self, own, extractor, tmp_path, monkeypatch):
        for name in ("a", "b"):
            rendered_scene.write_scene(tmp_path / "scenes" / name, count=4)
        scenes, seen = read_scenes(tmp_path / "scenes"), []

        def noted(pair, features, matcher, keypoints):
            seen.append((pair.paths, matcher.config.depth_confidence, keypoints))

        known = measured(drawn_of("a", "b"))
        monkeypatch.setattr(module, "judged", noted)
        monkeypatch.setattr(module, "measured", lambda pairs: known)
        runs = []
        for seed in (0, 0, 1):
            assert calibrate(own, scenes, extractor, keypoints=64, pairs_per_scene=6, seed=seed) is known
            runs.append(list(seen))
            seen.clear()
        assert runs[0] == runs[1] != runs[2]
        assert {keypoints for _, _, keypoints in runs[0]} <= {8, 32, 64}
        assert len({depth for _, depth, _ in runs[0]}) == 2  # adaptively and at full depth

    def test_a_verdict_is_stored_and_nothing_else_changes(self, own, tmp_path):
        before = LightGlue.from_checkpoint(own)
        store_verdict(own, VERDICTS["disk"], tmp_path / "out.safetensors")
        after = LightGlue.from_checkpoint(tmp_path / "out.safetensors")
        assert (before.verdict, after.verdict) == (None, VERDICTS["disk"])
        assert after.config == before.config
        assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())


@pytest.mark.data
@pytest.mark.weights
@pytest.mark.slow
def test_on_a_real_scene_calibrated_scores_are_closer_to_the_truth(shared_data):
    """Pairs of a scene of the evaluation sets, which the table was not fitted to."""
    from photoglue import create_extractor
    from photoglue.datasets.layouts import load_dataset

    dataset = load_dataset(shared_data / "eval/imb_reichstag", max_pairs=4)
    pairs = [
        PhotoPair(paths=(dataset.folder / p.name0, dataset.folder / p.name1), places=("x", "x"), truth=p.truth)
        for p in dataset.pairs
    ]
    features = extract_photos(pairs, create_extractor("aliked", max_keypoints=1024, resize=800))
    matcher = LightGlue.pretrained("aliked")
    scores, correct, _ = pooled([judged(pair, features, matcher, 1024) for pair in pairs])
    found = score_errors(scores, VERDICTS["aliked"].calibration(scores), correct)
    assert found.after < found.before
