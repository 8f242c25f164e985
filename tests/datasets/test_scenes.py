"""Scenes on disk: what is read, and what is said of those that are not as they should be."""

import json

import numpy as np
import PIL.Image
import pytest
import tiny_training
import torch
from rendered_scene import CAMERA, SIZE, poses, write_scene

from photoglue.datasets.scenes import find_scenes, read_megadepth_scene, read_scene, read_scenes
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning


def _change(folder, **changes):
    """Another cameras.json: values by "frame.key" or "key"; None removes."""
    described = json.loads((folder / "cameras.json").read_text())
    for path, value in changes.items():
        frame, _, key = path.rpartition("__")
        place = described["frames"][frame.removeprefix("f")] if frame else described
        if value is None:
            del place[key]
        else:
            place[key] = value
    (folder / "cameras.json").write_text(json.dumps(described))


def test_a_scene_is_read_as_it_was_written(tmp_path):
    scene = read_scene(write_scene(tmp_path / "wall"))
    assert (scene.name, len(scene), [frame.name for frame in scene.frames]) == ("wall", 4, ["0", "1", "2", "3"])
    frame = scene.frames[2]
    assert np.array_equal(frame.camera.matrix.numpy(), CAMERA)
    assert frame.camera.image_size == SIZE
    assert np.array_equal(frame.cam_from_world.numpy(), poses(4)[2])
    assert frame.image_path.name == frame.depth.path.name == "2.png"
    assert scene.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert scene.overlaps.tolist() == pytest.approx([0.8, 0.65, 0.5, 0.8, 0.65, 0.8])


def test_pairs_may_be_in_any_order_and_twice(tmp_path):
    folder = write_scene(tmp_path / "wall")
    (folder / "pairs.txt").write_text("3 1 0.4  # comment\n\n0 2 0.3\n1 3 0.5\n")
    scene = read_scene(folder)
    assert scene.pairs.tolist() == [[1, 3], [0, 2]]
    assert scene.overlaps.tolist() == [0.4, 0.3]


def test_a_folder_of_scenes(tmp_path):
    for name in ("b", "a"):
        write_scene(tmp_path / name, count=2)
    assert [scene.name for scene in read_scenes(tmp_path)] == ["a", "b"]
    assert [scene.name for scene in read_scenes(tmp_path, only=["b"])] == ["b"]
    assert [scene.name for scene in read_scenes(tmp_path / "b")] == ["b"]
    assert find_scenes(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert find_scenes(tmp_path / "b") == [tmp_path / "b"]
    with pytest.raises(ConfigError, match=r"There is no scene 'c'\. There are: a, b\."):
        read_scenes(tmp_path, only=["c"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"holds no scenes: a folder with SCENE/cameras.json was wanted"):
        read_scenes(tmp_path / "empty")
    with pytest.raises(ConfigError, match="does not exist"):
        read_scenes(tmp_path / "nowhere")


def test_missing_files_are_named(tmp_path):
    folder = write_scene(tmp_path / "wall")
    (folder / "images" / "3.png").unlink()
    with pytest.raises(ImageError, match=r"no image '.*wall/images/3', which '.*wall/cameras\.json' names"):
        read_scene(folder)
    folder = write_scene(tmp_path / "flat")
    for path in (folder / "depths").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"flat' lacks 4 of 4 depths, such as '.*0\.png'\. Add them"):
        read_scene(folder)
    (folder / "cameras.json").unlink()
    with pytest.raises(ConfigError, match=r"flat/cameras\.json' cannot be read: .*No such file"):
        read_scene(folder)


def test_photos_that_are_missing_or_have_no_depth_are_left_out_if_that_is_wanted(tmp_path):
    folder = write_scene(tmp_path / "wall", count=5)
    whole = read_scene(folder, skip_missing=True)
    (folder / "images" / "1.png").unlink()
    (folder / "depths" / "3.png").unlink()
    with pytest.raises(ImageError, match="--skip-missing"):
        read_scene(folder)
    with pytest.warns(PhotoGlueWarning, match=r"'wall': 2 of 5 photos are left out.*images/1'.* of \d+ pairs"):
        (scene,) = read_scenes(tmp_path, skip_missing=True)
    assert [frame.name for frame in scene.frames] == ["0", "2", "4"]

    def named(scene):
        return {
            (scene.frames[i].name, scene.frames[j].name): overlap
            for (i, j), overlap in zip(scene.pairs.tolist(), scene.overlaps.tolist(), strict=True)
        }

    assert named(scene) == {pair: overlap for pair, overlap in named(whole).items() if not {"1", "3"} & set(pair)}
    assert len(scene.pairs) > 0
    for number in "02":
        (folder / "depths" / f"{number}.png").unlink()
    with pytest.warns(PhotoGlueWarning), pytest.raises(ConfigError, match="no pair of photos with depth"):
        read_scene(folder, skip_missing=True)


def test_photos_of_megadepth_that_are_missing_are_left_out_if_that_is_wanted(tmp_path):
    root = tiny_training.write_megadepth(tmp_path, "0022")
    assert len(read_scenes(root, skip_missing=True)[0]) == 2
    (root / "images" / "0022" / "1.png").unlink()
    with pytest.raises(ImageError, match="--skip-missing"):
        read_scenes(root)
    with pytest.warns(PhotoGlueWarning, match="1 of 2 photos"), pytest.raises(ConfigError, match="no pair of photos"):
        read_scenes(root, skip_missing=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"depth_scale": 0}, "depth_scale 0; a positive number"), ({"frames": {}}, "names no photos")],
)
def test_a_file_of_cameras_that_is_none_of_a_scene(tmp_path, changes, message):
    folder = write_scene(tmp_path / "wall", count=3)
    _change(folder, **changes)
    with pytest.raises(ConfigError, match=message):
        read_scene(folder)


