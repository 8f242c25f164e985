"""Recipes as JSON, as a command, and the network that follows from one."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.files import from_json, to_json
from photoglue.structs import Features
from photoglue.training import PRESETS, HomographyRecipe, PosedRecipe, TrainingConfig
from photoglue.training.recipes.base import command_line, with_absolute_paths


def features(scales):
    return Features(
        keypoints=torch.zeros(3, 2),
        descriptors=torch.ones(3, 9),
        scores=torch.ones(3),
        image_size=(30, 20),
        kind="corners",
        scales=torch.ones(3) if scales else None,
        orientations=torch.ones(3) if scales else None,
    )


@pytest.mark.parametrize(
    "recipe",
    [
        HomographyRecipe(images=Path("/photos"), patch_size=(320, 240), cache=Path("/c.h5"), max_angle=180.0),
        PosedRecipe(scenes=(Path("/a"), Path("/b")), only=("x",), overlap=(0.0, 0.5), config=TrainingConfig(pairs=8)),
    ],
    ids=["homography", "posed"],
)
def test_a_recipe_survives_the_way_through_a_file(recipe):
    assert from_json(type(recipe), to_json(recipe), origin="here") == recipe


def test_a_recipe_of_another_version_is_refused():
    stored = {**json.loads(to_json(HomographyRecipe(images=Path("/photos")))), "colour": "red"}
    with pytest.raises(ConfigError, match=r"recipe\.json holds no HomographyRecipe.*colour"):
        from_json(HomographyRecipe, stored, origin="recipe.json")


def test_absolute_paths_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = PosedRecipe(scenes=(Path("a"), Path("b")), features="own/corners.py:Corners", homographies=Path("h.h5"))
    absolute = with_absolute_paths(recipe)
    assert absolute.scenes == (tmp_path / "a", tmp_path / "b")
    assert absolute.homographies == tmp_path / "h.h5"
    assert absolute.features == f"{tmp_path / 'own/corners.py'}:Corners"
    assert with_absolute_paths(PosedRecipe(scenes=(), features="own.corners:Corners")).features == "own.corners:Corners"


def test_the_command_has_what_is_not_the_default_and_trains_by_the_same_recipe():
    from photoglue.cli.app import parse

    config = PRESETS["official-homography"].config
    recipe = HomographyRecipe(
        images=Path("/my photos"),
        features="/own/corners.py:Corners",
        patch_size=(320, 240),
        keypoints=600,
        config=config,
    )
    words = shlex.split(command_line(recipe))
    assert words[:3] == ["photoglue", "train", "homography"]
    assert "--seed" not in words
    assert "--hours" not in words
    named = replace(recipe, images=Path("my photos"), features="corners.py:Corners")
    assert parse(words[1:]).command.recipe == named


class TestNetwork:
    def test_it_sees_scales_if_the_features_have_them(self):
        recipe = HomographyRecipe(images=Path("photos"))
        for scales in (True, False):
            network = recipe.network(features(scales))
            assert (network.add_scale_ori, network.input_dim, network.kinds) == (scales, 9, ("corners",))
        assert not replace(recipe, scale_orientation="no").network(features(True)).add_scale_ori

    def test_an_edge_network_is_smaller(self):
        recipe = HomographyRecipe(images=Path("photos"), model="edge")
        assert (recipe.network(features(False)).n_layers, recipe.network(features(False)).descriptor_dim) == (5, 128)

    def test_scales_that_the_features_do_not_have(self):
        recipe = HomographyRecipe(images=Path("photos"), scale_orientation="yes")
        with pytest.raises(ConfigError, match="'corners' features have no scale and orientation"):
            recipe.network(features(False))


def test_weights_that_do_not_exist_are_refused_before_anything_is_built():
    with pytest.raises(ConfigError, match="There are no weights 'alikde'"):
        HomographyRecipe(images=Path("photos"), init="alikde").check()
