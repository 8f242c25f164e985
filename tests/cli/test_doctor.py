import json

import PIL.Image
import pytest


@pytest.mark.slow
@pytest.mark.weights
def test_pair(cli, small, tmp_path):
    code, out, err = cli("doctor", *small, "--max-keypoints", 512, "--resize", 370)
    assert (code, err) == (0, "")
    assert "nothing is wrong that the doctor knows of" in out
    turned = tmp_path / "my turned.png"
    with PIL.Image.open(small[1]) as photo:
        photo.transpose(PIL.Image.Transpose.ROTATE_90).save(turned)
    code, out, err = cli("doctor", small[0], turned, "--max-keypoints", 512, "--resize", 370)
    assert (code, err) == (3, "")
    assert "1. turned (sure, 95%)" in out
    assert f"→ photoglue match {small[0]} '{turned}' --rotation always" in out


@pytest.mark.slow
@pytest.mark.weights
def test_json(cli, small, tmp_path):
    dark = tmp_path / "dark.png"
    with PIL.Image.open(small[1]) as photo:
        photo.point(lambda value: int(0.04 * value)).save(dark)
    code, out, _ = cli("doctor", small[0], dark, "--max-keypoints", 512, "--resize", 370, "--json")
    found = json.loads(out)
    assert code == 3
    assert found["findings"][0]["cause"] == "few points"
    assert found["photos"] == [str(small[0]), str(dark)]


@pytest.mark.slow
@pytest.mark.weights
def test_options_reach_the_doctor(cli, small, tmp_path):
    store = tmp_path / "feats.h5"
    pytest.importorskip("h5py", exc_type=ImportError)
    assert cli("extract", *small, "--store", store, "--max-keypoints", 100, "--resize", 370)[0] == 0
    code, out, _ = cli("doctor", *small, "--features0", store, "--resize", 370, "--preset", "realtime")
    assert code == 0
    assert "keypoints   100 and 100 (aliked-n16)" in out
    pytest.importorskip("poselib", exc_type=ImportError)
    code, out, _ = cli("doctor", *small, "--features0", store, "--threshold", 0.001)
    assert code == 3
    assert "The threshold is too strict" in out


def test_installation(cli, monkeypatch):
    from photoglue.cli import doctor
    from photoglue.doctor import Check

    good = Check(name="versions", status="ok", found="all")
    bad = Check(name="OpenCV", status="fault", found="two", command="pip uninstall one")
    for checks, expected in (([good], 0), ([good, bad], 3)):
        monkeypatch.setattr(doctor, "check_installation", lambda checks=checks: checks)
        code, out, _ = cli("doctor")
        assert code == expected
        assert "✓ versions: all" in out
        assert ("→ pip uninstall one" in out) == bool(expected)
        assert json.loads(cli("doctor", "--json")[1])["checks"][0]["found"] == "all"


def test_what_makes_no_sense(cli, tmp_path):
    assert cli("doctor", "one.jpg")[0] == 2
    code, out, err = cli("doctor", "one.jpg", "two.jpg", "--intrinsics", *["1,1,1,1"] * 3)
    assert (code, out) == (2, "")
    assert "There are 3 --intrinsics" in err
    (tmp_path / "text.jpg").write_text("text")
    code, out, err = cli("doctor", tmp_path / "text.jpg", tmp_path / "absent.jpg")
    assert (code, out) == (1, "")
    assert "is not an image that can be read" in err


def test_every_command_that_is_told_exists():
    """Options of `photoglue match` and the other commands, as the findings name them."""
    from doctor_cases import made_case, seen

    from photoglue.cli.app import parse

    asked = made_case(*seen()).asked
    for words in (
        ("--resize", 256),
        ("--resize", 2048, "--max-keypoints", 4096),
        ("--preset", "accurate"),
        ("--verify", "fundamental", "--threshold", "2.5"),
        ("--verify", "homography"),
        ("--mask0", "keep.png", "--mask1", "keep.png"),
        ("--plot", "matches.png"),
        ("--precision", "auto"),
    ):
        command = asked.command(*words, features="disk")
        parse(command.split()[1:])
    parse(asked.extract_again().split()[1:])
    parse(["weights", "fetch"])
