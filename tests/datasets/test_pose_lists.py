"""Each layout is written by the test, with the poses of three cameras; every loader must give those poses."""

import json

import numpy as np
import pytest

from photoglue.datasets.layouts import load_dataset
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning


def poses_of(plain):
    cameras = json.loads((plain / "cameras.json").read_text())
    return [np.array(cameras[f"{i}.png"]["T_w2c"]) for i in range(3)]


def numbers(*arrays):
    return " ".join(repr(float(x)) for array in arrays for x in np.ravel(array))


K = np.array([[50, 0, 19.5], [0, 50, 14.5], [0, 0, 1]])


class TestCamerasJson:
    def test_all_pairs(self, plain):
        dataset = load_dataset(plain)
        assert (dataset.name, dataset.benchmark) == ("plain", "relative_pose")
        assert [(p.name0, p.name1) for p in dataset.pairs] == [
            ("images/0.png", "images/1.png"),
            ("images/0.png", "images/2.png"),
            ("images/1.png", "images/2.png"),
        ]
        poses = poses_of(plain)
        np.testing.assert_allclose(dataset.pairs[1].truth.cam1_from_cam0, poses[2] @ np.linalg.inv(poses[0]))
        camera = dataset.pairs[0].truth.camera0
        assert (camera.fx, camera.cx, camera.cy, camera.image_size) == (50, 19.5, 14.5, (40, 30))
        assert dataset.sizes["images/0.png"] == (40, 30)

    def test_pairs_txt_and_all_pairs(self, plain):
        (plain / "pairs.txt").write_text("# image0 image1 overlap\n2.png 0.png 0.5\n")
        pairs = load_dataset(plain).pairs
        assert [(pair.name0, pair.name1) for pair in pairs] == [("images/2.png", "images/0.png")]
        assert len(load_dataset(plain, all_pairs=True).pairs) == 3

    def test_frames_without_endings(self, plain):
        """As the depth scenes have it: under "frames", names without .png."""
        cameras = json.loads((plain / "cameras.json").read_text())
        frames = {name.removesuffix(".png"): camera for name, camera in cameras.items()}
        (plain / "cameras.json").write_text(json.dumps({"depth_scale": 1000, "frames": frames}))
        assert load_dataset(plain).pairs[0].name1 == "images/1.png"

    def test_unknown_image_in_pairs(self, plain):
        (plain / "pairs.txt").write_text("0.png 7.png\n")
        with pytest.raises(ConfigError, match=r"pairs\.txt' names '7\.png', and .*cameras\.json' has no camera of it"):
            load_dataset(plain)

    def test_missing_image(self, plain):
        (plain / "images" / "1.png").unlink()
        with pytest.raises(ImageError, match=r"no image '.*images/1\.png', which '.*cameras\.json' names"):
            load_dataset(plain)


class TestPairsJson:
    def row(self, plain, **changes):
        pose = poses_of(plain)[1]
        row = {"image0": "0.png", "image1": "1.png", "K0": K.tolist(), "K1": K.tolist(), "T_0to1": pose.tolist()}
        (plain / "pairs.json").write_text(json.dumps([{**row, **changes}]))
        return pose

    def test_good(self, plain):
        pose = self.row(plain)
        (pair,) = load_dataset(plain).pairs
        assert (pair.scene, pair.name0, pair.name1) == ("plain", "images/0.png", "images/1.png")
        np.testing.assert_allclose(pair.truth.cam1_from_cam0, pose)

    @pytest.mark.parametrize(
        ("changes", "error", "said"),
        [
            ({"image1": "7.png"}, ImageError, r"no image '.*7\.png', which '.*pairs\.json' names"),
            ({"K1": [[50, 0, 99], [0, 50, 14], [0, 0, 1]]}, ConfigError, "outside its image of 40 × 30"),
            ({"image1": "/1.png"}, ConfigError, r"pairs\.json' names '/1\.png'; names must be relative"),
            ({"T_0to1": np.diag([2.0, 1, 1, 1]).tolist()}, ConfigError, "may not be scaled or mirrored"),
            ({"T_0to1": None}, ConfigError, "not a 4 × 4 matrix"),
            ({"T_0to1": [[1], [2, 3]]}, ConfigError, "'images/0.png' and 'images/1.png' in .* not a 4 × 4 matrix"),
        ],
    )
    def test_bad(self, plain, changes, error, said):
        self.row(plain, **changes)
        with pytest.raises(error, match=said):
            load_dataset(plain)

    def test_incomplete(self, plain):
        (plain / "pairs.json").write_text('[{"image0": "0.png"}]')
        with pytest.raises(ConfigError, match=r"Pair 1 of .* not complete"):
            load_dataset(plain)
        (plain / "pairs.json").write_text("3")
        with pytest.raises(ConfigError, match=r"pairs\.json' has a int where a list of pairs was wanted"):
            load_dataset(plain)


