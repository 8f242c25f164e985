"""Shape and options: what they refuse, and how they are stored with weights."""

import json

import pytest

from photoglue import LightGlue, LightGlueConfig, LightGlueShape
from photoglue.errors import ConfigError
from photoglue.matchers.lightglue.config import options_from_json, options_to_json


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (LightGlueConfig, {"n_layers": 0}, "n_layers is 0"),
        (LightGlueConfig, {"depth_confidence": -1.0}, "None to switch it off"),
        (LightGlueConfig, {"width_confidence": 1.5}, r"width_confidence is 1\.5"),
        (LightGlueConfig, {"filter_threshold": 1.0}, r"filter_threshold is 1\.0"),
        (LightGlueShape, {"n_layers": 0}, "n_layers is 0"),
        (LightGlueShape, {"descriptor_dim": 100, "num_heads": 3}, "cannot be shared by 3 heads"),
    ],
)
def test_impossible_values(kind, changes, message):
    with pytest.raises(ConfigError, match=message):
        kind(**changes)


def test_unknown_names():
    with pytest.raises(TypeError, match="depth_confidnce"):
        LightGlueConfig(depth_confidnce=0.9)
    with pytest.raises(TypeError, match="input_dim"):
        LightGlueConfig(input_dim=128)  # the shape's


def test_presets():
    assert LightGlueConfig.accurate(filter_threshold=0.3) == LightGlueConfig(
        depth_confidence=None, width_confidence=None, filter_threshold=0.3
    )
    assert LightGlueConfig.realtime().depth_confidence < LightGlueConfig().depth_confidence
    assert LightGlueConfig.slam() == LightGlueConfig(depth_confidence=0.95, width_confidence=0.99)
    assert LightGlueConfig.sfm() == LightGlueConfig(depth_confidence=None, width_confidence=None)
    assert LightGlueConfig.edge() == LightGlueConfig(depth_confidence=0.9, width_confidence=0.95, n_layers=5)
    assert LightGlueShape.edge(input_dim=64).n_layers == 5


@pytest.mark.parametrize(
    ("shape", "config"),
    [
        (LightGlueShape(), LightGlueConfig()),
        (LightGlueShape.edge(kinds=("a", "b"), add_scale_ori=True), LightGlueConfig.accurate(filter_threshold=1 / 3)),
        (LightGlueShape(n_layers=2), LightGlueConfig(depth_confidence=1.0, pruning_min_keypoints=5)),
    ],
)
def test_stored_and_read_is_the_same(shape, config):
    assert options_from_json(options_to_json(shape, config), "a file") == (shape, config)


def test_layers_that_were_left_out_are_not_stored():
    text = options_to_json(LightGlueShape(n_layers=4), LightGlueConfig(n_layers=4))
    assert options_from_json(text, "a file") == (LightGlueShape(n_layers=4), LightGlueConfig())


def test_what_was_written_when_both_were_one():
    text = (
        '{"input_dim": 128, "descriptor_dim": 256, "n_layers": 9, "num_heads": 4, "add_scale_ori": true, '
        '"depth_confidence": null, "width_confidence": 0.99, "pruning_min_keypoints": null, "filter_threshold": 0.1, '
        '"kinds": ["sift-opencv"]}'
    )
    shape, config = options_from_json(text, "an old file")
    assert shape == LightGlueShape(input_dim=128, add_scale_ori=True, kinds=("sift-opencv",))
    assert config == LightGlueConfig(depth_confidence=None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "a file holds no options of LightGlue, but '{'"),
        ("[1, 2]", "holds no options"),
        (json.dumps({"temperature": 2.0}), "temperature"),
        (json.dumps({"num_heads": "four"}), "num_heads"),
        (json.dumps({"filter_threshold": 7.0}), r"a file: filter_threshold is 7\.0"),
    ],
)
def test_what_cannot_be_read(content, message):
    with pytest.raises(ConfigError, match=message):
        options_from_json(content, "a file")


def test_only_the_first_layers():
    assert len(LightGlue(LightGlueConfig(n_layers=2), shape=LightGlueShape.edge()).transformers) == 2
    with pytest.raises(ConfigError, match=r"n_layers is 9; the network has 5 layers\. Ask for at most 5"):
        LightGlue(LightGlueConfig(n_layers=9), shape=LightGlueShape.edge())
