"""Scenes of maps: what the model knows becomes labels, and models and photos that do not fit are refused by name."""

import json
import shutil
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from rendered_map import write_map
from rendered_scene import CAMERA, SIZE, exact_depth, poses
from tiny_model import write_tiny_model

from photoglue.datasets.depth import has_depth
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning
from photoglue.geometry.pose import relative_pose
from photoglue.structs import Features
from photoglue.training.ground_truth import UNMATCHED, label
from photoglue.training.pairs.base import PosedPair
from photoglue.training.pairs.map_scenes import find_models, read_maps


def points_of(pose, world):
    in_camera = world @ pose[:3, :3].T + pose[:3, 3]
    return (in_camera @ CAMERA.T)[:, :2] / in_camera[:, 2:]


def features(points):
    n = len(points)
    return Features.from_arrays(points.astype(np.float32), np.eye(n, max(n, 8), dtype=np.float32), SIZE)


@pytest.mark.parametrize("exif", [{}, {0: 6}, {0: 8, 1: 6, 2: 6}])
def test_cameras_poses_and_depths_are_those_of_the_upright_photo(tmp_path, exif):
    (scene,) = read_maps([write_map(tmp_path / "wall", exif=exif)])
    assert (scene.name, [frame.name for frame in scene.frames]) == ("wall", [f"{i}.png" for i in range(4)])
    for frame, pose in zip(scene.frames, poses(4), strict=True):
        assert frame.camera.image_size == SIZE
        np.testing.assert_allclose(frame.camera.matrix.numpy(), CAMERA, atol=1e-9)
        np.testing.assert_allclose(frame.cam_from_world.numpy(), pose, atol=1e-9)
        true, _ = exact_depth(pose, frame.depth.points.numpy())
        np.testing.assert_allclose(frame.depth.depths.numpy(), true, rtol=1e-6)
        assert frame.depth.lens is None


def test_overlap_is_the_smaller_share_of_common_points(tmp_path):
    (scene,) = read_maps([write_map(tmp_path / "wall")])
    assert scene.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    near, far = scene.overlaps[0], scene.overlaps[2]
    assert 0 < far < near < 1


def test_labels_of_true_matches_are_right_and_points_of_other_photos_have_none(tmp_path):
    (scene,) = read_maps([write_map(tmp_path / "wall", points=1500)])
    known = poses(4)
    source = np.random.default_rng(9)
    grid = np.stack(np.meshgrid(np.arange(12, 230, 9), np.arange(12, 170, 9)), axis=-1).reshape(-1, 2)
    _, world = exact_depth(known[0], grid + source.uniform(-0.4, 0.4, grid.shape))
    points0, points1 = points_of(known[0], world), points_of(known[1], world)
    seen = exact_depth(known[1], points1)[0] / (world @ known[1][2, :3] + known[1][2, 3])
    hidden = seen < 0.99  # by the box
    frame0, frame1 = scene.frames[:2]
    order = source.permutation(len(world))
    depths = [
        frame.depth.at(torch.from_numpy(points).float()) for frame, points in ((frame0, points0), (frame1, points1))
    ]
    pair = PosedPair(
        features0=features(points0),
        features1=features(points1[order]),
        depths0=depths[0],
        depths1=depths[1][order],
        camera0=frame0.camera,
        camera1=frame1.camera,
        cam1_from_cam0=relative_pose(frame0.cam_from_world, frame1.cam_from_world),
    )
    found = label(pair).matches0.numpy()
    matched = found >= 0
    assert matched.sum() > 0.4 * len(world)
    assert (order[found[matched]] == np.flatnonzero(matched)).all()
    assert not (matched & hidden).any()
    outside = ((points1 < -8) | (points1 > np.array(SIZE) + 7)).any(axis=1)  # their neighbours are in no photo either
    assert set(found[outside & has_depth(depths[0]).numpy()]) <= {UNMATCHED, -2}