def test_unreadable_parts_are_named(tmp_path):
    folder = write_scene(tmp_path / "wall", count=2)
    (folder / "pairs.txt").write_text("0 1\n")
    with pytest.raises(ConfigError, match=r"Line 1 of .*pairs\.txt' is '0 1'; two different photos of the scene"):
        read_scene(folder)
    (folder / "pairs.txt").write_text("1 1 1.0\n")
    with pytest.raises(ConfigError, match=r"'1 1 1\.0'; two different photos"):
        read_scene(folder)
    (folder / "pairs.txt").write_text("0 7 0.5\n")
    with pytest.raises(ConfigError, match="Line 1"):
        read_scene(folder)
    (folder / "pairs.txt").write_text("#\n")
    with pytest.raises(ConfigError, match="has no pairs"):
        read_scene(folder)
    (folder / "pairs.txt").unlink()
    with pytest.raises(ConfigError, match=r"pairs\.txt' cannot be read"):
        read_scene(folder)
    (folder / "images" / "0.png").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"images/0\.png' is not an image that can be read"):
        read_scene(folder)
    (folder / "cameras.json").write_text("{")
    with pytest.raises(ConfigError, match=r"cameras\.json' cannot be read"):
        read_scene(folder)


def test_the_fingerprint_changes_with_poses_and_cameras(tmp_path):
    folder = write_scene(tmp_path / "wall", count=2)
    before = read_scene(folder).fingerprint
    assert read_scene(folder).fingerprint == before
    moved = poses(2)[1]
    moved[0, 3] += 1e-6
    _change(folder, f1__T_w2c=moved.tolist())
    after = read_scene(folder).fingerprint
    assert after != before
    _change(folder, f1__K=(CAMERA + np.diag([1.0, 0, 0])).tolist())
    assert read_scene(folder).fingerprint != after


def test_the_fingerprint_changes_with_the_depths_and_the_files(tmp_path):
    folder = write_scene(tmp_path / "wall", count=2)
    seen = [read_scene(folder).fingerprint]
    _change(folder, depth_scale=2000)
    seen.append(read_scene(folder).fingerprint)
    for part in ("images", "depths"):
        path = folder / part / "1.png"
        path.write_bytes(path.read_bytes() + b"\0")
        seen.append(read_scene(folder).fingerprint)
    assert len(set(seen)) == 4
    assert read_scene(folder).fingerprint == seen[-1]


