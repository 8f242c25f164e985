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
