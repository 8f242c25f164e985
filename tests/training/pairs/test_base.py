"""Pairs: they carry what is given, on one device, and sources are written by others."""

import pytest
import torch

from photoglue.geometry.camera import PinholeCamera
from photoglue.structs import Features
from photoglue.training.pairs.base import HomographyPair, PairSource, PosedPair


def _features(n):
    return Features(
        keypoints=torch.rand(n, 2), descriptors=torch.rand(n, 8), scores=torch.rand(n), image_size=(640, 480)
    )


def test_pairs_are_moved_as_a_whole():
    """Features inside them, too: a pair half on another device fails only deep in the matcher."""
    camera = PinholeCamera(fx=500.0, fy=500.0, cx=320.0, cy=240.0, image_size=(640, 480))
    pairs = [
        HomographyPair(
            features0=_features(3), features1=_features(0), image1_from_image0=torch.eye(3, dtype=torch.float64)
        ),
        PosedPair(
            features0=_features(3),
            features1=_features(2),
            depths0=torch.rand(3),
            depths1=torch.rand(2),
            camera0=camera,
            camera1=camera,
            cam1_from_cam0=torch.eye(4, dtype=torch.float64),
        ),
    ]
    for pair in pairs:
        moved = pair.to("meta")
        for name, value in vars(moved).items():
            if isinstance(value, Features):
                assert value.keypoints.device.type == "meta", name
            elif isinstance(value, torch.Tensor):
                assert value.device.type == "meta", name
        assert pair.features0.keypoints.device.type == "cpu"


def test_the_geometry_has_keypoints_where_they_are_without_distortion():
    camera = PinholeCamera(fx=500.0, fy=500.0, cx=320.0, cy=240.0, image_size=(640, 480))
    features, straight = _features(3), torch.rand(3, 2)
    pair = PosedPair(
        features0=features,
        features1=features,
        depths0=torch.rand(3),
        depths1=torch.rand(3),
        camera0=camera,
        camera1=camera,
        cam1_from_cam0=torch.eye(4, dtype=torch.float64),
        straight1=straight,
    )
    assert torch.equal(pair.points0, features.keypoints)
    assert torch.equal(pair.points1, straight)
    assert pair.to("meta").points1.device.type == "meta"


def test_a_source_must_say_its_length_and_give_pairs():
    class Half(PairSource):
        def __len__(self):
            return 1

    with pytest.raises(TypeError, match="pair"):
        Half()
