import pytest

from photoglue.errors import ConfigError

pytest.importorskip("cv2", exc_type=ImportError)


@pytest.fixture
def sift():
    from photoglue.compat.sift import SIFT

    return SIFT(max_num_keypoints=200)


@pytest.fixture(scope="module")
def image(motorcycle):
    from photoglue.compat.utils import load_image

    return load_image(motorcycle[0], resize=300)


def test_conf_is_live(sift, image):
    found = sift.extract(image, resize=None)
    assert found["scales"].shape == found["oris"].shape == (1, 200)
    assert (found["descriptors"] >= 0).all()
    sift.conf.max_num_keypoints = None
    every = sift.extract(image, resize=None)["keypoints"].shape[1]
    sift.conf.nms_radius = 10
    spread = sift.extract(image, resize=None)["keypoints"].shape[1]
    sift.conf.nms_radius, sift.conf.edge_threshold = 0, 2
    round_ = sift.extract(image, resize=None)["keypoints"].shape[1]
    assert every > 200
    assert max(spread, round_) < every
    sift.conf.rootsift = False
    plain = sift.extract(image, resize=None)["descriptors"]
    assert plain.median() < 0.5 * found["descriptors"].median()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("backend", "pycolmap", "backend 'pycolmap' is not supported"), ("edge_threshold", -1, "edge_threshold is -1")],
)
def test_refused(sift, image, name, value, message):
    setattr(sift.conf, name, value)
    with pytest.raises(ConfigError, match=message):
        sift.extract(image)


def test_scales_are_of_the_resized_image(sift, image):
    """Officially too: the matcher gets them as they are."""
    small, large = sift.extract(image, resize=300), sift.extract(image, resize=600)
    assert 1.6 < large["scales"].median() / small["scales"].median() < 2.5
