import pytest

from photoglue.extractors import EXTRACTORS, create_extractor
from photoglue.matchers.lightglue.kinds import MODEL_OF_KIND, kinds_of, model_of
from photoglue.matchers.lightglue.pretrained import WEIGHTS


def test_every_model_is_released_and_every_kind_is_of_its_model():
    assert set(MODEL_OF_KIND.values()) <= set(WEIGHTS)
    for kind, model in MODEL_OF_KIND.items():
        assert model_of(kind) == model
        assert kind in kinds_of(model)


def test_names_of_models_stand_for_themselves():
    assert [model_of(name) for name in ("aliked", "sift-official", "of-my-own")] == [
        "aliked",
        "sift-official",
        "of-my-own",
    ]
    assert kinds_of("of-my-own") == ()


def test_our_sift_is_preferred_and_the_official_one_fits():
    assert model_of("sift-opencv") == model_of("sift") == "sift-photoglue"
    assert "sift-opencv" in kinds_of("sift-official")
    assert "sift" in EXTRACTORS
    assert create_extractor("sift").kind in kinds_of("sift-photoglue")


@pytest.mark.parametrize(
    ("n_layers", "model"),
    [(None, "aliked-t16-photoglue"), (6, "aliked-t16-photoglue"), (5, "aliked-t16-edge"), (2, "aliked-t16-edge")],
)
def test_few_layers_are_those_of_a_small_model(n_layers, model):
    assert model_of("aliked-t16", n_layers) == model
    assert model in WEIGHTS
    assert kinds_of(model) == ("aliked-t16",)
    assert model_of("aliked-t16-photoglue", n_layers) == "aliked-t16-photoglue"  # who names a model has it
    assert model_of("aliked-n16", n_layers) == "aliked"
