"""Plain ALIKED, DISK and SuperPoint against the extractors; no ONNX here."""

import pytest
import torch
from torch.nn import functional

from photoglue.export.networks import plain_extractor
from photoglue.extractors import create_extractor
from photoglue.extractors.sift import SIFT
from photoglue.extractors.superpoint import SuperPoint
from photoglue.image import load_image


def compare(extractor, image, count=100, *, native=False):
    expected = extractor.detect(image)[0]
    with torch.no_grad():
        points, scores, descriptors = (each[0] for each in plain_extractor(extractor, count, native=native)(image))
    assert len(points) == count
    kept = scores > 0
    order = scores[kept].argsort(descending=True, stable=True)
    points, scores, descriptors = (each[kept][order] for each in (points, scores, descriptors))
    assert len(points) == len(expected) > 5
    # By a matrix product, its default, cdist would be wrong by 0.05 pixels.
    distances = torch.cdist(expected.keypoints, points, compute_mode="donot_use_mm_for_euclid_dist")
    distance, same = distances.min(dim=1)
    assert distance.max() < 1e-3
    assert torch.allclose(expected.scores, scores[same], atol=5e-5, rtol=1e-4)
    assert (expected.descriptors * descriptors[same]).sum(dim=1).min() > 0.9999


@pytest.fixture(scope="module")
def photo(astronaut):
    return load_image(astronaut)[:, 20:170, 150:297][None]  # not multiples of 8


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("name", ["aliked", "aliked-t16", "disk"])
@pytest.mark.parametrize("size", [(150, 147), (61, 40)])
def test_is_the_extractor(photo, name, size):
    image = functional.interpolate(photo, size, mode="bilinear", antialias=True)
    compare(create_extractor(name, max_keypoints=100, precision="float32"), image)


def test_superpoint_of_random_weights(photo):
    gray = photo.mean(dim=1, keepdim=True)[:, :, :144, :144]
    extractor = SuperPoint().eval().requires_grad_(False)
    extractor.config = extractor.config.__class__(max_keypoints=100, precision="float32")
    compare(extractor, gray)


@pytest.mark.weights
def test_plain_photo_has_no_points():
    extractor = create_extractor("aliked", precision="float32")
    with torch.no_grad():
        _, scores, _ = plain_extractor(extractor, 20, native=False)(torch.full((1, 3, 40, 50), 0.5))
    assert (scores == 0).all()


def test_others_have_none():
    pytest.importorskip("cv2", exc_type=ImportError)
    assert plain_extractor(SIFT(), 10, native=False) is None
