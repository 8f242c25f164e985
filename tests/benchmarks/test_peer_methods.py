"""Peers give what they give elsewhere."""

import numpy as np
import pytest
import torch


@pytest.fixture
def features():
    from photoglue import Features

    def make(descriptors):
        points = torch.arange(2 * len(descriptors), dtype=torch.float32).reshape(-1, 2)
        return Features.from_arrays(points, torch.tensor(descriptors), (100, 90))

    return make


def test_opencvs_ratio_test(features):
    """Distances of image 0's points: 0 (second 5); 2 to the same, which has a nearer (second 3.6); 2.4 (second 2.6)."""
    from peer_methods import OpenCVRatio

    first, second = features([[0.0, 0.0], [0.0, 2.0], [1.6, 2.0]]), features([[0.0, 0.0], [3.0, 4.0], [4.0, 5.0]])
    (found,) = OpenCVRatio().match_many([(first, second)])
    assert found.indices.tolist() == [[0, 0]]
    (far,) = OpenCVRatio().match_many([(first[1:], second)])
    assert far.indices.tolist() == [[0, 0]]  # the other one gets it if it is alone
    (none,) = OpenCVRatio().match_many([(first, second[:1])])
    assert len(none) == 0


@pytest.mark.slow
def test_opencvs_sift_is_opencvs(photos):
    import cv2
    from peer_methods import OpenCVSIFT

    from photoglue.extractors.base import ExtractorConfig

    gray = cv2.cvtColor(photos[0][0], cv2.COLOR_BGR2GRAY)
    points, descriptors = cv2.SIFT_create(nfeatures=100).detectAndCompute(gray, None)
    image = torch.from_numpy(gray)[None].float() / 255
    found = OpenCVSIFT(ExtractorConfig(max_keypoints=100, resize=None)).extract(image)
    count = min(100, len(points))
    assert found.keypoints.tolist() == [pytest.approx(point.pt) for point in points[:count]]
    assert np.array_equal(found.descriptors.numpy(), descriptors[:count])
    assert len(OpenCVSIFT(ExtractorConfig()).extract(torch.zeros(1, 64, 64))) == 0


@pytest.mark.weights
@pytest.mark.rare
def test_the_official_peer_matches_as_we_do(official, motorcycle):
    from peer_methods import PEERS

    from photoglue import ALIKED, ALIKEDConfig
    from photoglue.evaluation.methods import Method
    from photoglue.evaluation.protocols import protocol_named

    extractor = ALIKED.pretrained(ALIKEDConfig(max_keypoints=200, resize=512, precision="float32"))
    pair = tuple(extractor.extract(path) for path in motorcycle)
    device = torch.device("cpu")
    methods = (PEERS["official"](), Method.parse("aliked+lightglue@float32"))
    protocol = protocol_named("photoglue", "relative_pose")
    theirs, ours = (
        method.build(protocol, device, allow_noncommercial=False).matcher.match(*pair) for method in methods
    )
    assert len(ours) > 50
    assert torch.equal(theirs.matches0, ours.matches0)
    assert torch.equal(theirs.matches1, ours.matches1)
    names = ("extractor", "precision", "device")
    theirs, ours = (method.fingerprint(device) for method in methods)
    assert [theirs[name] for name in names] == [ours[name] for name in names]  # they share the features
    assert theirs != ours  # but not the journal
