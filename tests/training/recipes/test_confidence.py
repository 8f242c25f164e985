"""The recipe of the third stage: the heads of a network that is there, and nothing else."""

import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.matchers.lightglue import LightGlue
from photoglue.training import ConfidenceRecipe, Hooks, train


@pytest.fixture
def weights(tmp_path):
    """Makes a file with random weights of an edge network for a kind of features."""
    from photoglue.matchers.lightglue import LightGlueShape

    def make(kind="corners", input_dim=9):
        torch.manual_seed(3)
        path = tmp_path / f"{kind}.safetensors"
        LightGlue(shape=LightGlueShape.edge(input_dim=input_dim, kinds=(kind,))).save(path)
        return str(path)

    return make


@pytest.mark.slow
def test_only_the_heads_change(tiny_recipe, weights, tmp_path):
    scores = []
    hooks = Hooks(tensorboard=False, on_validation=lambda _, score: scores.append(score))
    recipe = tiny_recipe(ConfidenceRecipe, init=weights(), model="full")  # the network is that of --init
    outcome = train(recipe, out=tmp_path / "run", hooks=hooks)
    before, after = (
        LightGlue.from_checkpoint(path, precision=None).state_dict() for path in (recipe.init, outcome.files[0])
    )
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"token_confidence"}
    assert [score.score for score in scores] == [-score.numbers["confidence_loss"] for score in scores]


def test_nothing_to_begin_with(tiny_recipe):
    with pytest.raises(ConfigError, match="The confidence heads of which network"):
        tiny_recipe(ConfidenceRecipe).check()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"kind": "disk"}, "is for features of the kind disk; --features"),  # as wide as these: all tensors would fit
        ({"kind": "wide", "input_dim": 12}, "is for descriptors of 12 channels"),
    ],
)
def test_a_network_for_other_features(tiny_recipe, weights, tmp_path, network, message):
    with pytest.raises(ConfigError, match=message):
        train(tiny_recipe(ConfidenceRecipe, init=weights(**network)), out=tmp_path / "run")
