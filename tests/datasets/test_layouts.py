import shutil

import pytest

from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.truths import Apart
from photoglue.errors import ConfigError


def test_folders_of_scenes_are_one_data_set(plain, tmp_path):
    for name in ("b", "a"):
        shutil.copytree(plain, tmp_path / "all" / name)
    dataset = load_dataset(tmp_path / "all")
    assert dataset.name == "all"
    assert [pair.scene for pair in dataset.pairs] == ["a"] * 3 + ["b"] * 3
    assert dataset.pairs[0].name0 == "a/images/0.png"
    assert (dataset.folder / dataset.pairs[0].name0).is_file()


def test_nothing_found_says_what_was_looked_for(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(ConfigError, match=r"no data set\. Looked for.*H_1_2.*corrs\.txt.*cameras\.json.*pairs_with_gt"):
        load_dataset(tmp_path)
    with pytest.raises(ConfigError, match=r"no data set for homography\. Looked for, .*: 1\.jpg .* \(EVD\)\.$"):
        load_dataset(tmp_path, "homography")
    with pytest.raises(ConfigError, match="There is no folder"):
        load_dataset(tmp_path / "absent")


def test_several_kinds_need_a_choice(plain, textured, tmp_path):
    with pytest.raises(ConfigError, match=r"several kinds: homography, relative_pose.*--benchmark"):
        load_dataset(tmp_path)
    assert len(load_dataset(tmp_path, "homography").pairs) == 4
    assert len(load_dataset(tmp_path, "relative_pose").pairs) == 3


def test_max_pairs_are_taken_evenly(textured):
    dataset = load_dataset(textured, max_pairs=2)
    assert [pair.scene for pair in dataset.pairs] == ["v_0", "v_1"]
    assert dataset.image_set.startswith("2 of 4 pairs")
    assert len(load_dataset(textured, max_pairs=9).pairs) == 4
    with pytest.raises(ConfigError, match="max_pairs is 0"):
        load_dataset(textured, max_pairs=0)


def test_no_pairs(plain):
    (plain / "pairs.txt").write_text("# none\n")
    with pytest.raises(ConfigError, match="has no pairs"):
        load_dataset(plain)


class TestOverlap:
    def test_pairs_are_of_different_scenes(self, plain, textured, tmp_path):
        dataset = load_dataset(tmp_path, "overlap")
        assert dataset.benchmark == "overlap"
        scenes = {"plain/images": "plain", "planes/v_0": "planes/v_0", "planes/v_1": "planes/v_1"}
        for pair in dataset.pairs:
            places = [scenes[name.rpartition("/")[0]] for name in (pair.name0, pair.name1)]
            assert places[0] != places[1]
            assert pair.scene == " | ".join(places)
            assert pair.truth == Apart()
        assert len(dataset.pairs) == 9  # three images in each of three pairs of scenes

    def test_depth_maps_are_no_photos(self, make, tmp_path):
        """Nor a scene of their own, which would be matched with its photos."""
        for name in ("a/images/0.png", "a/depths/0.png", "b/color/0.png", "b/depth/0.png"):
            make.image(tmp_path / name)
        (pair,) = load_dataset(tmp_path, "overlap").pairs
        assert (pair.name0, pair.name1) == ("a/images/0.png", "b/color/0.png")

    def test_one_scene_is_too_few(self, plain):
        with pytest.raises(ConfigError, match="has 1 folders with images"):
            load_dataset(plain, "overlap")
