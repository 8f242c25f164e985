"""Pairs of posed scenes: which, how many of each scene, the same for the same numbers, and right in their geometry."""

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from rendered_map import write_map
from rendered_scene import exact_depth, poses, write_scene

from photoglue.datasets.depth import has_depth
from photoglue.datasets.scenes import read_scenes
from photoglue.errors import ConfigError
from photoglue.extractors.sift import SIFT, SIFTConfig
from photoglue.store.cache import FeatureCache
from photoglue.training.ground_truth import label
from photoglue.training.pairs.map_scenes import read_maps
from photoglue.training.pairs.posed_cache import PosedCacheConfig, build_posed_cache
from photoglue.training.pairs.posed_pairs import PosedPairs, _shares

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)

EVERY = (0.1, 1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Scenes of 6 and of 2 photos, 15 pairs and 1 pair, and their cache with two variants."""
    folder = tmp_path_factory.mktemp("scenes")
    for name, count in (("long", 6), ("short", 2)):
        write_scene(folder / name, count=count)
    scenes = read_scenes(folder)
    config = PosedCacheConfig(variants=2, max_keypoints=150, min_keypoints=10)
    path = folder / "cache.h5"
    build_posed_cache(scenes, SIFT(SIFTConfig(resize=None, nms_radius=3)), path, config)
    return scenes, path


def _source(made, **options):
    scenes, path = made
    return PosedPairs(scenes, FeatureCache.open(path), **{"overlap": EVERY, **options})


def _frames(pair):
    """Numbers of the photos, by their cameras' relative pose, as the scenes have no two alike."""
    for i, pose0 in enumerate(poses(6)):
        for j, pose1 in enumerate(poses(6)):
            if np.allclose(pair.cam1_from_cam0.numpy(), pose1 @ np.linalg.inv(pose0), atol=1e-12):
                return i, j
    raise AssertionError


def _equal(pair0, pair1):
    return (
        torch.equal(pair0.features0.keypoints, pair1.features0.keypoints)
        and torch.equal(pair0.features1.descriptors, pair1.features1.descriptors)
        and torch.equal(pair0.cam1_from_cam0, pair1.cam1_from_cam0)
    )


class Bent:
    """A lens that moves points, and sees nothing at the left."""

    def __call__(self, points):
        return torch.where(points[:, :1] < 40, torch.nan, points + 2)


def test_a_map_has_depth_where_the_lens_lets_its_points_be_seen(tmp_path):
    (scene,) = read_maps([write_map(tmp_path / "wall", count=2, points=1000)])
    frames = tuple(replace(frame, depth=replace(frame.depth, lens=Bent())) for frame in scene.frames)
    scene = replace(scene, frames=frames)
    config = PosedCacheConfig(max_keypoints=150, min_keypoints=10)
    build_posed_cache([scene], SIFT(SIFTConfig(resize=None, nms_radius=3)), tmp_path / "c.h5", config)
    pair = PosedPairs([scene], FeatureCache.open(tmp_path / "c.h5"), overlap=EVERY).pair(0, 0)
    for features, points, depths in (
        (pair.features0, pair.points0, pair.depths0),
        (pair.features1, pair.points1, pair.depths1),
    ):
        assert features.keypoints[:, 0].min() >= 40
        assert torch.equal(points, features.keypoints + 2)
        assert has_depth(depths).sum() > 10
    frame = next(frame for frame in frames if torch.equal(frame.cam_from_world, pair.cam0_from_world))
    torch.testing.assert_close(pair.depths0, frame.depth.at(pair.points0), equal_nan=True)


@pytest.mark.slow
def test_a_pair_has_the_geometry_of_its_photos(made):
    source = _source(made)
    for index in range(len(source)):
        pair = source.pair(0, index)
        i, j = _frames(pair)
        for number, features, depths in ((i, pair.features0, pair.depths0), (j, pair.features1, pair.depths1)):
            exact, _ = exact_depth(poses(6)[number], features.keypoints.numpy())
            assert (np.abs(depths.numpy() - exact) < 0.01).mean() > 0.7
        assert pair.camera0 == pair.camera1
        if abs(i - j) == 1:
            labels = label(pair)
            assert (labels.matches0 >= 0).float().mean() > 0.15
            assert (labels.matches0 == -1).any()


@pytest.mark.slow
def test_the_same_numbers_give_the_same_pairs_and_others_give_others(made):
    source, again = _source(made), pickle.loads(pickle.dumps(_source(made)))
    pairs = [source.pair(0, index) for index in range(len(source))]
    backwards = [again.pair(0, index) for index in reversed(range(len(source)))][::-1]
    assert all(_equal(pair, other) for pair, other in zip(pairs, backwards, strict=True))
    for other in (source.pair(1, 0), _source(made, seed=1).pair(0, 0)):
        assert not _equal(pairs[0], other)


def test_an_epoch_has_each_pair_at_most_once_and_epochs_differ(made):
    source = _source(made, pairs_per_scene=8)
    seen = []
    for epoch in range(3):
        frames = [_frames(source.pair(epoch, index)) for index in range(len(source))]
        assert max(Counter(tuple(sorted(pair)) for pair in frames).values()) <= 2  # (0, 1) is in both scenes
        seen.append(frames)
    assert seen[0] != seen[1] != seen[2]
    flat = [pair for frames in seen for pair in frames]
    assert any(i < j for i, j in flat)
    assert any(i > j for i, j in flat)


def test_a_large_scene_does_not_dominate(made):
    assert _source(made).pairs_of_scenes == {"long": 15, "short": 1}
    source = _source(made, pairs_per_scene=3)
    assert (source.pairs_of_scenes, len(source)) == ({"long": 3, "short": 1}, 4)


def test_overlaps_are_in_the_range_and_spread_over_its_bins(made):
    """Photos i and j overlap by 0.8 - 0.15 (|i - j| - 1)."""
    source = _source(made, overlap=(0.3, 0.65), bins=2)
    assert source.pairs_of_scenes == {"long": 9, "short": 0}
    steps = Counter(abs(i - j) for i, j in (_frames(source.pair(0, index)) for index in range(len(source))))
    assert steps == {2: 4, 3: 3, 4: 2}  # 0.65 is in the range; 0.8 and 0.2 are not
    source = _source(made, overlap=(0.1, 0.9), bins=2, pairs_per_scene=6)
    for epoch in range(3):
        steps = Counter(abs(i - j) for i, j in (_frames(source.pair(epoch, i)) for i in range(len(source))))
        far = sum(count for step, count in steps.items() if step >= 3)  # the lower bin: up to 0.5
        assert (far, len(source)) in {(3, 7), (3, 6)}


def test_shares_are_even_as_far_as_there_are_any():
    assert _shares([100, 100, 100], 30) == [10, 10, 10]
    assert _shares([2, 100, 100], 30) == [2, 14, 14]
    assert _shares([2, 3, 0], 30) == [2, 3, 0]
    assert _shares([9, 9, 9], 4) == [2, 1, 1]
    assert _shares([], 5) == []


@pytest.mark.parametrize("selection", ["best", "random"])
def test_fewer_keypoints_keep_their_own_depth(made, selection):
    source, every = _source(made, max_keypoints=40, selection=selection), _source(made)
    pair, whole = source.pair(0, 0), every.pair(0, 0)
    assert len(pair.features0) == len(pair.depths0) == len(pair.features1) == 40
    place = {tuple(point): row for row, point in enumerate(whole.features0.keypoints.tolist())}
    rows = [place[tuple(point)] for point in pair.features0.keypoints.tolist()]
    assert (rows == list(range(40))) == (selection == "best")
    assert len(set(rows)) == 40
    assert torch.equal(pair.depths0, whole.depths0[rows])
    assert torch.equal(pair.features0.descriptors, whole.features0.descriptors[rows])
    other = source.pair(0, 0)
    assert _equal(pair, other)


def test_examples_are_photos_as_they_are_with_all_points(made):
    examples = _source(made, overlap=(0.5, 0.7), max_keypoints=10).examples("long", 3)
    assert len(examples) == 3
    assert {abs(i - j) for i, j in map(_frames, examples)} == {1, 2, 4}
    assert len(examples[0].features0) > 10


def test_other_scenes_than_those_of_the_cache_are_refused(made, tmp_path):
    scenes, path = made
    write_scene(tmp_path / "long", count=6, claimed=poses(7)[1:])
    write_scene(tmp_path / "new", count=2)
    cache = FeatureCache.open(path)
    long, new = read_scenes(tmp_path)
    with pytest.raises(ConfigError, match=r"was made with other photos, depths, cameras or poses, or .*: scene 'long'"):
        PosedPairs([long], cache)
    with pytest.raises(ConfigError, match="was made without it: scene 'new'"):
        PosedPairs([new], cache)
    with pytest.raises(ConfigError, match=r"No pair of photos of long, short in .* above 0.01 and up to 0.05"):
        PosedPairs(scenes, cache, overlap=(0.01, 0.05))
    assert len(PosedPairs(scenes[:1], cache, overlap=EVERY)) == 15


def test_options_that_do_not_fit_are_refused(made):
    for options, message in (
        ({"overlap": (0.7, 0.1)}, r"overlap is \(0.7, 0.1\)"),
        ({"bins": 0}, "bins is 0"),
        ({"pairs_per_scene": 0}, "pairs_per_scene is 0"),
        ({"max_keypoints": 0}, "max_keypoints is 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            _source(made, **options)


@pytest.mark.slow
def test_photos_without_points_are_not_in_any_pair(tmp_path):
    folder = write_scene(tmp_path / "wall", count=4)
    (folder / "images" / "1.png").write_bytes((folder / "images" / "1.png").read_bytes()[:2000])
    scenes = read_scenes(tmp_path)
    build_posed_cache(scenes, SIFT(SIFTConfig(resize=None)), tmp_path / "c.h5", PosedCacheConfig(min_keypoints=10))
    source = PosedPairs(scenes, FeatureCache.open(tmp_path / "c.h5"), overlap=EVERY)
    pairs = sorted(tuple(sorted(_frames(source.pair(0, index)))) for index in range(len(source)))
    assert pairs == [(0, 2), (0, 3), (2, 3)]


def test_a_scene_whose_depth_is_nowhere_known_is_named(tmp_path):
    import PIL.Image

    folder = write_scene(tmp_path / "blind", count=2)
    for path in (folder / "depths").iterdir():
        with PIL.Image.open(path) as depth:
            nothing = np.zeros_like(np.asarray(depth))
        PIL.Image.fromarray(nothing).save(path)
    scenes = read_scenes(tmp_path)
    summary = build_posed_cache(scenes, SIFT(SIFTConfig(resize=None)), tmp_path / "cache.h5")
    assert [photo.reason for photo in summary.skipped] == ["no depth at any of its points"] * 2
    with pytest.raises(ConfigError, match=r"has no photo of blind: each of them was left out.*Photos need depth"):
        PosedPairs(scenes, FeatureCache.open(tmp_path / "cache.h5"))
