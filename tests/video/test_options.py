"""Options of a whole video."""

import pytest

from photoglue.errors import ConfigError, OutputError

pytest.importorskip("cv2", exc_type=ImportError)


def test_cameras_in_all_forms(tmp_path):
    import json

    from photoglue.video import camera_of_text

    (tmp_path / "k.txt").write_text("525 526 320 240\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    matrix = [[525, 0, 320], [0, 526, 240], [0, 0, 1]]
    (tmp_path / "cameras.json").write_text(json.dumps({"frames": {"a.png": {"K": matrix}}}))
    expected = camera_of_text("525,526,320,240", (640, 480))
    assert (expected.fx, expected.cy) == (525, 240)
    assert camera_of_text(str(tmp_path / "k.txt"), (640, 480)) == expected
    assert camera_of_text(str(tmp_path / "cameras.json"), (640, 480)) == expected
    assert camera_of_text("500", (640, 480)).cx == 319.5
    for text in ("1,2", str(tmp_path / "bytes.txt")):
        with pytest.raises(ConfigError):
            camera_of_text(text, (640, 480))
    (tmp_path / "cameras.json").write_text(json.dumps({"frames": {}}))
    with pytest.raises(ConfigError):
        camera_of_text(str(tmp_path / "cameras.json"), (640, 480))


def test_what_could_not_be_done_is_refused_first(tmp_path):
    from photoglue.video import TrackOptions, TrackOutputs
    from photoglue.video.options import check_options

    with pytest.raises(ConfigError, match=r"must end in \.h5"):
        check_options(TrackOutputs(tracks=tmp_path / "t.csv"), TrackOptions())
    with pytest.raises(OutputError, match="does not exist"):
        check_options(TrackOutputs(tracks=tmp_path / "none" / "t.h5"), TrackOptions())
    with pytest.raises(ConfigError, match="trajectory needs the camera"):
        check_options(TrackOutputs(trajectory=tmp_path / "t.txt"), TrackOptions())
    for options, message in (
        (TrackOptions(preset="slow"), "preset is 'slow'"),
        (TrackOptions(max_frames=0), "max_frames is 0"),
        (TrackOptions(masks=tmp_path / "none"), "no folder of masks"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_options(TrackOutputs(), options)


def test_the_lag_follows_from_the_rate():
    from photoglue.video import TrackOptions
    from photoglue.video.options import config_of

    assert [config_of(TrackOptions(), fps).lag for fps in (2.0, 10.0, 30.0)] == [1, 2, 6]
    assert config_of(TrackOptions(realtime=True), 30.0).lag is None
