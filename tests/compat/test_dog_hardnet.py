"""With random weights: the released ones may not be had without asking."""

import pytest

pytest.importorskip("cv2", exc_type=ImportError)


def test_conf_is_live(monkeypatch, motorcycle):
    from photoglue import extractors
    from photoglue.compat import dog_hardnet, wrapped
    from photoglue.compat.utils import load_image

    def random(name, *, allow_noncommercial, **options):
        assert (name, allow_noncommercial) == ("doghardnet", True)
        return extractors.DoGHardNet(extractors.DoGHardNetConfig(**options)).eval()

    monkeypatch.setattr(wrapped, "create_extractor", random)
    extractor = dog_hardnet.DoGHardNet(allow_noncommercial=True, max_num_keypoints=30)
    image = load_image(motorcycle[0], resize=200)
    assert extractor.extract(image, resize=None)["descriptors"].shape == (1, 30, 128)
    extractor.conf.max_num_keypoints = 7
    assert extractor.extract(image, resize=None)["scales"].shape == (1, 7)
    assert all(name.startswith("laf_desc.descriptor.") for name in extractor.state_dict())


def test_names_of_weights(official):
    """Those of kornia's HardNet, where the official class keeps it."""
    from kornia.feature import HardNet

    from photoglue.extractors import DoGHardNet

    ours = {name.removeprefix("hardnet.") for name in DoGHardNet().state_dict()}
    assert ours == set(HardNet(pretrained=False).state_dict())
