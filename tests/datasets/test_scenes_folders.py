"""Scenes of several folders and layouts: which are read."""

import shutil

import pytest
from tiny_training import write_flat_scene, write_megadepth

from photoglue.datasets.scenes import read_folders
from photoglue.errors import ConfigError


def names(scenes):
    return [scene.name for scene in scenes]


@pytest.fixture
def folders(tmp_path):
    """Two plain scenes, one of them without depths; two of MegaDepth, one of them damaged; a scene itself."""
    write_flat_scene(tmp_path / "plain" / "good")
    shutil.rmtree(write_flat_scene(tmp_path / "plain" / "nodepth") / "depths")
    mega = write_megadepth(tmp_path / "mega", "0015", "0022")
    (mega / "scene_info" / "0022.npz").write_bytes(b"damaged")
    return [tmp_path / "plain", mega, write_flat_scene(tmp_path / "alone.v2")]


def test_scenes_that_are_not_wanted_may_be_incomplete(folders):
    assert names(read_folders(folders, only=["good", "0015"])) == ["good", "0015"]
    assert names(read_folders(folders, only=["0015"], also=["alone.v2"])) == ["0015", "alone.v2"]
    assert names(read_folders(folders[2:], also=["alone.v2"])) == ["alone.v2"]


def test_scenes_that_are_wanted_must_be_complete(folders):
    with pytest.raises(ConfigError, match=r"nodepth' (has no|lacks 3 of 3) depths"):
        read_folders(folders)
    with pytest.raises(ConfigError, match=r"nodepth' (has no|lacks 3 of 3) depths"):
        read_folders(folders, only=["good"], also=["nodepth"])
    with pytest.raises(ConfigError, match=r"0022\.npz' (cannot be read|is no scene file)"):
        read_folders(folders, only=["0022"])


@pytest.mark.parametrize("asked", [{"only": ["good", "x"]}, {"also": ["x"]}, {"only": ["good"], "also": ["x"]}])
def test_unknown_names_are_refused_with_all_that_there_are(folders, asked):
    with pytest.raises(ConfigError, match=r"no scene 'x'\. There are: good, nodepth, 0015, 0022, alone\.v2\."):
        read_folders(folders, **asked)


def test_megadepth_without_scenes(tmp_path):
    with pytest.raises(ConfigError, match=r"scene_info' holds no scenes: files of MegaDepth, NAME\.npz"):
        read_folders([write_megadepth(tmp_path)])
