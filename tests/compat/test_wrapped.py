import copy
import pickle

import pytest
import torch

from photoglue.errors import ShapeError

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def extractor():
    from photoglue.compat.aliked import ALIKED

    return ALIKED(max_num_keypoints=20, detection_threshold=-1).eval()


@pytest.fixture(scope="module")
def image(motorcycle):
    from photoglue.compat.utils import load_image

    return load_image(motorcycle[0], resize=(96, 128))


def test_a_batch(extractor, image):
    together = extractor({"image": torch.stack([image, image.flip(2)])})
    alone = extractor({"image": image[None]})
    assert together["keypoints"].shape == (2, 20, 2)
    for name, value in alone.items():
        torch.testing.assert_close(together[name][:1], value, atol=1e-5, rtol=0)
    assert "image_size" not in together


def test_padding(extractor, image):
    """Of a padded image, the points of what is not padding."""
    padded = torch.nn.functional.pad(image, (0, 32, 0, 16), value=1.0)
    found = extractor({"image": padded[None], "image_size": torch.tensor([[128.0, 96.0]])})
    assert torch.equal(found["keypoints"], extractor({"image": image[None]})["keypoints"])


@pytest.mark.parametrize(
    "data", [{}, {"image": torch.zeros(3, 8, 8)}, {"image": torch.zeros(0, 3, 8, 8)}, {"image": 3}]
)
def test_no_batch(extractor, data):
    with pytest.raises(ShapeError, match=r'data\["image"\] is .*; it must be a tensor b × c × h × w'):
        extractor(data)


def test_different_numbers_of_points(extractor, image):
    extractor = copy.deepcopy(extractor)
    extractor.conf.detection_threshold = 0.2
    with pytest.raises(ShapeError, match=r"different numbers of points, \[0, 20\], and cannot be stacked"):
        extractor({"image": torch.stack([image, torch.zeros_like(image)])})


@pytest.mark.slow
def test_a_new_conf(extractor, image):
    from types import SimpleNamespace

    extractor = copy.deepcopy(extractor)
    extractor.conf = SimpleNamespace(**{**vars(extractor.conf), "max_num_keypoints": 5})
    assert extractor.extract(image)["keypoints"].shape == (1, 5, 2)


@pytest.mark.slow
def test_copies(extractor, image):
    expected = extractor.extract(image)["keypoints"]
    for other in (copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        assert torch.equal(other.extract(image)["keypoints"], expected)
        other.load_state_dict(extractor.state_dict())
