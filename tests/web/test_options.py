"""What a page may choose, and what it may not."""

import pytest


def test_every_choice_exists():
    from photoglue.extractors import EXTRACTORS
    from photoglue.presets import PRESETS
    from photoglue.web.options import WebOptions

    choices = WebOptions(allow_noncommercial=True).choices()
    assert set(choices["features"]) <= set(EXTRACTORS) and "superpoint" in choices["features"]
    assert set(choices["preset"]) == set(PRESETS)
    assert "superpoint" not in WebOptions().features


def test_what_is_offered_has_a_lightglue():
    from photoglue.extractors import EXTRACTORS
    from photoglue.matchers.lightglue.kinds import MODEL_OF_KIND
    from photoglue.web.options import WebOptions

    names = {"sift": "sift-opencv", "aliked": "aliked-n16"}
    assert {names.get(name, name) for name in WebOptions(allow_noncommercial=True).features} <= set(MODEL_OF_KIND)
    assert set(EXTRACTORS) - set(WebOptions(allow_noncommercial=True).features) == {"aliked-n16"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("features", "superpoint"),
        ("features", "/home/me/evil.py:Class"),
        ("max_keypoints", 10**9),
        ("resize", 0),
        ("preset", "none"),
        ("verify", "essential"),
        ("refine", "crop"),
        ("rotation", "perhaps"),
        ("tiles", ""),
    ],
)
def test_all_else_is_refused(field, value):
    from photoglue.errors import ConfigError
    from photoglue.web.options import MatchRequest, WebOptions

    MatchRequest(photo0="", photo1="").check(WebOptions())
    with pytest.raises(ConfigError, match="must be"):
        MatchRequest(photo0="", photo1="", **{field: value}).check(WebOptions())


def test_the_largest_upload_is_limited():
    from photoglue.errors import ConfigError
    from photoglue.web.options import WebOptions

    with pytest.raises(ConfigError, match="max_upload_mb is 0; it must be 1 to 1000"):
        WebOptions(max_upload_mb=0)
