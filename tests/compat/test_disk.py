import importlib

import pytest

from photoglue.errors import ConfigError

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def disk():
    from photoglue.compat.disk import DISK

    return DISK(max_num_keypoints=50).eval()


def test_conf_is_live(disk, motorcycle):
    from photoglue.compat.utils import load_image

    image = load_image(motorcycle[0], resize=200)
    assert disk.extract(image, resize=None)["keypoints"].shape == (1, 50, 2)
    disk.conf.max_num_keypoints, disk.conf.nms_window_size = None, 5
    many = disk.extract(image, resize=None)["keypoints"].shape[1]
    disk.conf.nms_window_size = 15
    assert 0 < disk.extract(image, resize=None)["keypoints"].shape[1] < many / 2


def test_official_weights(disk, official):
    state = importlib.import_module(f"{official.__name__}.disk").DISK().state_dict()
    assert disk.state_dict().keys() == state.keys()
    disk.load_state_dict(state)


@pytest.mark.parametrize("conf", [{"weights": "epipolar"}, {"desc_dim": 64}])
def test_what_there_is_not(conf):
    from photoglue.compat.disk import DISK

    with pytest.raises(ConfigError, match='the only released DISK is weights="depth" with desc_dim=128'):
        DISK(**conf)
