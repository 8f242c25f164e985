"""`photoglue train`: its options, and how presets and defaults go together."""

import re

import pytest


def parsed(*words):
    from photoglue.cli.app import parse

    return parse(["train", *words]).command


@pytest.mark.parametrize("command", ["homography", "posed", "distilled", "confidence", "calibrate", "resume"])
def test_help(cli, command):
    code, out, _ = cli("train", command, "--help")
    assert code == 0
    assert f"usage: photoglue train {command}" in out


@pytest.mark.parametrize("command", ["homography", "posed", "distilled", "confidence"])
def test_no_option_is_there_twice(cli, command):
    _, out, _ = cli("train", command, "--help")
    options = re.findall(r"^. (--[a-z][a-z-]*)", out, re.MULTILINE)
    assert len(options) > 35
    assert len(set(options)) == len(options)


@pytest.mark.parametrize(
    ("command", "preset"),
    [
        ("homography", "warm-start"),
        ("posed", "warm-start-posed"),
        ("distilled", "warm-start-posed"),
        ("confidence", "confidence"),
    ],
)
def test_without_preset_the_values_are_those_of_the_preset_that_help_names(command, preset):
    from photoglue.training import PRESETS

    run = parsed(command, "--scenes" if command == "posed" else "--images", "x")
    assert run.preset == preset
    assert (run.recipe.config, run.recipe.keypoints) == (PRESETS[preset].config, PRESETS[preset].keypoints)


@pytest.mark.parametrize("words", [["--preset", "official-megadepth"], ["--preset=official-megadepth"]])
def test_a_preset_replaces_the_defaults_and_options_change_single_values(words):
    from dataclasses import replace

    from photoglue.training import PRESETS

    run = parsed("posed", "--scenes", "a", "b", "--batch-size", "64", *words, "--weight-decay", "0.1")
    official = PRESETS["official-megadepth"]
    assert run.recipe.config == replace(official.config, batch_size=64, weight_decay=0.1)
    assert run.recipe.keypoints == official.keypoints == 2048
    assert len(run.recipe.scenes) == 2


def test_a_preset_still_asks_for_what_must_be_given(cli):
    code, _, err = cli("train", "homography", "--preset", "official-homography")
    assert code == 2
    assert "--images" in err


def test_help_shows_the_values_of_the_preset(cli):
    def defaults(*words):
        _, out, _ = cli("train", "homography", *words, "--help")
        text = " ".join(out.replace("│", " ").split())
        return [
            text.split(option)[1].split("(default: ")[1].split(")")[0] for option in ("--batch-size", "--clip-norm")
        ]

    assert defaults() == ["8", "1.0"]
    assert defaults("--preset", "official-homography") == ["128", "None"]


def test_clipping_is_switched_off():
    assert parsed("homography", "--images", "x", "--clip-norm", "None").recipe.config.clip_norm is None


def test_one_length_switches_the_other_off():
    for words, length in ((["--pairs", "16"], (16, None)), (["--hours", "2"], (None, 2.0)), ([], (None, 3.0))):
        config = parsed("homography", "--images", "x", *words).recipe.config
        assert (config.pairs, config.hours) == length
    official = parsed("homography", "--images", "x", "--preset", "official-homography", "--hours", "2").recipe.config
    assert (official.pairs, official.hours) == (None, 2.0)


def test_two_lengths(cli):
    code, _, err = cli("train", "homography", "--images", "x", "--hours", 1, "--pairs", 16)
    assert code == 2
    assert "give one of them" in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "quick"], "official-homography"),
        (["--preset"], "--preset"),
        (["--batch-size", "8", "--accumulate", "3"], "batch_size is 8; it must be a multiple of accumulate"),
        (["--lr", "1"], "--lr"),
    ],
)
def test_what_cannot_be(cli, words, message):
    code, _, err = cli("train", "homography", "--images", "x", *words)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())


def test_without_a_command(cli):
    code, _, err = cli("train")
    assert code == 2
    assert "homography" in err


def test_rules_of_labels_are_options_and_views_of_photos_too():
    run = parsed(
        "homography", "--images", "x", "--unwarped", "--full-circle", "--shear", "0.5", "--turned", "0.3",
        "--positive-px", "1.5", "--homography-positive-px", "1", "--homography-negative-px", "2",
        "--scale-octaves", "0.5", "--orientation-deg", "30",
    )  # fmt: skip
    recipe, labels = run.recipe, run.recipe.labels
    assert (recipe.unwarped, recipe.full_circle, recipe.shear, recipe.turned) == (True, True, 0.5, 0.3)
    assert (labels.positive_px, labels.homography_px, labels.homography_negative_px) == (1.5, 1.0, 2.0)
    assert (labels.scale_octaves, labels.orientation_deg, labels.depth_negative_px) == (0.5, 30.0, 5.0)


def test_a_teachers_pairs_have_exact_labels_unless_told_otherwise():
    from photoglue.training.ground_truth import EXACT_RULES

    assert parsed("distilled", "--images", "a", "b").recipe.labels == EXACT_RULES
    assert parsed("distilled", "--images", "a", "--scale-octaves", "None").recipe.labels.scale_octaves is None