def _megadepth(root, **changes):
    """scene_info/0015.npz of five photos: the third is unknown, the fourth has no depth, the fifth has it where the
    published archive puts it."""
    h5py = pytest.importorskip("h5py", exc_type=ImportError)
    images = [f"Undistorted_SfM/0015/images/{i}.jpg" for i in range(5)]
    depths = [f"phoenix/S6/0015/depths/{i}.h5" for i in range(5)]
    for i, path in enumerate(images):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.zeros((20 + i, 30), np.uint8)).save(root / path)
    for i, path in ((0, depths[0]), (1, depths[1]), (4, "depth_undistorted/0015/4.h5")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(root / path, "w") as file:
            file["depth"] = np.ones((20 + i, 30), np.float32)
    images[2] = depths[2] = depths[3] = None
    overlap = np.zeros((5, 5))
    overlap[0, 1], overlap[1, 0], overlap[0, 4], overlap[4, 1], overlap[1, 4] = 0.5, 0.3, 0.6, 0.4, 0.9
    overlap[0, 2] = overlap[2, 0] = 0.7
    arrays = {
        "image_paths": np.array(images, dtype=object),
        "depth_paths": np.array(depths, dtype=object),
        "intrinsics": np.array([[[25.0, 0, 15.0], [0, 25.0, 10.0], [0, 0, 1]]] * 5),
        "poses": np.array([np.eye(4)] * 5),
        "overlap_matrix": overlap,
        **changes,
    }
    (root / "scene_info").mkdir()
    path = root / "scene_info" / "0015.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_megadepth_as_it_is_published(tmp_path):
    scene = read_megadepth_scene(_megadepth(tmp_path), tmp_path)
    assert (scene.name, [frame.name for frame in scene.frames]) == ("0015", ["0.jpg", "1.jpg", "4.jpg"])
    # COLMAP's principal point of 15 lies on the left edge of the pixel with index 15.
    assert (scene.frames[0].camera.cx, scene.frames[0].camera.cy) == (14.5, 9.5)
    assert [frame.camera.image_size for frame in scene.frames] == [(30, 20), (30, 21), (30, 24)]
    assert scene.frames[2].depth.path == tmp_path / "depth_undistorted/0015/4.h5"
    assert scene.frames[0].depth.scale == 1.0
    # The smaller direction counts; photos 0 and 4 overlap in one direction only.
    assert scene.pairs.tolist() == [[0, 1], [1, 2]]
    assert scene.overlaps.tolist() == [0.3, 0.4]


def test_megadepth_that_is_not_complete_is_named(tmp_path):
    path = _megadepth(tmp_path, poses=None)
    with pytest.raises(ConfigError, match=r"0015\.npz' is no scene file of MegaDepth .*poses"):
        read_megadepth_scene(path, tmp_path)
    path.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"0015\.npz' is no scene file of MegaDepth"):
        read_megadepth_scene(path, tmp_path)
    other = tmp_path / "other"
    path = _megadepth(other)
    (other / "Undistorted_SfM/0015/images/1.jpg").unlink()
    with pytest.raises(ImageError, match=r"no image '.*Undistorted_SfM/0015/images/1\.jpg', which '.*0015\.npz' names"):
        read_megadepth_scene(path, other)
    third = tmp_path / "third"
    path = _megadepth(third, depth_paths=np.array([None] * 5, dtype=object))
    with pytest.raises(ConfigError, match="has no photo with depth"):
        read_megadepth_scene(path, third)


@pytest.mark.slow
@pytest.mark.data
def test_the_real_scenes(shared_data):
    scenes = read_scenes(shared_data / "depth_scenes")
    assert (len(scenes), sum(len(scene) for scene in scenes)) == (17, 629)
    assert sum(len(scene.pairs) for scene in scenes) == 9479
    assert all(bool((scene.overlaps >= 0.1).all()) for scene in scenes)
    assert all(torch.unique(scene.pairs, dim=0).shape == scene.pairs.shape for scene in scenes)
