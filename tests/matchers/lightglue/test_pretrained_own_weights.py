"""The matchers that come with the package: they are there, they load, and they beat what needs no training."""

import pytest
import safetensors.torch
import torch

from photoglue import ALIKED, SIFT, ALIKEDConfig, LightGlue, SIFTConfig
from photoglue.errors import WeightsError
from photoglue.matchers.lightglue import LightGlueConfig
from photoglue.matchers.lightglue.pretrained import WEIGHTS
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.weights import locate, sha256_of

pytest.importorskip("cv2", exc_type=ImportError)


@pytest.mark.parametrize(
    ("name", "most"),
    [("sift-photoglue", 25_000_000), ("aliked-t16-photoglue", 4_000_000), ("aliked-t16-edge", 4_000_000)],
)
def test_the_file_is_in_the_package_and_small(name, most):
    record = WEIGHTS[name]
    located = locate(record)
    assert located is not None
    assert located.origin == "package"
    assert sha256_of(located.path) == record.sha256
    assert located.path.stat().st_size == record.size <= most
    assert located.path.with_suffix(".md").is_file()  # its card


@pytest.mark.parametrize("name", ["sift", "sift-opencv", "sift-photoglue"])
def test_sift_gets_it_without_network_and_the_official_one_still_takes_sift(name):
    model = LightGlue.pretrained(name)
    assert model.shape.add_scale_ori
    assert model.shape.n_layers == 9
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert "sift-opencv" in (model.shape.kinds or ())
    from photoglue.matchers.lightglue.kinds import kinds_of

    assert "sift-opencv" in kinds_of("sift-official")


def right_of(matches):
    """How many matches stay in their row and go to the left; and their share."""
    off = (matches.points0[:, 1] - matches.points1[:, 1]).abs()
    right = (off < 2) & (matches.points0[:, 0] > matches.points1[:, 0])
    return int(right.sum()), float(right.float().mean())


@pytest.mark.slow
def test_on_a_stereo_pair_it_finds_more_right_matches_than_the_ratio_test(motorcycle):
    """The pair is rectified, so a right match stays in its row."""
    features = SIFT(SIFTConfig(max_keypoints=512, resize=512)).extract_many(motorcycle)
    ratio, ratio_precision = right_of(NearestNeighbor(ratio=0.8).match(*features))
    model = LightGlue.pretrained("sift-opencv", LightGlueConfig.accurate(), precision="float32")
    ours, precision = right_of(model.match(*features))
    assert ours > 1.3 * ratio
    assert precision > ratio_precision - 0.05
    assert precision > 0.85


@pytest.mark.slow
@pytest.mark.weights
def test_that_of_the_smallest_aliked_changes_the_official_one(motorcycle):
    model = LightGlue.pretrained("aliked-t16", LightGlueConfig.accurate(), precision="float32")
    assert model.shape.kinds == ("aliked-t16",)
    assert (model.shape.input_dim, model.shape.n_layers, model.shape.descriptor_dim) == (64, 9, 256)
    official = LightGlue.pretrained("aliked", precision=None)
    assert model.posenc.Wr.weight.equal(official.posenc.Wr.weight)
    config = ALIKEDConfig(variant="t16", max_keypoints=512, resize=512)
    features = ALIKED.pretrained(config).extract_many(motorcycle)
    ratio, ratio_precision = right_of(NearestNeighbor(ratio=0.9).match(*features))
    ours, precision = right_of(model.match(*features))
    assert ours > ratio
    assert precision > max(0.85, ratio_precision - 0.05)


@pytest.mark.slow
@pytest.mark.weights
def test_the_small_network_of_the_smallest_aliked(motorcycle):
    model = LightGlue.pretrained("aliked-t16", LightGlueConfig.accurate(n_layers=5), precision="float32")
    assert model.shape.kinds == ("aliked-t16",)
    assert (model.shape.input_dim, model.shape.n_layers, model.shape.descriptor_dim) == (64, 5, 128)
    config = ALIKEDConfig(variant="t16", max_keypoints=512, resize=512)
    features = ALIKED.pretrained(config).extract_many(motorcycle)
    ratio, ratio_precision = right_of(NearestNeighbor(ratio=0.9).match(*features))
    found = model.match(*features)
    ours, precision = right_of(found)
    assert ours > 0.95 * ratio  # nearly as many, and fewer wrong ones: 3 % where the ratio test has 7
    assert precision > ratio_precision + 0.02
    assert model.overlap_probability(found) > 0.9  # although it has 5 layers, which are all


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("of-others", "changes the model 'of-others', which is unknown here: aliked, disk"),
        ("sift-photoglue", "changes 'of_mine', which its model does not have"),
    ],
)
def test_changes_of_what_is_not_there(tmp_path, base, said):
    safetensors.torch.save_file({"of_mine": torch.zeros(3)}, tmp_path / "odd.safetensors", {"base": base})
    with pytest.raises(WeightsError, match=rf"odd\.safetensors' {said}"):
        LightGlue.from_checkpoint(tmp_path / "odd.safetensors")


@pytest.mark.slow
def test_a_file_of_changes_is_the_model_changed(tmp_path):
    bias = torch.full((256,), 7.0, dtype=torch.float16)
    safetensors.torch.save_file({"input_proj.bias": bias}, tmp_path / "mine.safetensors", {"base": "sift-photoglue"})
    found = LightGlue.from_checkpoint(tmp_path / "mine.safetensors").state_dict()
    wanted = LightGlue.pretrained("sift-photoglue").state_dict()
    assert found.pop("input_proj.bias").equal(bias.float())
    assert all(tensor.equal(wanted[name]) for name, tensor in found.items())
