"""`photoglue train calibrate` as a user meets it."""

import re

import pytest
import torch


@pytest.fixture(scope="module")
def words(shared_data):
    pytest.importorskip("cv2", exc_type=ImportError)
    return [
        "train", "calibrate", "--weights", "sift-photoglue", "--scenes", shared_data / "depth_scenes",
        "--features", "sift", "--keypoints", 256, "--pairs-per-scene", 3, "--device", "cpu",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.data
def test_weights_that_carry_what_was_measured(cli, words, tmp_path):
    import safetensors.torch

    from photoglue import LightGlue
    from photoglue.matchers.lightglue.pretrained import WEIGHTS
    from photoglue.weights import locate

    out = tmp_path / "own.safetensors"
    scenes = ["--only", "cyprus", "monstree", "chair"]
    code, told, err = cli(*words, *scenes, "--out", out)
    assert (code, err) == (0, "")
    assert re.search(r"^\d overlapping pairs and as many unrelated ones, sift-opencv features$", told, re.MULTILINE)
    for line in ("  chair: ", "  cyprus: ", "  monstree: ", "  together: "):
        assert re.search(rf"^{line}[\d,]+ matches, \d+% correct, 0\.\d+ → 0\.\d+$", told, re.MULTILINE), line
    assert re.search(r"likelier than not: \d+\.\d% of overlapping pairs, .* ROC AUC [01]\.\d+", told)
    assert str(out) in told
    verdict = LightGlue.from_checkpoint(out).verdict
    assert f"slope {verdict.calibration.slope:.3f}" in told
    # All else is as it was, the file's half precision too.
    shipped, written = (safetensors.torch.load_file(path) for path in (locate(WEIGHTS["sift-photoglue"]).path, out))
    assert shipped.keys() == written.keys()
    assert all(torch.equal(tensor, written[name]) for name, tensor in shipped.items())
    assert {tensor.dtype for tensor in written.values()} == {torch.float16}
    # The weights as a file, two scenes, nothing to be written.
    again = [str(out) if word == "sift-photoglue" else word for word in words]
    code, told, err = cli(*again, "--only", "cyprus", "chair")
    assert (code, err) == (0, "")
    assert "not measured; that takes 3 scenes" in told
    assert "Nothing was written" in told
    assert LightGlue.from_checkpoint(out).verdict == verdict


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["--only", "cyprus"],
            "There are overlapping pairs of 1 scenes (cyprus). A calibration needs two at least",
        ),
        (["--only", "cypres"], "There is no scene 'cypres'. There are: chair, colosseum,"),
        pytest.param(
            ["--weights", "aliked"], "'aliked' is for features of the kind aliked-n16", marks=pytest.mark.weights
        ),
        (["--weights", "absent.safetensors"], "'absent.safetensors' is no weight file, and no released model"),
        (["--out", "own.pth"], "must end in .safetensors"),
    ],
)
def test_what_cannot_be(cli, words, changes, message):
    code, _, err = cli(*words, *changes)
    assert code == 1
    assert message in err
