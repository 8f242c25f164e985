import pytest
import torch


def features(descriptors, kind=None):
    from photoglue.structs import Features

    n = len(descriptors)
    return Features(
        keypoints=torch.rand(n, 2), descriptors=descriptors, scores=torch.ones(n), image_size=(10, 10), kind=kind
    )


def test_against_opencv():
    """OpenCV's brute-force matcher, with cross check and with the ratio test."""
    cv2 = pytest.importorskip("cv2")
    from photoglue.matchers.nearest import NearestNeighbor

    a, b = (torch.nn.functional.normalize(torch.randn(n, 16), dim=1) for n in (60, 80))
    mutual = {(m.queryIdx, m.trainIdx) for m in cv2.BFMatcher(cv2.NORM_L2, True).match(a.numpy(), b.numpy())}
    found = NearestNeighbor().match(features(a), features(b))
    assert {tuple(pair) for pair in found.indices.tolist()} == mutual
    assert torch.equal(found.matches1[found.indices[:, 1]], found.indices[:, 0])
    two = cv2.BFMatcher(cv2.NORM_L2).knnMatch(a.numpy(), b.numpy(), k=2)
    passed = {(m.queryIdx, m.trainIdx) for m, second in two if m.distance < 0.9 * second.distance}
    found = NearestNeighbor(ratio=0.9).match(features(a), features(b))
    assert {tuple(pair) for pair in found.indices.tolist()} == mutual & passed
    cosine = (a[found.indices[:, 0]] * b[found.indices[:, 1]]).sum(dim=1)
    torch.testing.assert_close(found.scores, (cosine + 1) / 2)


@pytest.mark.parametrize(("m", "n"), [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_small_sets(m, n):
    from photoglue.matchers.nearest import NearestNeighbor

    found = NearestNeighbor(ratio=0.8).match(features(torch.ones(m, 4)), features(torch.ones(n, 4)))
    assert found.matches0.shape == (m,)
    assert len(found) == min(m, n)


def test_bad_input():
    from photoglue.errors import ConfigError, FeatureKindError
    from photoglue.matchers.nearest import NearestNeighbor

    with pytest.raises(FeatureKindError, match="different features: 'disk' of 8 channels, 'sift-opencv' of 4"):
        NearestNeighbor().match(features(torch.ones(2, 8), "disk"), features(torch.ones(2, 4), "sift-opencv"))
    with pytest.raises(ConfigError, match=r"ratio is 1\.5"):
        NearestNeighbor(ratio=1.5)
