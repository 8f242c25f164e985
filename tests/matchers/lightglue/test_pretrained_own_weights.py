"""The SIFT matcher that comes with the package: it is there, it loads, and it beats what needs no training."""

import pytest
import torch

from photoglue import SIFT, LightGlue, SIFTConfig
from photoglue.matchers.lightglue import LightGlueConfig
from photoglue.matchers.lightglue.pretrained import WEIGHTS
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.weights import locate, sha256_of

pytest.importorskip("cv2", exc_type=ImportError)


def test_the_file_is_in_the_package_and_small():
    record = WEIGHTS["sift-photoglue"]
    located = locate(record)
    assert located is not None
    assert located.origin == "package"
    assert sha256_of(located.path) == record.sha256
    assert located.path.stat().st_size == record.size <= 25_000_000
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


@pytest.mark.slow
def test_on_a_stereo_pair_it_finds_more_right_matches_than_the_ratio_test(motorcycle):
    """The pair is rectified, so a right match stays in its row."""
    features = SIFT(SIFTConfig(max_keypoints=512, resize=512)).extract_many(motorcycle)

    def found(matcher):
        matches = matcher.match(*features)
        off = (matches.points0[:, 1] - matches.points1[:, 1]).abs()
        ahead = matches.points0[:, 0] > matches.points1[:, 0]
        right = (off < 2) & ahead
        return int(right.sum()), float(right.float().mean())

    ratio, ratio_precision = found(NearestNeighbor(ratio=0.8))
    ours, precision = found(LightGlue.pretrained("sift-opencv", LightGlueConfig.accurate(), precision="float32"))
    assert ours > 1.3 * ratio
    assert precision > ratio_precision - 0.05
    assert precision > 0.85
