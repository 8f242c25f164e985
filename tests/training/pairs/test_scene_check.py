"""The check finds poses, cameras and depths that contradict the photos, and leaves right ones alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rendered_scene import poses, write_scene

from photoglue.datasets.depth import read_depth, sample_depth
from photoglue.datasets.scenes import read_scene, read_scenes
from photoglue.extractors.sift import SIFT, SIFTConfig
from photoglue.geometry.pose import relative_pose
from photoglue.training.pairs.base import PosedPair
from photoglue.training.pairs.scene_check import SceneCheck, check_pairs, spread_over_overlaps

pytest.importorskip("cv2", exc_type=ImportError)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return read_scene(write_scene(tmp_path_factory.mktemp("scenes") / "wall"))


@pytest.fixture(scope="module")
def sift():
    return SIFT(SIFTConfig(resize=None, max_keypoints=400))


def check_scene(scene, sift, pairs):
    """Match some pairs of a scene, all of whose photos and depths are read, and compare with depth and pose."""
    chosen = scene.pairs[spread_over_overlaps(scene.overlaps, pairs)]
    points = {}
    for index in sorted(set(chosen.flatten().tolist())):
        features = sift.extract(scene.frames[index].image_path)
        points[index] = features, sample_depth(read_depth(scene.frames[index]), features.keypoints)
    examples = [
        PosedPair(
            features0=points[i][0],
            features1=points[j][0],
            depths0=points[i][1],
            depths1=points[j][1],
            camera0=scene.frames[i].camera,
            camera1=scene.frames[j].camera,
            cam1_from_cam0=relative_pose(scene.frames[i].cam_from_world, scene.frames[j].cam_from_world),
            cam0_from_world=scene.frames[i].cam_from_world,
        )
        for i, j in chosen.tolist()
    ]
    return check_pairs(scene.name, examples)


def test_a_scene_without_any_right_match_is_told_of_without_a_median():
    told = SceneCheck(name="wall", pairs=8, matches=41, median_px=math.nan, share=0.0).describe()
    assert "of 41 matches in 8 pairs, 0% are within 3 px of where they should be. Are they inverted" in told


def test_distortion_is_taken_off_first(scene, sift):
    features = [sift.extract(frame.image_path) for frame in scene.frames[:2]]
    frames = scene.frames[:2]
    pair = PosedPair(
        features0=replace(features[0], keypoints=features[0].keypoints * 0.8),
        features1=replace(features[1], keypoints=features[1].keypoints * 0.9),
        depths0=sample_depth(read_depth(frames[0]), features[0].keypoints),
        depths1=sample_depth(read_depth(frames[1]), features[1].keypoints),
        camera0=frames[0].camera,
        camera1=frames[1].camera,
        cam1_from_cam0=relative_pose(*(frame.cam_from_world for frame in frames)),
        straight0=features[0].keypoints,
        straight1=features[1].keypoints,
    )
    assert not check_pairs("wall", [pair]).contradicts
    assert check_pairs("wall", [replace(pair, straight0=None)]).contradicts


def test_a_right_scene_agrees(scene, sift):
    check = check_scene(scene, sift, pairs=4)
    assert (check.name, check.pairs) == ("wall", 4)
    assert check.matches > 100
    assert check.median_px < 0.5
    assert check.share > 0.8
    assert not check.contradicts
    assert check.describe().startswith(f"Scene 'wall': {check.matches} matches in 4 pairs, ")


CONVENTIONS = {"inverted": "inverted (camera-to-world)", "opengl": "OpenGL axes"}


@pytest.mark.parametrize("what", ["inverted", "opengl", "transposed", "depth", "intrinsics"])
def test_a_wrong_scene_is_named(scene, sift, what):
    frames = []
    for frame, pose in zip(scene.frames, poses(4), strict=True):
        if what == "inverted":
            changed = replace(frame, cam_from_world=torch.from_numpy(np.linalg.inv(pose)))
        elif what == "opengl":
            changed = replace(frame, cam_from_world=torch.from_numpy(np.diag([1.0, -1.0, -1.0, 1.0]) @ pose))
        elif what == "transposed":
            pose[:3, :3] = pose[:3, :3].T
            changed = replace(frame, cam_from_world=torch.from_numpy(pose))
        elif what == "depth":
            changed = replace(frame, depth=replace(frame.depth, scale=frame.depth.scale * 2))
        else:
            changed = replace(frame, camera=replace(frame.camera, fx=frame.camera.fx / 3, fy=frame.camera.fy / 3))
        frames.append(changed)
    check = check_scene(replace(scene, frames=tuple(frames)), sift, pairs=4)
    assert check.contradicts
    assert "'wall': its poses or depths contradict its photos" in check.describe()
    if what == "transposed":  # rotations about one axis: hardly another thing than inverted
        return
    assert check.convention == CONVENTIONS.get(what)
    assert CONVENTIONS.get(what, "Are they inverted") in check.describe()


def test_too_little_to_tell_is_no_contradiction():
    check = check_pairs("empty", [])
    assert (check.pairs, check.matches) == (0, 0)
    assert np.isnan(check.median_px)
    assert np.isnan(check.share)
    assert not check.contradicts
    assert check.describe() == "Scene 'empty': no matches with depth in 0 pairs, so its poses could not be checked."


def test_pairs_are_spread_over_medium_overlaps():
    overlaps = torch.tensor([0.9, 0.1, 0.5, 0.3, 0.85, 0.7, 0.2], dtype=torch.float64)
    assert spread_over_overlaps(overlaps, 2).tolist() == [3, 4]
    assert sorted(spread_over_overlaps(overlaps, 9).tolist()) == [2, 3, 4, 5]
    assert spread_over_overlaps(overlaps[:2], 9).tolist() == [1, 0]
    assert spread_over_overlaps(overlaps[:0], 9).tolist() == []


@pytest.mark.data
@pytest.mark.slow
def test_real_scenes_agree(shared_data, sift):
    for scene in read_scenes(shared_data / "depth_scenes", only=["cyprus", "kitchen"]):
        check = check_scene(scene, sift, pairs=2)
        assert check.matches > 20
        assert check.median_px < 1.5
        assert check.share > 0.4
