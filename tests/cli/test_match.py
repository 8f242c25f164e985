"""`photoglue match`: what it prints, writes and returns."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest


def size_of(path):
    with PIL.Image.open(path) as picture:
        return picture.size


def save(path, array):
    PIL.Image.fromarray(array).save(path)
    return path


@pytest.mark.weights
class TestMatch:
    @pytest.mark.slow
    def test_summary_and_json(self, cli, small, tmp_path):
        out = tmp_path / "m.json"
        code, printed, err = cli("match", *small, "--out", out, "--resize", "None", "--verify", "fundamental")
        assert (code, err) == (0, "")
        for word in (
            "keypoints",
            "matches",
            r"exit +layer \d of 9",
            "overlap +more than 99.9% likely",
            r"inliers +\d+ \(\d+%\)",
            "extract .*ms|extract .*s",
        ):
            assert re.search(word, printed), word
        found = json.loads(out.read_text())
        points0, points1 = np.array(found["points0"]), np.array(found["points1"])
        assert len(points0) == len(points1) == len(found["scores"]) == len(found["inliers"]) > 50
        assert np.mean(np.abs(points0[:, 1] - points1[:, 1]) < 2) > 0.9  # rectified: rows agree
        assert np.mean(found["inliers"]) > 0.8
        assert found["features"] == "aliked-n16"
        assert found["images"][0]["width"] == size_of(small[0])[0]
        assert found["overlap_probability"] > 0.999
        assert found["options"]["resize"] is None
        assert found["versions"].keys() == {"photoglue", "torch"}
        assert np.array(found["verification"]["matrix"]).shape == (3, 3)
        assert list(tmp_path.glob("*.partial")) == []

    @pytest.mark.slow
    def test_npz_and_csv_hold_the_same(self, cli, small, tmp_path):
        for name in ("m.npz", "m.csv"):
            assert cli("match", *small, "--out", tmp_path / name, "--max-keypoints", 300)[0] == 0
        with np.load(tmp_path / "m.npz") as opened:
            npz = dict(opened)
        rows = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
        assert len(rows) == len(npz["points0"]) > 50
        np.testing.assert_allclose([float(row["x1"]) for row in rows], npz["points1"][:, 0], atol=1e-4)
        assert [int(row["index0"]) for row in rows] == npz["indices"][:, 0].tolist()
        assert json.loads(str(npz["facts"]))["options"]["max_keypoints"] == 300

    @pytest.mark.slow
    def test_coordinates_are_those_of_the_photo_whatever_the_resize(self, cli, motorcycle, tmp_path):
        medians = []
        for resize in ("400", "741"):
            cli("match", *motorcycle, "--out", tmp_path / "m.json", "--resize", resize)
            found = json.loads((tmp_path / "m.json").read_text())
            points = np.array(found["points0"])
            assert points[:, 0].max() > 600  # the photo is 741 wide
            medians.append(np.median(points[:, 1] - np.array(found["points1"])[:, 1]))
        assert medians == pytest.approx([0, 0], abs=0.3)

    @pytest.mark.slow
    def test_pictures(self, cli, small, tmp_path):
        code, _, _ = cli("match", *small, "--plot", tmp_path / "m.png", "--plot-pruning", tmp_path / "p.jpg")
        assert code == 0
        for name in ("m.png", "p.jpg"):
            assert size_of(tmp_path / name)[0] > 600

    @pytest.mark.slow
    def test_essential(self, cli, small, tmp_path):
        code, _, err = cli(
            "match", *small, "--verify", "essential", "--intrinsics", "497,155,124", "--out", tmp_path / "m.json"
        )
        assert code == 1
        assert "has 3 numbers; give" in err
        code, _, err = cli(
            "match", *small, "--verify", "essential", "--intrinsics", "497,497,155,124", "--out", tmp_path / "m.json"
        )
        assert code == 0, err
        pose = json.loads((tmp_path / "m.json").read_text())["verification"]
        np.testing.assert_allclose(pose["rotation"], np.eye(3), atol=0.03)
        assert abs(pose["translation"][0]) > 0.95  # the cameras stand side by side

    @pytest.mark.slow
    def test_nearest(self, cli, small):
        code, printed, _ = cli("match", *small, "--features", "aliked-t16", "--matcher", "nearest")
        assert code == 0
        assert "aliked-t16" in printed
        assert "exit" not in printed
        assert "overlap" not in printed

    @pytest.mark.slow
    def test_refined(self, cli, small, tmp_path):
        options = ("--features", "sift", "--matcher", "nearest", "--refine", "subpixel", "--out", tmp_path / "m.json")
        code, printed, _ = cli("match", *small, *options)
        assert code == 0
        assert re.search(r"refined +\d+ points of the second photo, by 0\.\d\d px in the median", printed)
        assert json.loads((tmp_path / "m.json").read_text())["refine"] == "subpixel"
        code, _, said = cli("match", *small, "--refine", "subpixel", "--store", tmp_path / "m.h5")
        assert code == 1
        assert "--refine cannot be used for many photos" in said

    @pytest.mark.slow
    def test_photos_of_different_things(self, cli, small, astronaut, tmp_path):
        code, printed, _ = cli("match", small[0], astronaut, "--resize", 512, "--out", tmp_path / "m.json")
        assert code == 0
        assert json.loads((tmp_path / "m.json").read_text())["overlap_probability"] < 0.5
        assert re.search(r"overlap +(less than )?\d+\.\d% likely", printed)
        assert "tried       the second photo in four turns: none fits better than as it is" in printed
        assert "tried       other scales, and the part that both photos share: no better matches" in printed

    @pytest.mark.slow
    def test_weights_of_ones_own_have_the_verdict_that_is_stored_with_them(self, cli, small, tmp_path):
        from photoglue import LightGlue

        model, out = LightGlue.pretrained("aliked"), tmp_path / "m.json"
        sceptical = replace(model.verdict, offset=-40.0)
        quick = (*small, "--max-keypoints", 256, "--weights", tmp_path / "own.safetensors", "--out", out)
        for verdict, told in ((model.verdict, "more than 99.9%"), (sceptical, r"\d+\.\d%"), (None, None)):
            model.verdict = verdict
            model.save(tmp_path / "own.safetensors")
            code, printed, _ = cli("match", *quick)
            assert code == 0
            found = json.loads(out.read_text())["overlap_probability"]
            if verdict is None:
                assert "overlap" not in printed
                assert found is None
            else:
                assert re.search(f"overlap +{told} likely", printed)
                assert (found > 0.99) == (verdict is not sceptical)

    def test_no_model_for_the_features(self, cli, small):
        pytest.importorskip("cv2", exc_type=ImportError)
        orb = Path(__file__).parents[2] / "examples" / "custom_extractor.py"
        code, _, err = cli("match", *small, "--features", f"{orb}:ORB")
        assert code == 1
        assert "no released LightGlue for 'orb-opencv'" in err

    @pytest.mark.slow
    def test_masks(self, cli, small, tmp_path):
        shape = size_of(small[0])[::-1]
        mask = np.zeros(shape, np.uint8)
        mask[:, : shape[1] // 2] = 255
        save(tmp_path / "mask.png", mask)
        assert cli("match", *small, "--mask0", tmp_path / "mask.png", "--out", tmp_path / "m.json")[0] == 0
        points = np.array(json.loads((tmp_path / "m.json").read_text())["points0"])
        assert points[:, 0].max() < shape[1] / 2 + 1

    def test_superpoint_asks(self, cli, small):
        code, _, err = cli("match", *small, "--features", "superpoint")
        assert code == 1
        assert "--allow-noncommercial" in err


@pytest.mark.weights
class TestBadInput:
    def test_not_an_image(self, cli, small, tmp_path):
        (tmp_path / "text.jpg").write_text("hello")
        code, _, err = cli("match", small[0], tmp_path / "text.jpg")
        assert code == 1
        assert "is not an image" in err

    def test_truncated(self, cli, small, tmp_path):
        with PIL.Image.open(small[0]) as picture:
            picture.save(tmp_path / "whole.jpg")
        (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:5000])
        code, _, err = cli("match", small[0], tmp_path / "cut.jpg")
        assert code == 1
        assert "damaged or cut off" in err

    def test_a_device_that_is_not_there(self, cli, small):
        code, _, err = cli("match", *small, "--device", "cuda:99")
        assert code == 1
        assert "The device 'cuda:99' cannot be used here" in err

    @pytest.mark.slow
    @pytest.mark.parametrize("features", ["aliked", "disk", "sift"])
    @pytest.mark.parametrize("shape", [(1, 1, 3), (5, 3000, 3), (64, 64, 3)])
    def test_blank_and_odd_sizes_are_empty_results(self, cli, small, tmp_path, shape, features):
        blank = save(tmp_path / "blank.png", np.full(shape, 128, np.uint8))
        matcher = ["--matcher", "nearest"] if features == "sift" else []
        code, printed, err = cli(
            "match",
            small[0],
            blank,
            "--features",
            features,
            "--out",
            tmp_path / "m.json",
            "--verify",
            "homography",
            *matcher,
        )
        assert code == 0, err
        found = json.loads((tmp_path / "m.json").read_text())
        assert found["images"][1]["keypoints"] == 0
        assert found["points0"] == found["scores"] == []
        if matcher:
            assert found["overlap_probability"] is None
        else:
            assert found["overlap_probability"] < 0.25
        assert re.search(r"note +no points in '.*blank\.png'", printed)
        assert "None" not in printed
        assert re.search(r"matches +0", printed)

    def test_unwritable(self, cli, small, tmp_path):
        code, _, err = cli("match", *small, "--out", tmp_path / "absent" / "m.json")
        assert code == 1
        assert "absent' does not exist; make it first" in err
        code, _, err = cli("match", *small, "--out", tmp_path / "m.xyz")
        assert code == 1
        assert ".json, .npz, .csv" in err
        code, _, err = cli("match", *small, "--plot", tmp_path / "m.doc")
        assert code == 1
        assert ".png" in err

    @pytest.mark.slow
    def test_an_existing_output_is_never_half_written(self, cli, small, tmp_path, monkeypatch):
        out = tmp_path / "m.json"
        out.write_text("the old one")
        monkeypatch.setattr("os.fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        code, _, err = cli("match", *small, "--max-keypoints", 50, "--out", out)
        assert code == 1
        assert "the disk is full" in err
        assert out.read_text() == "the old one"
        monkeypatch.undo()
        assert cli("match", *small, "--max-keypoints", 50, "--out", out)[0] == 0
        assert json.loads(out.read_text())["format"] == "photoglue-matches"

    def test_corrupt_weights(self, cli, small, tmp_path, monkeypatch):
        (tmp_path / "aliked_lightglue.pth").write_bytes(b"junk")
        monkeypatch.setenv("PHOTOGLUE_WEIGHTS", str(tmp_path))
        code, _, err = cli("match", *small)
        assert code == 1
        assert "is not 'aliked-lightglue'" in err
        assert "it was not loaded" in err

    def test_own_checkpoint_that_does_not_fit(self, cli, small, tmp_path):
        (tmp_path / "mine.pth").write_bytes(b"junk")
        code, _, err = cli("match", *small, "--weights", tmp_path / "mine.pth")
        assert code == 1
        assert "cannot be read as weights" in err
