import importlib

import pytest
import torch

from photoglue.errors import ConfigError, PhotoGlueWarning

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def image(motorcycle):
    from photoglue.compat.utils import load_image

    return load_image(motorcycle[0], resize=400)


@pytest.fixture
def extractor():
    from photoglue.compat.aliked import ALIKED

    return ALIKED(max_num_keypoints=64).eval()


@pytest.fixture(scope="module")
def theirs(official):
    return importlib.import_module(f"{official.__name__}.aliked").ALIKED


def near(a, b, px=0.05):
    """Which share of the points of ``a`` has one of ``b`` beside it."""
    distances = torch.cdist(a["keypoints"][0], b["keypoints"][0], compute_mode="donot_use_mm_for_euclid_dist")
    return float((distances.amin(dim=1) < px).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize("conf", [{"resize": 160}, {"resize": 512}, {"resize": 160, "side": "short"}], ids=str)
def test_other_sizes_too(extractor, theirs, image, conf):
    """The filter of the resize is the official one."""
    expected = theirs(max_num_keypoints=64).eval().extract(image, **conf)
    found = extractor.extract(image, **conf)
    assert found.keys() == expected.keys()
    assert torch.equal(found["image_size"], expected["image_size"])
    assert found["keypoints"].shape == expected["keypoints"].shape
    assert near(expected, found) > 0.96


@pytest.mark.slow
def test_conf_is_live(extractor, image):
    assert vars(extractor.conf)["max_num_keypoints"] == 64
    extractor.conf.max_num_keypoints = 10
    few = extractor.extract(image)
    assert few["keypoints"].shape == (1, 10, 2)
    extractor.conf.max_num_keypoints = -1
    all_ = extractor.extract(image)
    assert all_["keypoints"].shape[1] > 64
    extractor.conf.detection_threshold = 0.6
    assert 0 < extractor.extract(image)["keypoints"].shape[1] < all_["keypoints"].shape[1]
    extractor.conf.detection_threshold, extractor.conf.nms_radius = 0.2, 8
    assert extractor.extract(image)["keypoints"].shape[1] < all_["keypoints"].shape[1]


@pytest.mark.slow
def test_preprocess_conf_is_live(extractor, image):
    default, small = extractor.extract(image, resize=1024), extractor.extract(image, resize=200)
    assert torch.equal(extractor.extract(image)["keypoints"], default["keypoints"])
    extractor.preprocess_conf = {"resize": 200}
    assert torch.equal(extractor.extract(image)["keypoints"], small["keypoints"])
    assert not torch.equal(small["keypoints"], default["keypoints"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_num_keypoints", "many", "max_num_keypoints is 'many'; it must be a number"),
        ("max_num_keypoint", 3, r"ALIKED has no option 'max_num_keypoint'\. Did you mean 'max_num_keypoints'"),
        ("model_name", "aliked-n32", r"conf.model_name was set to 'aliked-n32', but this ALIKED was built with"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_next_call(extractor, image, name, value, message):
    setattr(extractor.conf, name, value)
    with pytest.raises(ConfigError, match=message):
        extractor.extract(image)


def test_other_extractors_are_no_models_of_it():
    from photoglue.compat.aliked import ALIKED

    with pytest.raises(ConfigError, match="model_name is 'disk'; it must be one of ALIKED's"):
        ALIKED(model_name="disk")


def test_official_weights(extractor, theirs):
    state = theirs().state_dict()
    assert extractor.state_dict().keys() == state.keys()
    zeros = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    extractor.load_state_dict(zeros)
    assert all((tensor == 0).all() for tensor in extractor.net.state_dict().values())


@pytest.mark.slow
def test_describe(extractor, theirs, image):
    """Official where the image is as it is; at any other size a point has the descriptor that it was extracted with."""
    points = torch.tensor([[[10.3, 20.6], [200.0, 150.5], [390.9, 250.0]]])
    expected = theirs().eval().describe(points, image, resize=None)
    found = extractor.describe(points, image, resize=None)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    features = extractor.extract(image, resize=300)
    again = extractor.describe(features["keypoints"], image, resize=300)
    torch.testing.assert_close(again, features["descriptors"], atol=1e-4, rtol=0)


def test_describe_speaks_of_the_image_as_it_came(extractor, image):
    height, width = image.shape[1:]
    points = torch.tensor([[5.0, 5.0], [width + 40.0, 10.0]])
    with pytest.warns(PhotoGlueWarning, match=rf"1 of 2 points lie outside the image of {width} × {height} pixels"):
        found = extractor.describe(points, image, resize=200)
    at_border = extractor.describe(torch.tensor([[width - 1.0, 10.0]]), image, resize=200)
    torch.testing.assert_close(found[:, 1:], at_border, atol=1e-5, rtol=0)
