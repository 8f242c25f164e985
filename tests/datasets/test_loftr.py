import numpy as np
import pytest

from photoglue.datasets.layouts import load_dataset
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning

K = np.array([[50, 0, 20], [0, 50, 15], [0, 0, 1.0]])


def objects(*items):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


@pytest.fixture
def megadepth(tmp_path, make):
    """One scene of MegaDepth-1500 as LoFTR has it: image 1 is unused and has no file."""
    names = [f"Undistorted_SfM/0015/images/{i}.jpg" for i in range(3)]
    for name in (names[0], names[2]):
        make.image(tmp_path / name)
    index = tmp_path / "megadepth_test_1500_scene_info"
    index.mkdir()
    pair_info = np.empty(3, dtype=object)
    pair_info[:] = [np.array([2, 0]), 0.3, None]
    infos = np.empty(1, dtype=object)
    infos[0] = pair_info
    np.savez(
        index / "0015_0.1_0.3.npz",
        image_paths=objects(names[0], None, names[2]),
        depth_paths=objects("a", None, "b"),
        intrinsics=objects(K, None, K),
        poses=objects(make.pose(degrees=0), None, make.pose(degrees=20)),
        pair_infos=infos,
    )
    return tmp_path


def test_megadepth(megadepth, make):
    dataset = load_dataset(megadepth)
    (pair,) = dataset.pairs
    assert (pair.scene, pair.name0) == ("0015_0.1_0.3", "Undistorted_SfM/0015/images/2.jpg")
    expected = make.pose(degrees=0) @ np.linalg.inv(make.pose(degrees=20))
    np.testing.assert_allclose(pair.truth.cam1_from_cam0, expected)
    assert (pair.truth.camera0.cx, pair.truth.camera0.cy) == (19.5, 14.5)


def test_a_pose_that_is_none(megadepth, make):
    path = megadepth / "megadepth_test_1500_scene_info" / "0015_0.1_0.3.npz"
    with np.load(path, allow_pickle=True) as content:
        arrays = dict(content)
    arrays["poses"] = objects(make.pose(degrees=0), None, 2 * make.pose(degrees=20))
    np.savez(path, **arrays)
    with pytest.raises(ConfigError, match=r"images/2\.jpg' in .*0015_0\.1_0\.3\.npz' .*may not be scaled"):
        load_dataset(megadepth)


def test_the_list_chooses_the_scenes(megadepth):
    index = megadepth / "megadepth_test_1500_scene_info"
    (index / "0022_0.1_0.3.npz").write_bytes(b"not listed, so not read")
    (index / "megadepth_test_1500.txt").write_text("0015_0.1_0.3\n")
    assert len(load_dataset(megadepth).pairs) == 1
    (index / "megadepth_test_1500.txt").write_text("0015_0.1_0.3\n0015_0.3_0.5\n")
    with pytest.raises(ConfigError, match=r"megadepth_test_1500\.txt' names '0015_0\.3_0\.5\.npz', which is not"):
        load_dataset(megadepth)


def test_missing_image(megadepth):
    (megadepth / "Undistorted_SfM/0015/images/0.jpg").unlink()
    with pytest.raises(ImageError, match=r"no image '.*0015/images/0\.jpg', which '.*0015_0\.1_0\.3\.npz' names"):
        load_dataset(megadepth)


def test_pairs_of_a_missing_image_are_left_out_if_that_is_wanted(megadepth):
    path = megadepth / "megadepth_test_1500_scene_info" / "0015_0.1_0.3.npz"
    with np.load(path, allow_pickle=True) as content:
        arrays = dict(content)
    pairs = np.empty(2, dtype=object)
    pairs[:] = [objects(np.array([2, 0]), 0.3, None), objects(np.array([2, 1]), 0.3, None)]
    np.savez(path, **{**arrays, "pair_infos": pairs})
    with pytest.raises(ImageError, match="--skip-missing"):
        load_dataset(megadepth)
    with pytest.warns(PhotoGlueWarning, match="1 of 2 pairs"):
        dataset = load_dataset(megadepth, skip_missing=True)
    assert [pair.name1 for pair in dataset.pairs] == ["Undistorted_SfM/0015/images/0.jpg"]


def test_scannet(tmp_path, make):
    """Cameras belong to 640 × 480, poses are world_from_cam."""
    scene = tmp_path / "scene0707_00"
    poses = {15: make.pose(degrees=10), 585: make.pose(degrees=30, translation=(1, 0, 0))}
    for frame, pose in poses.items():
        make.image(scene / "color" / f"{frame}.jpg", (64, 48))
        (scene / "pose").mkdir(exist_ok=True)
        np.savetxt(scene / "pose" / f"{frame}.txt", pose)
    np.savez(tmp_path / "test.npz", name=np.array([[707, 0, 15, 585]]))
    np.savez(tmp_path / "intrinsics.npz", scene0707_00=np.array([[500, 0, 320], [0, 500, 240], [0, 0, 1.0]]))
    (pair,) = load_dataset(tmp_path).pairs
    assert (pair.scene, pair.name1) == ("scene0707_00", "scene0707_00/color/585.jpg")
    assert (pair.truth.camera0.fx, pair.truth.camera0.cx, pair.truth.camera0.cy) == (50, 32, 24)
    np.testing.assert_allclose(pair.truth.cam1_from_cam0, np.linalg.inv(poses[585]) @ poses[15])
    np.savetxt(scene / "pose" / "585.txt", np.full((4, 4), -np.inf))  # tracking was lost
    with pytest.raises(ConfigError, match=r"color/585\.jpg' in .*585\.txt' is not a 4 × 4 matrix of finite numbers"):
        load_dataset(tmp_path)


def test_other_npz_files(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ConfigError, match=r"other\.npz' is no scene file of MegaDepth"):
        load_dataset(tmp_path)


def test_no_object_is_made_of_files_that_are_not_loftrs(tmp_path):
    """Pickle would run the code in them."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "other.npz", image_paths=objects(Trap()), poses=np.zeros(3))
    with pytest.raises(ConfigError, match=r"no scene file of MegaDepth \(KeyError: .*intrinsics"):
        load_dataset(tmp_path)
    assert not (tmp_path / "sprung").exists()
