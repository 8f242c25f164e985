"""The recipe of a run as text and back, and what it refuses."""

import re

import pytest


def test_text_and_back():
    from photoglue.files import from_json, to_json
    from photoglue.training.config import TrainingConfig

    config = TrainingConfig(hours=1.5, ema=0.999, clip_norm=None, batch_size=6, accumulate=3)
    assert from_json(TrainingConfig, to_json(config), origin="here") == config


def test_unknown_fields_are_refused():
    from photoglue.errors import ConfigError
    from photoglue.files import from_json, to_json
    from photoglue.training.config import TrainingConfig

    text = to_json(TrainingConfig(pairs=10)).replace('"seed"', '"sead"')
    with pytest.raises(ConfigError, match=r"last\.pt holds no TrainingConfig.*sead"):
        from_json(TrainingConfig, text, origin="last.pt")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"accumulate": 3}, "batch_size is 8; it must be a multiple of accumulate"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be above 0"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0; it must be above 0, or None"),
        ({"decay_from": 1.0}, "decay_from is 1.0; it must be in [0, 1)"),
        ({"final_share": 0.0}, "final_share is 0.0; it must be in (0, 1]"),
        ({"ema": 1.0}, "ema is 1.0; it must be in (0, 1), or None"),
        ({"schedule": "linear"}, "schedule is 'linear'; it must be one of constant, exponential, cosine"),
        ({"precision": "half"}, "precision is 'half'; it must be one of auto, float32"),
        ({"workers": -1}, "workers is -1; it must be 0 or more"),
        ({"pairs": 0}, "pairs is 0; it must be at least 1"),
        ({"pairs": None}, "neither was given"),
        ({"hours": 1.0}, "both were given"),
        ({"hours": -1.0, "pairs": None}, "hours is -1.0; it must be above 0"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_wrong_values_say_what_was_wanted(wrong, message):
    from photoglue.errors import ConfigError
    from photoglue.training.config import TrainingConfig

    with pytest.raises(ConfigError, match=re.escape(message)):
        TrainingConfig(**{"pairs": 10, **wrong})


def test_differences_name_both_values_and_leave_out_what_is_harmless():
    from photoglue.training.config import TrainingConfig, differences

    one = TrainingConfig(pairs=10, workers=0)
    other = TrainingConfig(pairs=10, workers=4, learning_rate=1e-3, seed=1)
    assert differences(one, one) == []
    assert differences(one, other) == ["learning_rate: 0.0002 there, 0.001 now", "seed: 0 there, 1 now"]