def test_photos_of_another_size_are_the_same_scene(tmp_path):
    (small,) = read_maps([write_map(tmp_path / "wall")])
    for path in (tmp_path / "wall" / "images").iterdir():
        with PIL.Image.open(path) as picture:
            picture.resize((3 * SIZE[0] // 2, 3 * SIZE[1] // 2)).save(path)
    (large,) = read_maps([tmp_path / "wall"])
    (again,) = read_maps([tmp_path / "wall"], longest_side=SIZE[0])
    for frame0, frame1, frame2 in zip(small.frames, large.frames, again.frames, strict=True):
        assert frame1.camera.image_size == (360, 270)
        moved = (frame0.depth.points + 0.5) * 1.5 - 0.5
        torch.testing.assert_close(frame1.depth.points, moved)
        assert frame1.camera.fx == pytest.approx(300)
        assert (frame2.camera.image_size, frame2.camera.cx) == (SIZE, pytest.approx(frame0.camera.cx))
    assert small.fingerprint != large.fingerprint


def test_missing_and_reshaped_photos_are_named(tmp_path):
    folder = write_map(tmp_path / "wall")
    (folder / "images" / "1.png").unlink()
    PIL.Image.new("L", (100, 100)).save(folder / "images" / "2.png")
    with pytest.raises(ImageError) as error:
        read_maps([folder])
    assert "2 of 4 photos of the model" in str(error.value)
    assert "1.png (missing), 2.png (100 × 100 stored pixels, in the model 240 × 180)" in str(error.value)
    with pytest.warns(PhotoGlueWarning, match="They are left out"):
        (scene,) = read_maps([folder], skip_missing=True)
    assert [frame.name for frame in scene.frames] == ["0.png", "3.png"]


def test_bad_cameras_are_left_out_and_named(tmp_path):
    folder = write_map(tmp_path / "wall", off={1: 4})
    with pytest.warns(PhotoGlueWarning, match=r"1 of 4 photos are left out.*1\.png \(0 of \d+ points are where they"):
        (scene,) = read_maps([folder])
    assert [frame.name for frame in scene.frames] == ["0.png", "2.png", "3.png"]


def test_a_map_of_two_places_is_two_scenes_and_one_without_common_points_is_left_out(tmp_path):
    folder = write_map(tmp_path / "site")
    write_map(folder, photos=None, model="sparse/1", count=3)
    write_map(folder, photos=None, model="sparse/2", count=2, points=8)
    with pytest.warns(PhotoGlueWarning) as warned:
        scenes = read_maps([folder])
    assert "2 of 2 photos are left out" in str(warned[0].message)
    assert "sparse/2' no two photos see 15 good points in common (at most 0, 0 of 2" in str(warned[1].message)
    assert [scene.name for scene in scenes] == ["site-0", "site-1"]
    assert [scene.name for scene in read_maps([folder / "sparse/0", folder / "sparse" / "0"])] == ["0", "0(2)"]
    with pytest.raises(ConfigError, match="no two photos see 15 good points"), pytest.warns(PhotoGlueWarning):
        read_maps([folder / "sparse" / "2"])


def test_where_the_photos_are(tmp_path):
    folder = write_map(tmp_path / "map", photos=None)
    with pytest.raises(ConfigError, match=r"There is no folder images/.*\. Name their folder with --photos"):
        read_maps([folder])
    photos = write_map(tmp_path / "other") / "images"
    assert read_maps([folder], photos=photos)[0].frames[0].image_path == photos / "0.png"
    (folder / "run.json").write_text(json.dumps({"format": "photoglue-map", "photos": str(photos)}))
    assert read_maps([folder])[0].frames[0].image_path == photos / "0.png"
    shutil.rmtree(photos)
    with pytest.raises(ConfigError, match=r"They were in .*other/images"):
        read_maps([folder])


def test_where_the_models_are(tmp_path):
    folder = write_map(tmp_path / "map", photos=None)
    assert find_models(folder) == find_models(folder / "sparse") == find_models(folder / "sparse/0")
    (tmp_path / "empty").mkdir()
    for name, what in (("empty", "holds no model"), ("none", "does not exist")):
        with pytest.raises(ConfigError, match=what):
            find_models(tmp_path / name)


def test_names_that_lead_elsewhere_and_impossible_lenses(tmp_path):
    tiny = write_tiny_model(tmp_path, names=("../a.jpg", "b.jpg"))
    with pytest.raises(ConfigError, match="would lie outside"):
        read_maps([tiny.model], photos=tiny.photos)
    with pytest.raises(ConfigError, match="longest_side is 1"):
        read_maps([tiny.model], longest_side=1)


def test_what_the_labels_depend_on_is_in_the_fingerprint(tmp_path):
    (scene,) = read_maps([write_map(tmp_path / "wall")])
    frame = scene.frames[0]
    changed = replace(frame, depth=replace(frame.depth, depths=frame.depth.depths * 1.001))
    assert replace(scene, frames=(changed, *scene.frames[1:])).fingerprint != scene.fingerprint
