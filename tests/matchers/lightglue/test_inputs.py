"""Which features the network refuses, and which model it names instead."""

from dataclasses import replace

import pytest
import torch

from photoglue import Features, LightGlueShape
from photoglue.errors import FeatureKindError, ShapeError
from photoglue.matchers.lightglue.inputs import checked_pairs

ALIKED = LightGlueShape(input_dim=128, kinds=("aliked-n16", "aliked-n32"))


def features(n, dim=128, **changes):
    given = {
        "keypoints": torch.rand(n, 2) * torch.tensor([600.0, 200.0]),
        "descriptors": torch.randn(n, dim),
        "scores": torch.rand(n),
        "image_size": (600, 200),
    }
    return Features(**{**given, **changes})


def check(*pair, shape=ALIKED):
    return checked_pairs([pair], shape, torch.device("cpu"))


def test_an_image_in_several_pairs_is_moved_once():
    a, b, c = (features(n) for n in (3, 0, 5))
    (one, two), (again, three) = checked_pairs([(a, b), (a, c)], ALIKED, torch.device("cpu"))
    assert one is again
    assert [len(image) for image in (one, two, three)] == [3, 0, 5]


def test_wrong_kind_names_the_model_that_fits():
    with pytest.raises(FeatureKindError, match=r"'disk'; this model was trained for aliked.*pretrained\(\"disk\"\)"):
        check(features(5, kind="disk"), features(5))
    with pytest.raises(FeatureKindError, match=r"'mine'; .* No released LightGlue fits"):
        check(features(5), features(5, kind="mine"))
    assert check(features(5, kind="mine"), features(5), shape=replace(ALIKED, kinds=None))


def test_wrong_width_names_the_models_that_fit():
    with pytest.raises(ShapeError, match=r"have 256 channels; .* 128 .*pretrained\(\"superpoint\"\)"):
        check(features(5, 256), features(5))
    with pytest.raises(ShapeError, match="NearestNeighbor"):
        check(features(5, 77), features(5, 77))


def test_values_that_are_not_finite():
    damaged = features(5)
    damaged.descriptors[2, 7] = torch.nan
    with pytest.raises(ShapeError, match=r"1 of 5 points have a keypoint, descriptor, .* that is NaN or inf"):
        check(features(6), damaged)


def test_missing_scales():
    with pytest.raises(ShapeError, match="needs the scale and orientation"):
        check(features(5), features(5), shape=replace(ALIKED, add_scale_ori=True))
