"""The cache of posed scenes: what is in it, and what happens when something is not as it should be."""

import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from rendered_scene import exact_depth, poses, write_scene

from photoglue.datasets.scenes import read_scene
from photoglue.errors import ConfigError, PhotoGlueWarning
from photoglue.extractors.sift import SIFT, SIFTConfig
from photoglue.store.cache import FeatureCache
from photoglue.training.pairs.posed_cache import PosedCacheConfig, build_posed_cache, check_posed_cache
from photoglue.training.pairs.posed_pairs import PosedPairs

pytest.importorskip("cv2", exc_type=ImportError)
h5py = pytest.importorskip("h5py", exc_type=ImportError)

CONFIG = PosedCacheConfig(max_keypoints=200, min_keypoints=20)
HOLE = (100, 60, 160, 120)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return read_scene(write_scene(tmp_path_factory.mktemp("scenes") / "wall", hole=HOLE))


@pytest.fixture(scope="module")
def sift():
    return SIFT(SIFTConfig(resize=None, nms_radius=3))


def _content(path):
    cache = FeatureCache.open(path)
    columns = {name: cache.per_image(name) for name in ("scene", "frame", "variant", "count", "size")}
    points = [cache.features(image) for image in range(len(cache))]
    depths = [cache.per_point("depth", image) for image in range(len(cache))]
    cache.close()
    return columns, points, depths


def _same(path0, path1):
    (columns0, points0, depths0), (columns1, points1, depths1) = _content(path0), _content(path1)
    assert {name: column.tolist() for name, column in columns0.items()} == {
        name: column.tolist() for name, column in columns1.items()
    }
    for features0, features1, depth0, depth1 in zip(points0, points1, depths0, depths1, strict=True):
        assert torch.equal(features0.keypoints, features1.keypoints)
        assert torch.equal(features0.descriptors, features1.descriptors)
        assert np.array_equal(depth0, depth1, equal_nan=True)


@pytest.mark.slow
def test_the_cache_holds_the_best_points_and_their_true_depth(tmp_path, scene, sift):
    summary = build_posed_cache([scene], sift, tmp_path / "c.h5", CONFIG)
    columns, points, depths = _content(tmp_path / "c.h5")
    assert columns["frame"].tolist() == [0, 1, 2, 3]
    assert (summary.photos, summary.images, summary.points, summary.skipped) == (4, 4, 800, ())
    for number, (features, depth) in enumerate(zip(points, depths, strict=True)):
        found = sift.extract(scene.frames[number].image_path)
        best = torch.argsort(found.scores, descending=True, stable=True)[:200]
        assert torch.equal(features.keypoints, found.keypoints[best])
        exact, _ = exact_depth(poses(4)[number], features.keypoints.numpy())
        off = np.abs(depth - exact)
        # Beside the box's edge the depth of a point between pixels is anything between the two.
        assert (off < 0.01).mean() > 0.6
        x, y = features.keypoints.round().long().T.numpy()
        in_hole = (x >= HOLE[0]) & (x < HOLE[2]) & (y >= HOLE[1]) & (y < HOLE[3])
        assert in_hole.sum() > 0
        assert np.array_equal(np.isnan(depth), in_hole)


@pytest.mark.slow
def test_interrupted_and_resumed_is_the_same_as_not_interrupted(tmp_path, scene, sift, monkeypatch):
    monkeypatch.setattr("photoglue.training.pairs.caches.PHOTOS_PER_COMMIT", 1)
    build_posed_cache([scene], sift, tmp_path / "whole.h5", CONFIG)
    told = []

    def stop(done, count):
        told.append((done, count))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_posed_cache([scene], sift, tmp_path / "parts.h5", CONFIG, progress=stop)
    assert not (tmp_path / "parts.h5").exists()
    build_posed_cache([scene], sift, tmp_path / "parts.h5", CONFIG, progress=lambda *done: told.append(done))
    assert told == [(0, 4), (1, 4), (2, 4), (2, 4), (3, 4), (4, 4)]
    _same(tmp_path / "whole.h5", tmp_path / "parts.h5")


@pytest.mark.slow
def test_workers_make_the_same(tmp_path, scene, sift):
    config = replace(CONFIG, variants=2)
    build_posed_cache([scene], sift, tmp_path / "one.h5", config)
    build_posed_cache([scene], sift, tmp_path / "two.h5", config, workers=1)
    _same(tmp_path / "one.h5", tmp_path / "two.h5")


@pytest.mark.slow
def test_variants_have_other_light_but_the_same_geometry(tmp_path, scene, sift):
    build_posed_cache([scene], sift, tmp_path / "c.h5", replace(CONFIG, variants=3))
    columns, points, depths = _content(tmp_path / "c.h5")
    assert columns["frame"].tolist() == sorted([0, 1, 2, 3] * 3)
    assert columns["variant"].tolist() == [0, 1, 2] * 4
    for left, right in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(points[left].descriptors[:20], points[right].descriptors[:20])
    for image in (1, 2):
        exact, _ = exact_depth(poses(4)[0], points[image].keypoints.numpy())
        assert (np.abs(depths[image] - exact) < 0.01).mean() > 0.6