class TestSuperGlue:
    def write(self, plain, line):
        (plain / "cameras.json").unlink()
        (plain / "test_pairs_with_gt.txt").write_text(line + "\n")

    def test_without_turns(self, plain):
        pose = poses_of(plain)[1]
        self.write(plain, f"0.png 1.png 0 0 {numbers(K, K, pose)}")
        dataset = load_dataset(plain)
        np.testing.assert_allclose(dataset.pairs[0].truth.cam1_from_cam0, pose)
        assert dataset.turns == {}

    def test_turned_images_get_turned_cameras_poses_and_sizes(self, plain):
        """The same point in space must be seen at the turned pixel."""
        pose = poses_of(plain)[1]
        self.write(plain, f"0.png 1.png 1 0 {numbers(K, K, pose)}")
        dataset = load_dataset(plain)
        assert dataset.turns == {"images/0.png": 1}
        assert dataset.sizes == {"images/0.png": (30, 40), "images/1.png": (40, 30)}
        truth = dataset.pairs[0].truth
        point = np.array([0.1, 0.05, 1.0])  # in camera 0 as stored
        x, y = (K @ point)[:2]
        expected = np.array([y, 40 - 1 - x])  # numpy.rot90
        direction = np.linalg.inv(truth.camera0.matrix.numpy()) @ np.append(expected, 1)
        there = truth.cam1_from_cam0[:3, :3] @ direction + truth.cam1_from_cam0[:3, 3]
        np.testing.assert_allclose(there, pose[:3, :3] @ point + pose[:3, 3], atol=1e-12)

    @pytest.mark.parametrize(
        ("line", "error", "said"),
        [
            ("0.png 1.png 0 0 1 2 3", ConfigError, "Line 1 of .* has 7 columns; 38 were wanted: name0 name1 turn0"),
            ("0.png 9.png 0 0 " + "1 " * 34, ImageError, r"no image '.*9\.png'"),
            ("0.png 1.png 0 0 " + "x " * 34, ConfigError, "Line 1 of .*could not convert"),
        ],
    )
    def test_bad(self, plain, line, error, said):
        self.write(plain, line)
        with pytest.raises(error, match=said):
            load_dataset(plain)


