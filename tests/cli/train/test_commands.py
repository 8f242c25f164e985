"""The commands that train as a user meets them: from a folder of photos to weights, and what they print."""

import contextlib
import io
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest
import tiny_training

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory, astronaut):
    """A folder with photos, good and bad, and a class that finds features in them."""
    pytest.importorskip("cv2", exc_type=ImportError)
    pytest.importorskip("h5py", exc_type=ImportError)
    return tiny_training.write_photos(tmp_path_factory.mktemp("place"), astronaut)


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
    sys.modules.pop("corners", None)  # that of another test's folder
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert main([str(word) for word in (*small, "--out", out, "--data-licence", "CC0")]) == 0
    return out, told.getvalue()


def test_from_photos_to_weights(place, trained):
    from photoglue.cli.app import parse

    out, told = trained
    assert "skipped: tiny.png: 100 × 90 pixels" in told
    assert "4 photos, 1 to validate with; 3 views each: corners features of 12 views, about 18 kB" in told
    assert "begins with random weights" in told
    assert "baseline: precision" in told
    assert "after 16 pairs:" in told
    assert re.search(r"16 pairs · loss \d+\.\d+, last layer .* pairs/s, \d+% waiting · 0 s left", told)
    assert f"  → {out / 'model.safetensors'}" in told
    card = (out / "model_card.md").read_text()
    command = re.search(r"^Trained with `photoglue (.*?)`", card, re.MULTILINE).group(1)
    recipe = parse(shlex.split(command)).command.recipe
    assert (recipe.images, recipe.features) == (Path("photos"), "corners.py:Corners")
    assert (recipe.config.pairs, recipe.views, recipe.patch_size) == (16, 3, (160, 120))
    assert json.loads((out / "recipe.json").read_text())["recipe"]["images"] == str(place / "photos")


def test_interrupted_and_resumed(cli, small, tmp_path, monkeypatch):
    from photoglue.cli.train.progress import TrainingProgress

    with monkeypatch.context() as pressed:
        pressed.setattr(TrainingProgress, "validation", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        code, told, err = cli(*small, "--out", tmp_path / "run")
    assert (code, err) == (130, "")
    assert "Interrupted after 0 pairs; all is saved." not in told
    assert re.search(r"Interrupted after 4 pairs; all is saved\. Go on with:\n  photoglue train resume ", told)
    code, told, err = cli("train", "resume", tmp_path / "run", "--workers", 0)
    assert (code, err) == (0, "")
    assert "goes on after 4 pairs" in told


def test_stages_follow_each_other(cli, small, trained, tmp_path):
    again = ["train", "confidence", *small[2:], "--cache", trained[0] / "cache.h5"]
    code, told, err = cli(*again, "--out", tmp_path / "second", "--init", trained[0])
    assert (code, err) == (0, "")
    assert f"features (corners) from {trained[0] / 'cache.h5'}" in told
    assert f"taken from {trained[0] / 'model.safetensors'}" in told


def test_an_error_is_one_line(cli, small, trained):
    code, _, err = cli(*small, "--out", trained[0])
    assert code == 1
    assert "holds a run already" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.weights
def test_sift_from_aliked(cli, place, tmp_path):
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
    assert model.shape.add_scale_ori
    assert model.shape.kinds == ("sift-opencv",)
