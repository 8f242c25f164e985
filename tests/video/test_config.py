"""Options of the tracker that make no sense."""

import pytest

from photoglue.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_tracks", 0), ("keyframe_every", 0), ("lag", -1), ("flow_size", 10), ("keyframe_share", 1.5),
     ("spacing_px", 0.0), ("flow_window", 3), ("min_tracks", 1)],
)  # fmt: skip
def test_refused(name, value):
    from photoglue.video import TrackerConfig

    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        TrackerConfig(**{name: value})


def test_none_means_without():
    from photoglue.video import TrackerConfig

    assert (TrackerConfig(lag=None).lag, TrackerConfig(flow_size=None).flow_size) == (None, None)
