"""With random weights: the released ones may not be had without asking."""

import pytest
import torch

from photoglue.errors import LicenceError


@pytest.fixture
def superpoint(monkeypatch):
    from photoglue import extractors
    from photoglue.compat import superpoint, wrapped

    def random(name, *, allow_noncommercial, **options):
        assert (name, allow_noncommercial) == ("superpoint", True)
        return extractors.SuperPoint(extractors.SuperPointConfig(**options))

    monkeypatch.setattr(wrapped, "create_extractor", random)
    return superpoint.SuperPoint(allow_noncommercial=True, max_num_keypoints=40, detection_threshold=0.0)


def test_conf_is_live(superpoint):
    image = torch.rand(3, 64, 80)
    assert superpoint.extract(image, resize=None)["keypoints"].shape == (1, 40, 2)
    superpoint.conf.max_num_keypoints = -1
    superpoint.conf.remove_borders = 20
    points = superpoint.extract(image, resize=None)["keypoints"][0]
    assert len(points) > 0
    assert points.min() >= 20
    assert (points < torch.tensor([60.0, 44.0])).all()
    superpoint.conf.remove_borders = 0
    assert superpoint.extract(image, resize=None)["keypoints"].min() < 4


def test_names_of_weights(superpoint):
    assert "conv1a.weight" in superpoint.state_dict()


def test_it_asks():
    from photoglue.compat.superpoint import SuperPoint

    with pytest.raises(LicenceError, match="allow_noncommercial=True"):
        SuperPoint()
