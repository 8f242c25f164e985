"""Training from Python: from photos to weights with one call, and on after an interruption."""

import json
import os
import shutil
import signal

import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.matchers.lightglue import LightGlue
from photoglue.training import Hooks, resume, train
from photoglue.training.checkpoint import load_checkpoint
from photoglue.training.progress import Score

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place_of_whole(tmp_path_factory):
    return tmp_path_factory.mktemp("whole") / "run"


@pytest.fixture
def trained(tiny_recipe, place_of_whole, made={}):  # noqa: B006  (once for all tests of a process)
    """A run from beginning to end: its outcome, and what its hooks were told."""
    if place_of_whole not in made:
        told, reports, validations = [], [], []
        hooks = Hooks(
            on_message=told.append,
            on_report=reports.append,
            on_validation=lambda pairs, score: validations.append(pairs),
            tensorboard=False,
        )
        outcome = train(tiny_recipe(data_licence="CC0"), out=str(place_of_whole), hooks=hooks)
        made[place_of_whole] = outcome, told, reports, validations
    return made[place_of_whole]


@pytest.fixture
def whole(trained, place_of_whole):
    """Where that run lies."""
    return place_of_whole


def test_from_photos_to_weights(trained, whole):
    outcome, told, reports, validations = trained
    assert (outcome.finished, outcome.position.pairs) == (True, 16)
    assert "begins with random weights" in told
    assert validations == [0, 8, 16]
    assert reports[-1].progress == 1
    assert [path.name for path in outcome.files if path.suffix != ".png"] == [
        "model.safetensors", "model-fp16.safetensors", "model_card.md",
    ]  # fmt: skip
    model = LightGlue.from_checkpoint(outcome.files[0])
    assert (model.shape.kinds, model.shape.input_dim, model.shape.n_layers) == (("corners",), 9, 5)
    assert "CC0" in (whole / "model_card.md").read_text()


def test_interrupted_and_resumed_is_uninterrupted(tiny_recipe, whole, tmp_path, monkeypatch):
    seen = []

    def press(pairs, score):
        seen.append(pairs)
        if pairs == 8:
            os.kill(os.getpid(), signal.SIGINT)

    hooks = Hooks(on_validation=press, tensorboard=False)
    outcome = train(tiny_recipe(data_licence="CC0"), out=tmp_path / "parts", hooks=hooks)
    assert (outcome.finished, outcome.position.pairs, outcome.files) == (False, 12, ())
    # From another place, with the folder under another name.
    (tmp_path / "parts").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    outcome = resume("moved", hooks=hooks)
    assert outcome.finished
    assert seen == [0, 8, 16]
    first, second = (load_checkpoint(folder / "last.pt") for folder in (whole, tmp_path / "moved"))
    assert first.position.pairs == second.position.pairs == 16
    assert all(torch.equal(tensor, second.model[name]) for name, tensor in first.model.items())


def test_resumed_from_elsewhere_after_what_it_began_with_is_gone(tiny_recipe, place, whole, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    shutil.copy(place / "corners.py", tmp_path / "a")
    shutil.copy(whole / "model.safetensors", tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    recipe = tiny_recipe(features="corners.py:Corners", init="model.safetensors")
    stop = Hooks(on_validation=lambda *_: os.kill(os.getpid(), signal.SIGTERM), tensorboard=False)
    assert not train(recipe, out="run", hooks=stop).finished
    (tmp_path / "a" / "model.safetensors").unlink()
    monkeypatch.chdir(place)
    told = []
    hooks = Hooks(on_message=told.append, tensorboard=False)
    assert resume(tmp_path / "a" / "run", workers=0, hooks=hooks).finished
    assert any(line.startswith("began with ") for line in told)


def test_another_measure_of_how_good_weights_are(tiny_recipe, tmp_path):
    hooks = Hooks(validate=lambda model: Score(score=0.5, numbers={"own": 0.5}), tensorboard=False)
    assert train(tiny_recipe(pairs=4), out=tmp_path / "run", hooks=hooks).last.numbers == {"own": 0.5}


def test_a_process_that_is_not_the_first_says_and_writes_nothing(tiny_recipe, whole, tmp_path, monkeypatch):
    # Alone all the same: two that talk to each other are in test_distributed.
    monkeypatch.setenv("RANK", "1")
    for name in ("cache.h5", "validation.h5"):
        (tmp_path / "run").mkdir(exist_ok=True)
        shutil.copy(whole / name, tmp_path / "run")
    hooks = Hooks(on_message=pytest.fail, on_validation=pytest.fail, tensorboard=False)
    assert train(tiny_recipe(pairs=4), out=tmp_path / "run", hooks=hooks).files == ()
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_a_folder_with_a_run(tiny_recipe, whole):
    with pytest.raises(ConfigError, match="holds a run already"):
        train(tiny_recipe(), out=whole)


def test_resume_without_a_run(tmp_path):
    with pytest.raises(ConfigError, match="There is no run in"):
        resume(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: stored["recipe"]["config"].update(learning_rate=0.5), "learning_rate: 0.0002 there, 0.5 now"),
        (
            lambda stored: stored.update(name="magic"),
            "the recipe 'magic', which is unknown here; known are homography",
        ),
        (lambda stored: stored["recipe"].update(colour=1), r"recipe\.json' holds no HomographyRecipe.*colour"),
    ],
)
def test_resume_after_the_recipe_was_changed(whole, tmp_path, change, message):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    stored = json.loads((run / "recipe.json").read_text())
    change(stored)
    (run / "recipe.json").write_text(json.dumps(stored))
    with pytest.raises(ConfigError, match=message):
        resume(run)