@pytest.mark.slow
def test_other_options_photos_or_poses_are_refused(tmp_path, scene, sift):
    build_posed_cache([scene], sift, tmp_path / "c.h5", CONFIG)
    with pytest.raises(ConfigError, match="variants: 1 there, 2 now"):
        build_posed_cache([scene], sift, tmp_path / "c.h5", replace(CONFIG, variants=2))
    with pytest.raises(ConfigError, match=r"features\.nms_radius: 3 there, 0 now"):
        build_posed_cache([scene], SIFT(SIFTConfig(resize=None, nms_radius=0)), tmp_path / "c.h5", CONFIG)
    moved = replace(scene.frames[0], cam_from_world=scene.frames[1].cam_from_world)
    with pytest.raises(ConfigError, match=r"scenes\.wall: "):
        build_posed_cache([replace(scene, frames=(moved, *scene.frames[1:]))], sift, tmp_path / "c.h5", CONFIG)
    rescaled = tuple(replace(frame, depth=replace(frame.depth, scale=2000.0)) for frame in scene.frames)
    with pytest.raises(ConfigError, match=r"options \(scenes\.wall: '\w+' there, '\w+' now\)\. Give another"):
        build_posed_cache([replace(scene, frames=rescaled)], sift, tmp_path / "c.h5", CONFIG)
    with pytest.raises(ConfigError, match="Scenes need different names; these are wall, wall"):
        build_posed_cache([scene, scene], sift, tmp_path / "d.h5", CONFIG)
    with pytest.raises(ConfigError, match="these are none"):
        build_posed_cache([], sift, tmp_path / "d.h5", CONFIG)


@pytest.mark.slow
def test_a_photo_with_another_content_is_noticed(tmp_path, sift):
    scene = read_scene(write_scene(tmp_path / "wall"))
    build_posed_cache([scene], sift, tmp_path / "c.h5", CONFIG)
    path = scene.frames[1].image_path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # as long as before
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"options \(photos: '\w+' there, '\w+' now\)"):
        build_posed_cache([scene], sift, tmp_path / "c.h5", CONFIG)


@pytest.mark.slow
def test_a_file_of_an_earlier_version_is_not_taken_for_one_of_other_scenes(tmp_path, scene, sift):
    """Their fingerprints did not tell depths apart."""
    path = tmp_path / "c.h5"
    build_posed_cache([scene], sift, path, CONFIG)
    with h5py.File(path, "a") as file:
        options = json.loads(file.attrs["options"])
        del options["scenes_known_by"]
        file.attrs["options"] = json.dumps({**options, "scenes": {"wall": "00ff"}})
    with pytest.raises(ConfigError, match=r"scenes_known_by: 'absent' there, 'names, cameras, .*Give another path, or"):
        build_posed_cache([scene], sift, path, CONFIG)
    with pytest.raises(ConfigError, match=r"or by an earlier version of PhotoGlue: scene 'wall'\. Build the cache"):
        PosedPairs([scene], FeatureCache.open(path))


def test_photos_that_cannot_be_used_are_left_out_and_listed(tmp_path, sift):
    scene = read_scene(write_scene(tmp_path / "wall", count=5))
    damaged, flat, blind, unfit = (scene.frames[number] for number in (0, 1, 2, 3))
    damaged.image_path.write_bytes(damaged.image_path.read_bytes()[:3000])
    PIL.Image.fromarray(np.full((180, 240), 90, np.uint8)).save(flat.image_path)
    PIL.Image.fromarray(np.zeros((180, 240), np.uint16)).save(blind.depth.path)
    PIL.Image.fromarray(np.zeros((90, 120), np.uint16)).save(unfit.depth.path)
    summary = build_posed_cache([scene], sift, tmp_path / "c.h5", CONFIG)
    assert summary.photos == 1
    reasons = {photo.name: photo.reason for photo in summary.skipped}
    assert list(reasons) == ["wall/0", "wall/1", "wall/2", "wall/3"]
    for name, reason in (
        ("wall/0", "unreadable: .*damaged"),
        ("wall/1", "too few points: 0"),
        ("wall/2", "no depth at any of its points"),
        ("wall/3", r"unreadable: .*\(90, 120\)"),
    ):
        with pytest.raises(ValueError, match=reason):
            raise ValueError(reasons[name])


@pytest.mark.slow
def test_scenes_whose_poses_contradict_the_photos_are_named(tmp_path, scene, sift):
    build_posed_cache([scene], sift, tmp_path / "right.h5", CONFIG)
    pairs = PosedPairs([scene], FeatureCache.open(tmp_path / "right.h5"), overlap=(0.1, 1.0))
    (check,) = check_posed_cache(pairs)
    assert check.share > 0.8
    inverted = [np.linalg.inv(pose) for pose in poses(4)]
    wrong = read_scene(write_scene(tmp_path / "wrong", claimed=inverted))
    build_posed_cache([wrong], sift, tmp_path / "wrong.h5", CONFIG)
    pairs = PosedPairs([wrong], FeatureCache.open(tmp_path / "wrong.h5"), overlap=(0.1, 1.0))
    with pytest.warns(PhotoGlueWarning, match="Scene 'wrong': its poses or depths contradict its photos"):
        check_posed_cache(pairs)


def test_impossible_options_are_refused():
    for options, message in (
        ({"variants": 0}, "variants is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"min_keypoints": 300, "max_keypoints": 200}, "min_keypoints is 300 and max_keypoints 200"),
    ):
        with pytest.raises(ConfigError, match=message):
            PosedCacheConfig(**options)


@pytest.mark.slow
def test_extractors_with_numbers_without_axes(tmp_path, scene):
    """A batch norm counts its batches in one, and ALIKED has some; they are weights like all others."""
    for count, path in ((1, "a.h5"), (2, "b.h5")):
        sift = SIFT(SIFTConfig(resize=None, nms_radius=3))
        sift.register_buffer("num_batches_tracked", torch.tensor(count))
        if count == 1:
            build_posed_cache([scene], sift, tmp_path / path, CONFIG)
    with pytest.raises(ConfigError, match=r"features\.weights: "):
        build_posed_cache([scene], sift, tmp_path / "a.h5", CONFIG)
