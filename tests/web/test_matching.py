"""What the page is told of two photos, and that the command and the code it shows do the same."""

import json
import shlex

import numpy as np
import PIL.Image
import pytest

QUICK = {"features": "sift", "max_keypoints": 256, "resize": 320, "verify": "fundamental"}


def request(**options):
    from photoglue.web.options import MatchRequest

    return MatchRequest(photo0="", photo1="", **options)


def parsed(paths, asked, options):
    """The command that the page shows, as the command line understands it."""
    from photoglue.cli.app import parse
    from photoglue.web.matching import command_for

    words = shlex.split(command_for(paths, asked, options))
    assert words[:2] == ["photoglue", "match"]
    return parse(words[1:])


@pytest.mark.parametrize(
    "options",
    [
        {},
        QUICK,
        {"preset": "edge", "max_keypoints": 512, "resize": 640},
        {"preset": "edge", "max_keypoints": 2048, "resize": 640},
        {"preset": "best", "max_keypoints": 4096, "resize": 1600, "refine": "subpixel"},
        {"preset": "best", "max_keypoints": 4096, "resize": 1600},
        {"refine": "subpixel"},
        {"preset": "accurate", "verify": "homography", "features": "disk", "rotation": "always", "tiles": "off"},
    ],
)
def test_the_command_says_what_was_asked(options):
    from photoglue.web.options import WebOptions

    asked = request(**options)
    command = parsed(("it's a.jpg", "-b.jpg"), asked, WebOptions(device="cpu", precision="float32"))
    assert [str(path) for path in command.images] == ["it's a.jpg", "-b.jpg"]
    for name in ("features", "max_keypoints", "resize", "preset", "verify", "rotation", "zoom", "tiles", "refine"):
        assert getattr(command, name) == getattr(asked, name)
    assert (command.device, command.precision, command.allow_noncommercial) == ("cpu", "float32", False)
    assert parsed(("a", "b"), asked, WebOptions(allow_noncommercial=True)).allow_noncommercial


@pytest.mark.parametrize(
    "options",
    [{}, QUICK, {"preset": "edge"}, {"preset": "best"}, {"preset": "accurate", "zoom": "always", "refine": "subpixel"}],
)
def test_the_code_says_what_was_asked(options, monkeypatch):
    import photoglue
    from photoglue.web.matching import python_for
    from photoglue.web.options import WebOptions

    seen = {}
    monkeypatch.setattr(photoglue, "match_pair", lambda *paths, **given: seen.update(given, paths=paths))
    asked = request(**options)
    code = python_for(('a".jpg', "b.jpg"), asked, WebOptions(), {"mask1": "it's black.png"})
    exec(code.replace("print(len(result.matches))", ""))
    assert seen["paths"] == ('a".jpg', "b.jpg")
    assert seen.get("max_keypoints", 2048) == asked.max_keypoints and seen.get("resize", 1024) == asked.resize
    assert seen.get("config", photoglue.LightGlueConfig()) == photoglue.preset(asked.preset)["config"]
    assert seen.get("verify") == asked.verify and seen.get("zoom", "auto") == asked.zoom
    assert seen.get("refine") == asked.refine and seen["mask1"] == "it's black.png" and "mask0" not in seen


def test_no_point_is_where_a_mask_is_black(small_pair, encode, monkeypatch):
    """The right half of the first photo is masked; the mask is in the command and the code."""
    pytest.importorskip("cv2", exc_type=ImportError)
    from photoglue.web.matching import match_held
    from photoglue.web.options import WebOptions
    from photoglue.web.photos import HeldPhotos

    held = HeldPhotos()
    photos = tuple(held.add(content, name) for content, name in zip(small_pair, ("a.jpg", "b.jpg"), strict=True))
    white = np.zeros(photos[0].image_size[::-1], np.uint8)
    white[:, :150] = 255
    mask = held.add_mask(encode(PIL.Image.fromarray(white), "PNG"), "left half.png", photos[0])
    answer = match_held(photos, request(**QUICK | {"verify": None}), WebOptions(), (mask, None))
    assert len(answer.keypoints0) > 20 and max(x for x, _ in answer.keypoints0) < 150
    assert max(x for x, _ in answer.keypoints1) > 200
    assert "--mask0 'left half.png'" in answer.command and "mask0='left half.png'" in answer.python


@pytest.mark.slow
def test_the_page_and_the_command_find_the_same(small_pair, tmp_path, monkeypatch):
    """The command of the page, run as it stands, writes the JSON that the page saves."""
    for package in ("cv2", "poselib", "matplotlib"):
        pytest.importorskip(package, exc_type=ImportError)
    from photoglue.cli import main
    from photoglue.files import as_json
    from photoglue.web.matching import match_held
    from photoglue.web.options import WebOptions
    from photoglue.web.photos import HeldPhotos

    held = HeldPhotos()
    photos = tuple(held.add(content, name) for content, name in zip(small_pair, ("a.jpg", "b.jpg"), strict=True))
    answer = match_held(photos, request(**QUICK), WebOptions())
    told = as_json(answer)
    assert len(told["matches"]["indices"]) > 100
    assert len(told["keypoints0"]) == len(told["prune0"]) == told["matches"]["images"][0]["keypoints"]
    i, j = told["matches"]["indices"][0]
    assert told["keypoints0"][i] == pytest.approx(told["matches"]["points0"][0], abs=0.01)
    assert told["keypoints1"][j] == pytest.approx(told["matches"]["points1"][0], abs=0.01)
    assert {"read", "extract", "match", "verify"} <= set(told["seconds"])

    monkeypatch.chdir(tmp_path)
    for content, name in zip(small_pair, ("a.jpg", "b.jpg"), strict=True):
        (tmp_path / name).write_bytes(content)
    assert main(shlex.split(told["command"])[1:]) == 0
    written = json.loads((tmp_path / "matches.json").read_text())
    assert (tmp_path / "matches.png").is_file()
    for name in ("indices", "points0", "points1", "inliers", "features", "images", "overlap_probability", "remedies"):
        assert written[name] == told["matches"][name], name