class TestGlueFactory:
    def test_half_a_pixel_comes_off(self, plain):
        """MegaDepth's cameras are COLMAP's."""
        pose = poses_of(plain)[1]
        (plain / "cameras.json").unlink()
        line = f"0.png 1.png {numbers(K, K, pose[:3, :3], pose[:3, 3])}\n"
        (plain / "pairs_calibrated.txt").write_text(line)
        (pair,) = load_dataset(plain).pairs
        np.testing.assert_allclose(pair.truth.cam1_from_cam0, pose)
        assert (pair.truth.camera0.cx, pair.truth.camera0.cy) == (19.0, 14.0)

    def test_scenes_are_folders(self, plain, make):
        pose = poses_of(plain)[1]
        (plain / "cameras.json").unlink()
        lines = []
        for scene in ("0015", "0022"):
            names = [f"{scene}/images/{i}.jpg" for i in (0, 1)]
            for name in names:
                make.image(plain / "images" / name)
            lines.append(f"{' '.join(names)} {numbers(K, K, pose[:3, :3], pose[:3, 3])}\n")
        (plain / "pairs_calibrated.txt").write_text("".join(lines))
        assert [pair.scene for pair in load_dataset(plain).pairs] == ["0015", "0022"]

    def test_wrong_columns(self, plain):
        (plain / "cameras.json").unlink()
        (plain / "pairs_calibrated.txt").write_text("0.png 1.png 1 2\n")
        with pytest.raises(ConfigError, match="has 4 columns; 32 were wanted"):
            load_dataset(plain)


@pytest.mark.data
def test_the_same_pairs_in_two_layouts(shared_data, tmp_path):
    """scannet15 comes with SuperGlue's list and as pairs.json."""
    source = shared_data / "eval/scannet15"
    (tmp_path / "images").symlink_to(source / "images")
    listed = (source / "scannet_sample_pairs_with_gt.txt").read_text()
    (tmp_path / "scannet_sample_pairs_with_gt.txt").write_text(listed)
    ours, theirs = load_dataset(source).pairs, load_dataset(tmp_path).pairs
    assert len(ours) == 15
    for one, other in zip(ours, theirs, strict=True):
        assert (one.name0, one.name1, one.truth.camera0) == (other.name0, other.name1, other.truth.camera0)
        np.testing.assert_array_equal(one.truth.cam1_from_cam0, other.truth.cam1_from_cam0)


def write_list(plain, layout):
    """The three pairs of ``plain`` in another layout, instead of cameras.json."""
    if layout == "cameras.json":
        return
    poses = poses_of(plain)
    (plain / "cameras.json").unlink()
    rows = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        pose = poses[j] @ np.linalg.inv(poses[i])
        names = f"{i}.png {j}.png"
        if layout == "pairs.json":
            cameras = {"K0": K.tolist(), "K1": K.tolist(), "T_0to1": pose.tolist()}
            rows.append({"image0": f"{i}.png", "image1": f"{j}.png", **cameras})
        elif layout == "pairs_calibrated.txt":
            rows.append(f"{names} {numbers(K, K, pose[:3, :3], pose[:3, 3])}")
        else:
            rows.append(f"{names} {i % 2} {j % 2} {numbers(K, K, pose)}")
    (plain / layout).write_text(json.dumps(rows) if layout == "pairs.json" else "\n".join(rows))


@pytest.mark.parametrize("layout", ["cameras.json", "pairs.json", "pairs_calibrated.txt", "test_pairs_with_gt.txt"])
def test_pairs_of_a_missing_image_are_left_out_if_that_is_wanted(plain, layout):
    write_list(plain, layout)
    whole = load_dataset(plain, skip_missing=True)
    assert (len(whole.pairs), whole.image_set.count("left out")) == (3, 0)
    (plain / "images" / "1.png").unlink()
    with pytest.raises(ImageError, match=r"no image '.*images/1\.png', which .* --skip-missing"):
        load_dataset(plain)
    with pytest.warns(PhotoGlueWarning, match=r"2 of 3 pairs of '.*plain' are left out, because .*images/1\.png'"):
        dataset = load_dataset(plain, skip_missing=True)
    assert [(pair.name0, pair.name1) for pair in dataset.pairs] == [("images/0.png", "images/2.png")]
    assert dataset.image_set.startswith("1 pairs of ")
    assert dataset.image_set.endswith(", 2 left out for missing images")
    (plain / "images" / "2.png").unlink()
    with pytest.raises(ConfigError, match=r"3 of 3 pairs of '.*plain' are left out"):
        load_dataset(plain, skip_missing=True)
