"""`photoglue train` as a user meets it: from a folder of photos to weights, and what it says when that cannot be."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch


@pytest.fixture
def cli(capsys):
    """Run a command; gives (exit code, standard output, standard error)."""

    def run(*arguments):
        from photoglue.cli import main

        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as left:
            code = left.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


EXTRACTOR = '''
import torch
import photoglue

class Corners(photoglue.Extractor):
    """The 60 brightest pixels of a coarse grid, described by the pixels around them."""

    kind = "corners"
    descriptor_dim = 9

    def __init__(self):
        from photoglue.extractors import ExtractorConfig

        super().__init__(ExtractorConfig())

    def detect(self, images, masks=None):
        gray = images.mean(dim=1)
        found = []
        for image in gray:
            patches = image.unfold(0, 3, 1).unfold(1, 3, 1)[::5, ::5].flatten(2)
            scores = patches.std(dim=2).flatten()
            best = scores.argsort(descending=True)[:60]
            rows, columns = best // patches.shape[1], best % patches.shape[1]
            descriptors = patches[rows, columns] - patches[rows, columns].mean(dim=1, keepdim=True)
            found.append(
                photoglue.Features(
                    keypoints=torch.stack([columns, rows], dim=1).float() * 5 + 1,
                    descriptors=torch.nn.functional.normalize(descriptors + 1e-6, dim=1),
                    scores=scores[best],
                    image_size=(image.shape[1], image.shape[0]),
                    kind=self.kind,
                )
            )
        return found

class NoKind(photoglue.Extractor):
    def __init__(self):
        from photoglue.extractors import ExtractorConfig

        super().__init__(ExtractorConfig())

    def detect(self, images, masks=None):
        return []

class Needy(Corners):
    def __init__(self, size):
        super().__init__()

other = 3
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory, astronaut):
    """A folder with photos, good and bad, and a class that finds features in them."""
    pytest.importorskip("cv2", exc_type=ImportError)
    pytest.importorskip("h5py", exc_type=ImportError)
    place = tmp_path_factory.mktemp("place")
    folder = place / "photos"
    folder.mkdir()
    with PIL.Image.open(astronaut) as picture:
        for i, (left, top) in enumerate([(0, 0), (200, 0), (0, 200)]):
            picture.crop((left, top, left + 300, top + 260)).save(folder / f"{i}.png")
        picture.crop((0, 0, 100, 90)).save(folder / "tiny.png")
    # Noise has features, and none of them match.
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 260, 3), dtype=np.uint8)).save(folder / "3.png")
    whole = (folder / "1.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])  # its header can be read
    (folder / "text.jpg").write_text("no photo")
    (place / "corners.py").write_text(EXTRACTOR)
    return place


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch):
    """Each test finds the modules of the tests before it gone."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "corners", raising=False)


