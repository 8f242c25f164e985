"""The recipes: complete, consistent with the command line, and the official ones as published."""

import shlex

import pytest


def names():
    return ["official-homography", "official-megadepth", "warm-start", "warm-start-posed", "confidence"]


def test_the_command_line_knows_them_all():
    from typing import get_args

    from photoglue.training.recipes.presets import PRESETS, PresetName

    assert list(PRESETS) == names() == list(get_args(PresetName))


@pytest.mark.parametrize("name", names())
def test_their_commands_are_commands_and_give_their_config(name):
    from photoglue.cli.app import parse
    from photoglue.training.recipes.presets import PRESETS

    preset = PRESETS[name]
    words = shlex.split(preset.command)
    assert words[0] == "photoglue"
    recipe = parse(words[1:]).command.recipe
    assert recipe.config == preset.config
    assert recipe.keypoints == preset.keypoints
    assert preset.cost
    assert preset.result


def test_the_official_ones_are_as_published():
    from photoglue.training.recipes.presets import PRESETS
    from photoglue.training.schedule import learning_rate

    homography, megadepth = PRESETS["official-homography"].config, PRESETS["official-megadepth"].config
    assert (homography.batch_size, homography.pairs) == (128, 40 * 150_000)
    assert (megadepth.batch_size, megadepth.pairs) == (32, 50 * 45_900)
    for config, epochs, first in ((homography, 40, 20), (megadepth, 50, 30)):
        assert config.weight_decay == 0  # AdamW without decay is Adam
        assert config.clip_norm is None
        for epoch in (0, first, first + 1, epochs - 1):
            official = 1e-4 * 0.1 ** (max(0, epoch - first) / 10)
            assert learning_rate(config, 0, epoch / epochs) == pytest.approx(official)
