"""`photoglue train posed`: which scenes are read, and which are kept out to validate with."""

import io
import json
import shutil

import numpy as np
import PIL.Image
import pytest
import torch
from rich.console import Console

from photoglue.cli.train.posed import TrainPosed, read_folders
from photoglue.errors import ConfigError


def write_scene(folder, *, size=(30, 20), focal=100.0, step=2):
    """Three photos of a wall with a random texture at depth 1; the camera moves by some pixels each time."""
    width, height = size
    wall = np.random.default_rng(3).integers(0, 255, (height, width + 2 * step), dtype=np.uint8)
    for part in ("images", "depths"):
        (folder / part).mkdir(parents=True)
    frames = {}
    for i in range(3):
        PIL.Image.fromarray(wall[:, i * step : i * step + width]).save(folder / "images" / f"{i}.png")
        PIL.Image.fromarray(np.full((height, width), 1000, np.uint16)).save(folder / "depths" / f"{i}.png")
        pose = np.eye(4)
        pose[0, 3] = -i * step / focal
        matrix = [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
        frames[str(i)] = {"K": matrix, "T_w2c": pose.tolist(), "width": width, "height": height}
    (folder / "cameras.json").write_text(json.dumps({"depth_scale": 1000, "frames": frames}))
    (folder / "pairs.txt").write_text("0 1 0.6\n1 2 0.6\n0 2 0.4\n")
    return folder


def write_megadepth(root, *names):
    """Two photos in each scene, with files of depth that nobody reads."""
    (root / "scene_info").mkdir(parents=True)
    for name in names:
        images = [f"images/{name}/{i}.png" for i in range(2)]
        for path in images:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("L", (30, 20)).save(root / path)
        arrays = {
            "image_paths": np.array(images, dtype=object),
            "depth_paths": np.array(images, dtype=object),
            "intrinsics": np.array([[[25.0, 0, 15.0], [0, 25.0, 10.0], [0, 0, 1]]] * 2),
            "poses": np.array([np.eye(4)] * 2),
            "overlap_matrix": np.full((2, 2), 0.5),
        }
        np.savez(root / "scene_info" / f"{name}.npz", **arrays)
    return root


def names(scenes):
    return [scene.name for scene in scenes]


class TestReadFolders:
    @pytest.fixture
    def folders(self, tmp_path):
        """Two plain scenes, one of them without depths; two of MegaDepth, one of them damaged; a scene itself."""
        write_scene(tmp_path / "plain" / "good")
        shutil.rmtree(write_scene(tmp_path / "plain" / "nodepth") / "depths")
        mega = write_megadepth(tmp_path / "mega", "0015", "0022")
        (mega / "scene_info" / "0022.npz").write_bytes(b"damaged")
        return [tmp_path / "plain", mega, write_scene(tmp_path / "alone.v2")]

    def test_scenes_that_are_not_wanted_may_be_incomplete(self, folders):
        assert names(read_folders(folders, only=["good", "0015"])) == ["good", "0015"]
        assert names(read_folders(folders, only=["0015"], also=["alone.v2"])) == ["0015", "alone.v2"]
        assert names(read_folders(folders[2:], also=["alone.v2"])) == ["alone.v2"]

    def test_scenes_that_are_wanted_must_be_complete(self, folders):
        with pytest.raises(ConfigError, match="nodepth' has no depths at all"):
            read_folders(folders)
        with pytest.raises(ConfigError, match="nodepth' has no depths at all"):
            read_folders(folders, only=["good"], also=["nodepth"])
        with pytest.raises(ConfigError, match=r"0022\.npz' cannot be read"):
            read_folders(folders, only=["0022"])

    @pytest.mark.parametrize("asked", [{"only": ["good", "x"]}, {"also": ["x"]}, {"only": ["good"], "also": ["x"]}])
    def test_unknown_names_are_refused_with_all_that_there_are(self, folders, asked):
        with pytest.raises(ConfigError, match=r"no scene 'x'\. There are: good, nodepth, 0015, 0022, alone\.v2\."):
            read_folders(folders, **asked)

    def test_megadepth_without_scenes(self, tmp_path):
        with pytest.raises(ConfigError, match=r"scene_info' holds no scenes: files of MegaDepth, NAME\.npz"):
            read_folders([write_megadepth(tmp_path)])


class TestKeptOut:
    @pytest.mark.parametrize(("count", "kept_out"), [(1, ""), (2, "b"), (5, "e"), (6, "f"), (7, "f"), (13, "fl")])
    def test_every_sixth_scene_or_the_last(self, tmp_path, count, kept_out):
        for name in "abcdefghijklm"[:count]:
            write_scene(tmp_path / name)
        scenes, held_out = TrainPosed(scenes=(tmp_path,))._scenes()
        assert names(held_out) == list(kept_out)
        assert names(scenes) == [name for name in "abcdefghijklm"[:count] if name not in kept_out]

    def test_those_that_are_named_also_beside_only(self, tmp_path):
        for name in "abcd":
            write_scene(tmp_path / name)
        shutil.rmtree(tmp_path / "d" / "depths")
        scenes, held_out = TrainPosed(scenes=(tmp_path,), only=("a", "b"), val_scenes=("c",))._scenes()
        assert (names(scenes), names(held_out)) == (["a", "b"], ["c"])

    def data(self, tmp_path, **options):
        """What a run learns from, and what it prints."""
        pytest.importorskip("cv2", exc_type=ImportError)
        pytest.importorskip("h5py", exc_type=ImportError)
        (tmp_path / "run").mkdir()
        told = io.StringIO()
        command = TrainPosed(
            scenes=(tmp_path / "scenes",), out=tmp_path / "run", keypoints=100, build_workers=0, **options
        )
        return command.data(Console(file=told), torch.device("cpu")), told.getvalue()

    def test_of_two_scenes_one_is_never_trained_on(self, tmp_path):
        for name, focal in (("a", 100.0), ("b", 130.0)):
            write_scene(tmp_path / "scenes" / name, size=(240, 180), focal=focal, step=6)
        data, told = self.data(tmp_path)
        assert {data.source.pair(epoch, i).camera0.fx for epoch in (0, 1) for i in range(len(data.source))} == {100.0}
        assert {pair.camera0.fx for pair in (*data.validation, *data.posed)} == {130.0}
        assert data.facts[-1] == "validated on 3 pairs of b"
        assert "only scene" not in told

    def test_a_single_scene_is_told_that_validation_says_little(self, tmp_path):
        write_scene(tmp_path / "scenes" / "[a]", size=(240, 180), step=6)
        data, told = self.data(tmp_path)
        assert len(data.validation) == 3
        assert "'[a]' is the only scene: validation is on pairs that are trained on." in told
        assert data.facts[-1] == "validated on 3 pairs of the only scene, which were trained on"