@pytest.fixture(scope="module")
def small(place):
    """Arguments of a run of four steps of an edge network."""
    return [
        "train", "homography", "--images", place / "photos", "--features", f"{place / 'corners.py'}:Corners",
        "--model", "edge", "--pairs", 16, "--batch-size", 4, "--views", 3, "--patch-size", 160, 120,
        "--keypoints", 40, "--warmup-steps", 2, "--precision", "float32", "--workers", 0, "--save-every", 8,
        "--validate-every", 8, "--build-workers", 0, "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """The folder of such a run, and what it printed."""
    from photoglue.cli import main

    out = tmp_path_factory.mktemp("trained") / "run"
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert main([str(word) for word in (*small, "--out", out, "--data-licence", "CC0")]) == 0
    return out, told.getvalue()


class TestFromPhotosToWeights:
    def test_features_of_ones_own(self, place, trained):
        from photoglue.cli.app import parse
        from photoglue.matchers.lightglue import LightGlue

        out, told = trained
        assert "tiny.png: 100 × 90 pixels" in told
        assert "text.jpg: unreadable" in told
        assert "broken.png: unreadable" in told
        assert "4 photos, 1 to validate with; 3 views each: corners features of 12 views, about 18 kB" in told
        assert "begins with random weights" in told
        assert "baseline: precision" in told
        assert "after 16 pairs:" in told
        assert re.search(r"16 pairs · loss \d+\.\d+, last layer .* pairs/s, \d+% waiting · 0 s left", told)
        model = LightGlue.from_checkpoint(out / "model.safetensors")
        assert (model.config.kinds, model.config.input_dim, model.config.n_layers) == (("corners",), 9, 5)
        card = (out / "model_card.md").read_text()
        assert "CC0" in card
        command = re.search(r"^Trained with `photoglue (.*?)`", card, re.MULTILINE).group(1)
        options = parse(shlex.split(command)).command
        assert (options.images, options.features) == (Path("photos"), "corners.py:Corners")
        assert (options.pairs, options.views, options.patch_size) == (16, 3, (160, 120))
        assert "--seed" not in command  # as by default
        stored = json.loads((out / "command.json").read_text())
        assert stored["options"]["images"] == str(place / "photos")

    @pytest.mark.slow
    def test_interrupted_and_resumed_is_uninterrupted(self, cli, small, trained, tmp_path, monkeypatch):
        from photoglue.cli.train.progress import TrainingLine
        from photoglue.training.checkpoint import load_checkpoint

        seen = []

        def press(self, pairs, score):
            seen.append(pairs)
            if pairs == 8:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(TrainingLine, "validation", press)
        code, told, err = cli(*small, "--out", tmp_path / "parts")
        assert (code, err) == (130, "")
        assert "Interrupted after 12 pairs; all is saved." in told
        assert f"photoglue train resume {tmp_path / 'parts'}" in told
        # From another place, with the folder under another name.
        (tmp_path / "parts").rename(tmp_path / "moved")
        monkeypatch.chdir(tmp_path)
        code, told, err = cli("train", "resume", "moved")
        assert (code, err) == (0, "")
        assert seen == [0, 8, 16]
        assert "goes on after 12 pairs" in told
        whole, resumed = (load_checkpoint(folder / "last.pt") for folder in (trained[0], tmp_path / "moved"))
        assert whole.position.pairs == resumed.position.pairs == 16
        assert all(torch.equal(tensor, resumed.model[name]) for name, tensor in whole.model.items())

    @pytest.mark.slow
    def test_resumed_from_elsewhere_after_what_it_began_with_is_gone(
        self, cli, small, place, trained, tmp_path, monkeypatch
    ):
        from photoglue.cli.train.progress import TrainingLine

        (tmp_path / "a").mkdir()
        shutil.copy(place / "corners.py", tmp_path / "a")
        shutil.copy(trained[0] / "model.safetensors", tmp_path / "a")
        monkeypatch.chdir(tmp_path / "a")
        named = ["corners.py:Corners" if "Corners" in str(word) else word for word in small[2:]]
        with monkeypatch.context() as pressed:
            pressed.setattr(TrainingLine, "validation", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            code, told, err = cli("train", "confidence", *named, "--init", "model.safetensors", "--out", "run")
        assert (code, err) == (130, "")
        (tmp_path / "a" / "model.safetensors").unlink()
        monkeypatch.chdir(place)
        code, told, err = cli("train", "resume", tmp_path / "a" / "run")
        assert (code, err) == (0, "")
        assert "began with" in told

    def test_confidence_heads_of_a_run(self, cli, small, trained, tmp_path):
        from photoglue.matchers.lightglue import LightGlue

        first, second = trained[0], tmp_path / "second"
        again = ["train", "confidence", *small[2:]]
        code, told, err = cli(*again, "--out", second, "--init", first, "--cache", first / "cache.h5")
        assert (code, err) == (0, "")
        assert f"features (corners) from {first / 'cache.h5'}" in told
        assert f"taken from {first / 'model.safetensors'}" in told
        before, after = (
            LightGlue.from_checkpoint(folder / "model.safetensors", precision=None).state_dict()
            for folder in (first, second)
        )
        changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"token_confidence"}

    @pytest.mark.slow
    @pytest.mark.weights
    def test_sift_from_aliked(self, cli, place, tmp_path):
        """The full network; scale and orientation come with the features."""
        from photoglue.matchers.lightglue import LightGlue

        out = tmp_path / "run"
        code, told, err = cli(
            "train", "homography", "--images", place / "photos", "--features", "sift", "--init", "aliked", "--pairs", 4,
            "--batch-size", 2, "--views", 2, "--keypoints", 128, "--workers", 0, "--build-workers", 0, "--out", out,
            "--patch-size", 240, 200, "--device", "cpu",
        )  # fmt: skip
        assert (code, err) == (0, "")
        assert "taken from LightGlue for aliked; with columns for scale and orientation: posenc.Wr.weight" in told
        model = LightGlue.from_checkpoint(out / "model.safetensors")
        assert model.config.add_scale_ori
        assert model.config.kinds == ("sift-opencv",)

    @pytest.mark.slow
    @pytest.mark.data
    def test_posed_scenes_mixed_with_homographies(self, cli, place, trained, tmp_path, shared_data):
        scenes = shared_data / "depth_scenes"
        features = ["--features", f"{place / 'corners.py'}:Corners", "--keypoints", "60"]
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # as for a user; the tests make errors of them
            code, told, err = cli(
                "train", "posed", "--scenes", scenes / "cyprus", scenes / "monstree", "--val-scenes", "monstree",
                *features, "--init", trained[0], "--model", "edge", "--pairs", 8, "--batch-size", 4,
                "--homographies", trained[0] / "cache.h5", "--workers", 0, "--build-workers", 0,
                "--resize", 320, "--out", tmp_path / "second", "--device", "cpu", "--precision", "float32",
            )  # fmt: skip
        assert code == 0, err
        # Matches of such features are worth nothing, and the check of the scene cannot know why.
        assert "note: Scene 'cyprus': its poses or depths contradict its photos" in err
        assert "pose auc 5" in told
        card = (tmp_path / "second" / "model_card.md").read_text()
        assert "cyprus (" in card
        assert "monstree" in card
        assert "30% of all pairs from homographies" in card

    @pytest.mark.slow
    @pytest.mark.data
    def test_a_scene_whose_poses_point_backwards_is_named(self, cli, tmp_path, shared_data):
        scenes = tmp_path / "scenes"
        for name in ("cyprus", "kitchen"):
            (scenes / name).mkdir(parents=True)
            for path in (shared_data / "depth_scenes" / name).iterdir():
                (scenes / name / path.name).symlink_to(path)
        cameras = json.loads((scenes / "kitchen" / "cameras.json").read_text())
        for frame in cameras["frames"].values():
            frame["T_w2c"] = np.linalg.inv(frame["T_w2c"]).tolist()
        (scenes / "kitchen" / "cameras.json").unlink()
        (scenes / "kitchen" / "cameras.json").write_text(json.dumps(cameras))
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            code, told, err = cli(
                "train", "posed", "--scenes", scenes, "--val-scenes", "kitchen", "--features", "sift", "--keypoints",
                512, "--model", "edge", "--pairs", 2, "--batch-size", 2, "--warmup-steps", 0, "--workers", 0,
                "--build-workers", 0, "--pairs-per-scene", 6, "--out", tmp_path / "run", "--device", "cpu",
            )  # fmt: skip
        assert code == 0, err
        assert "Scene 'kitchen': its poses or depths contradict its photos" in err
        assert "contradict" not in told
        assert "Scene 'cyprus': " in told


class TestBadInput:
    def fails(self, cli, *arguments):
        code, _, err = cli(*arguments)
        assert code == 1
        assert len(err.strip().splitlines()) == 1
        return err

    def test_no_photos(self, cli, tmp_path):
        (tmp_path / "empty").mkdir()
        err = self.fails(cli, "train", "homography", "--images", tmp_path / "empty", "--out", tmp_path / "run")
        assert "There are no photos below" in err

    def test_one_photo(self, cli, small, place, tmp_path):
        (tmp_path / "one").mkdir()
        shutil.copy(place / "photos" / "0.png", tmp_path / "one")
        err = self.fails(cli, *small, "--images", tmp_path / "one", "--out", tmp_path / "run")
        assert "has one photo that can be used" in err

    def test_no_usable_photo_to_train_on(self, cli, small, place, tmp_path):
        (tmp_path / "some").mkdir()
        shutil.copy(place / "photos" / "0.png", tmp_path / "some")  # the first one is kept out
        shutil.copy(place / "photos" / "broken.png", tmp_path / "some" / "a[b].png")
        code, told, err = cli(*small, "--images", tmp_path / "some", "--out", tmp_path / "run")
        assert code == 1
        assert "skipped: a[b].png: unreadable" in told
        assert "No photo to train on gives enough points for two views" in err

    def test_no_usable_photo_to_validate_with(self, cli, small, place, tmp_path):
        (tmp_path / "list.txt").write_text("broken.png\n")
        others = ["--val-images", place / "photos", "--val-only", tmp_path / "list.txt"]
        err = self.fails(cli, *small, *others, "--out", tmp_path / "run")
        assert "No photo to validate with gives enough points for two views" in err
        assert "--val-images" in err

    def test_no_folder(self, cli, tmp_path):
        err = self.fails(cli, "train", "homography", "--images", tmp_path / "absent", "--out", tmp_path / "run")
        assert "does not exist" in err

    def test_unknown_features(self, cli, place, tmp_path):
        words = ["train", "homography", "--images", place / "photos", "--features", "surf", "--out", tmp_path / "r"]
        err = self.fails(cli, *words)
        assert "There are no features 'surf'" in err
        assert "path/file.py:Class" in err

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("corners.py:Absent", "'Absent' is not there"),
            ("corners.py:other", "is no subclass of photoglue.Extractor"),
            ("corners.py:NoKind", "does not define kind and descriptor_dim"),
            ("corners.py:Needy", "cannot be made without arguments"),
            ("absent.py:Corners", "There is no file"),
        ],
    )
    def test_features_of_ones_own_that_do_not_work(self, cli, small, place, tmp_path, name, message):
        wrong = [f"{place / name}" if "Corners" in str(word) else word for word in small]
        assert message in self.fails(cli, *wrong, "--out", tmp_path / "run")

    def test_a_name_that_python_knows_already(self, cli, small, tmp_path):
        (tmp_path / "json.py").write_text(EXTRACTOR)
        wrong = [f"{tmp_path / 'json.py'}:Corners" if "Corners" in str(word) else word for word in small]
        assert "another module 'json'" in self.fails(cli, *wrong, "--out", tmp_path / "run")

    def test_a_module_that_is_not_installed(self, cli, place, tmp_path):
        words = ["train", "homography", "--images", place / "photos", "--features", "no.such:Class"]
        err = self.fails(cli, *words, "--out", tmp_path / "run")
        assert "'no.such', cannot be imported" in err

    def test_a_cache_made_with_other_settings(self, cli, small, trained, tmp_path):
        again = ["4" if word == 3 else word for word in small]
        err = self.fails(cli, *again, "--out", tmp_path / "other", "--cache", trained[0] / "cache.h5")
        assert "views: 3 there, 4 now" in err

    def test_a_folder_with_a_run(self, cli, small, trained):
        assert "holds a run already" in self.fails(cli, *small, "--out", trained[0])

    def test_resume_without_a_run(self, cli, tmp_path):
        assert "There is no run in" in self.fails(cli, "train", "resume", tmp_path)

    def test_resume_after_the_options_were_changed(self, cli, trained, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(trained[0], run)
        stored = json.loads((run / "command.json").read_text())
        stored["options"]["lr"] = 0.5
        (run / "command.json").write_text(json.dumps(stored))
        assert "learning_rate: 0.0002 there, 0.5 now" in self.fails(cli, "train", "resume", run)

    def test_two_lengths(self, cli, small, tmp_path):
        assert "give one of them" in self.fails(cli, *small, "--hours", "1", "--out", tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_weights_that_do_not_exist(self, cli, small, tmp_path):
        assert "There are no weights 'alikde'" in self.fails(cli, *small, "--init", "alikde", "--out", tmp_path / "run")

    def test_scales_that_the_features_do_not_have(self, cli, small, tmp_path):
        err = self.fails(cli, *small, "--scale-orientation", "yes", "--out", tmp_path / "run")
        assert "'corners' features have no scale and orientation" in err

    def test_confidence_of_a_network_for_other_features(self, cli, small, trained, tmp_path):
        """As wide as these, so that all tensors would fit."""
        from photoglue.matchers.lightglue import LightGlue

        model = LightGlue.from_checkpoint(trained[0] / "model.safetensors")
        model.config = replace(model.config, kinds=("disk",))
        model.save(tmp_path / "disk.safetensors")
        found = ["--init", tmp_path / "disk.safetensors", "--out", tmp_path / "run"]
        err = self.fails(cli, "train", "confidence", *small[2:], *found)
        assert "is for features of the kind disk; --features" in err

    def test_confidence_of_nothing(self, cli, small, tmp_path):
        err = self.fails(cli, "train", "confidence", *small[2:], "--out", tmp_path / "run")
        assert "which network" in err

    def test_no_scenes(self, cli, tmp_path):
        assert "holds no scenes" in self.fails(cli, "train", "posed", "--scenes", tmp_path, "--out", tmp_path / "run")

    @pytest.mark.data
    def test_scenes_that_do_not_exist(self, cli, tmp_path, shared_data):
        scene = shared_data / "depth_scenes" / "cyprus"
        err = self.fails(cli, "train", "posed", "--scenes", scene, "--val-scenes", "x", "--out", tmp_path / "r")
        assert "There is no scene 'x'. There are: cyprus." in err
        err = self.fails(cli, "train", "posed", "--scenes", scene, "--val-scenes", "cyprus", "--out", tmp_path / "r")
        assert "none is left to train on" in err


class TestCalibrate:
    @pytest.fixture(scope="class")
    def words(self, shared_data):
        pytest.importorskip("cv2", exc_type=ImportError)
        return [
            "train", "calibrate", "--weights", "sift-photoglue", "--scenes", shared_data / "depth_scenes",
            "--features", "sift", "--keypoints", 256, "--pairs-per-scene", 3, "--device", "cpu",
        ]  # fmt: skip

    @pytest.mark.slow
    @pytest.mark.data
    def test_weights_that_carry_what_was_measured(self, cli, words, tmp_path):
        import safetensors.torch

        from photoglue import LightGlue
        from photoglue.matchers.lightglue.pretrained import WEIGHTS
        from photoglue.weights import locate

        out = tmp_path / "own.safetensors"
        scenes = ["--only", "cyprus", "monstree", "chair"]
        code, told, err = cli(*words, *scenes, "--out", out)
        assert (code, err) == (0, "")
        assert re.search(r"^\d overlapping pairs and as many unrelated ones, sift-opencv features$", told, re.MULTILINE)
        for line in ("  chair: ", "  cyprus: ", "  monstree: ", "  together: "):
            assert re.search(rf"^{line}[\d,]+ matches, \d+% correct, 0\.\d+ → 0\.\d+$", told, re.MULTILINE), line
        assert re.search(r"likelier than not: \d+\.\d% of overlapping pairs, .* ROC AUC [01]\.\d+", told)
        assert str(out) in told
        verdict = LightGlue.from_checkpoint(out).verdict
        assert f"slope {verdict.calibration.slope:.3f}" in told
        # All else is as it was, the file's half precision too.
        shipped, written = (safetensors.torch.load_file(path) for path in (locate(WEIGHTS["sift-photoglue"]).path, out))
        assert shipped.keys() == written.keys()
        assert all(torch.equal(tensor, written[name]) for name, tensor in shipped.items())
        assert {tensor.dtype for tensor in written.values()} == {torch.float16}
        # The weights as a file, two scenes, nothing to be written.
        again = [str(out) if word == "sift-photoglue" else word for word in words]
        code, told, err = cli(*again, "--only", "cyprus", "chair")
        assert (code, err) == (0, "")
        assert "not measured; that takes 3 scenes" in told
        assert "Nothing was written" in told
        assert LightGlue.from_checkpoint(out).verdict == verdict

    @pytest.mark.data
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                ["--only", "cyprus"],
                "There are overlapping pairs of 1 scenes (cyprus). A calibration needs two at least",
            ),
            (["--only", "cypres"], "There is no scene 'cypres'. There are: chair, colosseum,"),
            pytest.param(
                ["--weights", "aliked"], "'aliked' is for features of the kind aliked-n16", marks=pytest.mark.weights
            ),
            (["--weights", "absent.safetensors"], "'absent.safetensors' is no weight file, and no released model"),
            (["--out", "own.pth"], "must end in .safetensors"),
        ],
    )
    def test_what_cannot_be(self, cli, words, changes, message):
        code, _, err = cli(*words, *changes)
        assert code == 1
        assert message in err


class TestReadableTexts:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(5.4, "5 s"), (89.0, "89 s"), (600.0, "10 min"), (3600.0, "1 h 00 min"), (7500.0, "2 h 05 min")],
    )
    def test_duration(self, seconds, text):
        from photoglue.cli.train.progress import duration

        assert duration(seconds) == text

    @pytest.mark.parametrize(("count", "text"), [(1200, "1 kB"), (2_500_000, "2 MB"), (1.44e9, "1.4 GB")])
    def test_size(self, count, text):
        from photoglue.cli.train.build import readable_size

        assert readable_size(count) == text

    def test_the_options_survive_the_way_through_a_file(self, tmp_path):
        from photoglue.cli.app import parse
        from photoglue.cli.train.base import as_json, from_json

        words = f"train homography --images {tmp_path} --patch-size 320 240 --cache {tmp_path}/c.h5 --max-angle 180"
        options = parse([*words.split(), "--out", str(tmp_path / "run")]).command
        assert from_json(type(options), json.loads(json.dumps(as_json(options)))) == options

    @pytest.mark.parametrize("command", ["homography", "posed", "confidence", "calibrate", "resume"])
    def test_help(self, cli, command):
        code, out, _ = cli("train", command, "--help")
        assert code == 0
        assert f"usage: photoglue train {command}" in out
