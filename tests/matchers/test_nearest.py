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
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
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


def test_an_unknown_kind_fits_any():
    from photoglue.matchers.nearest import NearestNeighbor

    assert len(NearestNeighbor().match(features(torch.eye(3), "mine"), features(torch.eye(3)))) == 3


def test_of_equal_rivals_the_first_is_taken():
    """Each point is matched once, however many have the same descriptor."""
    from photoglue.matchers.nearest import NearestNeighbor

    twice = features(torch.eye(3).repeat(2, 1))
    found = NearestNeighbor().match(twice, twice)
    assert found.matches0.tolist() == [0, 1, 2, -1, -1, -1]
    assert found.matches1.tolist() == [0, 1, 2, -1, -1, -1]


def test_autocast_changes_nothing():
    from photoglue.matchers.nearest import NearestNeighbor

    pair = [features(torch.randn(100, 64)) for _ in range(2)]
    wanted = NearestNeighbor().match(*pair)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = NearestNeighbor().match(*pair)
    assert torch.equal(found.matching_scores0, wanted.matching_scores0)


def test_two_devices(as_a_user):
    from photoglue.errors import ShapeError
    from photoglue.matchers import nearest

    there = features(torch.eye(3)).to("meta")
    with pytest.raises(ShapeError, match=r"The images are on cpu and meta\. Use features\.to\(device\)"):
        nearest.NearestNeighbor()._match(features(torch.eye(3)), there)
