"""What all extractors do alike, with a small one that any machine can run, and with the real ones where it matters."""

import copy
import weakref

import numpy as np
import pytest
import torch


def small(config=None):
    """An extractor whose only point is the brightest pixel."""
    from photoglue.extractors.base import Extractor, ExtractorConfig
    from photoglue.structs import Features

    class Brightest(Extractor):
        kind, descriptor_dim = "brightest", 3

        def __init__(self):
            super().__init__(config or ExtractorConfig(resize=None))
            self.passes, self.alive = [], weakref.WeakSet()

        def detect(self, images, masks=None):
            self.passes.append(len(images))
            features = []
            for image in images:
                row = int(image[0].argmax())
                x, y = row % image.shape[2], row // image.shape[2]
                features.append(
                    Features(
                        keypoints=torch.tensor([[float(x), float(y)]]),
                        descriptors=(image[None, :, y, x] @ torch.eye(3)).float(),
                        scores=torch.ones(1),
                        image_size=(image.shape[2], image.shape[1]),
                    )
                )
            return features

    return Brightest()


def photo(number, width=6):
    image = np.zeros((4, width, 3), np.uint8)
    image[number % 4, number // 4] = 255
    return image


def place(features):
    return features.keypoints[0].int().tolist()


class TestManyImages:
    def test_order_and_passes(self):
        extractor = small()
        images = [photo(i, width=6 + i % 2) for i in range(20)]
        found = extractor.extract_many(images, batch_size=4)
        assert [place(features) for features in found] == [[i // 4, i % 4] for i in range(20)]
        assert [features.image_size for features in found] == [(6 + i % 2, 4) for i in range(20)]
        assert extractor.passes == [4, 4, 4, 4, 2, 2]

    def test_few_images_are_held_at_a_time(self, monkeypatch):
        from photoglue.decode import Photo
        from photoglue.extractors import base

        alive = []

        def load(path):
            image = torch.zeros(3, 4, 30 + int(path) % 30)  # hardly two of a size
            alive.append(weakref.ref(image))
            most.append(sum(reference() is not None for reference in alive))
            return Photo(image=image)

        most = []
        monkeypatch.setattr(base, "load_photo", load)
        found = small().extract_many([str(i) for i in range(100)], batch_size=5)
        assert len(found) == 100
        assert max(most) <= 11

    def test_bad_input(self, as_a_user):
        from photoglue.errors import ConfigError, ImageError

        with pytest.raises(ImageError, match=r"extract_many takes a list of images; for 'a\.jpg' alone use extract"):
            small().extract_many("a.jpg")
        with pytest.raises(ConfigError, match="batch_size is 0"):
            small().extract_many([photo(0)], batch_size=0)
        assert small().extract_many([]) == []


def test_autocast_changes_nothing():
    image = torch.rand(3, 8, 9)
    wanted = small().extract(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = small().extract(image)
    assert torch.equal(found.descriptors, wanted.descriptors)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["aliked-t16", "disk"])
def test_autocast_changes_nothing_in_networks(name, astronaut):
    from photoglue.extractors import create_extractor

    extractor = create_extractor(name, max_keypoints=50, resize=160, precision="float32")
    wanted = extractor.extract(astronaut)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = extractor.extract(astronaut)
        again = extractor.describe(astronaut, found.keypoints)
    assert torch.equal(found.keypoints, wanted.keypoints)
    assert torch.equal(found.descriptors, wanted.descriptors)
    torch.testing.assert_close(again.descriptors, wanted.descriptors, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["ALIKED", "DISK", "SuperPoint", "DoGHardNet"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_converted_weights_are_refused(name, dtype):
    import photoglue
    from photoglue.errors import ConfigError

    extractor = getattr(photoglue, name)().eval()
    with pytest.raises(ConfigError, match=rf"The weights are {dtype}; .* precision="):
        copy.deepcopy(extractor).to(dtype).extract(torch.rand(3, 64, 64))


@pytest.mark.weights
def test_another_default_type_changes_nothing(astronaut):
    from photoglue.extractors import create_extractor

    options = {"max_keypoints": 50, "resize": 160, "precision": "float32"}
    wanted = create_extractor("aliked-t16", **options).extract(astronaut)
    torch.set_default_dtype(torch.float64)
    try:
        found = create_extractor("aliked-t16", **options).extract(astronaut)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.descriptors.dtype == torch.float32
    assert torch.equal(found.keypoints, wanted.keypoints)


@pytest.mark.parametrize("change", ["type", "device"])
def test_defaults_of_torch_do_not_matter_to_sift(change, astronaut):
    pytest.importorskip("cv2", exc_type=ImportError)
    from photoglue.extractors.sift import SIFT, SIFTConfig

    extractor = SIFT(SIFTConfig(max_keypoints=50, resize=160))
    wanted = extractor.extract(astronaut)
    try:
        if change == "type":
            torch.set_default_dtype(torch.float64)
        else:
            torch.set_default_device("meta")
        found = extractor.extract(astronaut)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.equal(found.keypoints, wanted.keypoints)


def test_hardnet_never_trains():
    """Dropout, and statistics of the patches at hand, would give other descriptors at each call."""
    from photoglue.extractors.doghardnet import HardNet

    patches = torch.rand(5, 32, 32)
    network = HardNet()
    with torch.no_grad():
        wanted = network(patches)
        assert torch.equal(network.train()(patches), wanted)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.tensor([[1.0, float("nan")]]), "Some points are NaN or infinite"),
        (np.zeros((2, 2), np.float32), "points are a ndarray; they must be a torch.Tensor"),
    ],
)
def test_points_that_cannot_be_described(as_a_user, points, message):
    from photoglue.errors import ShapeError
    from photoglue.extractors.disk import DISK

    with pytest.raises(ShapeError, match=message):
        DISK().describe(torch.rand(3, 32, 32), points)


@pytest.mark.parametrize("change", [{"max_keypoints": 2e3}, {"resize": "1024"}, {"nms_radius": 2.5}])
def test_numbers_that_are_not_whole(as_a_user, change):
    from photoglue.errors import ConfigError
    from photoglue.extractors.base import ExtractorConfig

    with pytest.raises(ConfigError, match=f"{next(iter(change))} is .*; it must be a whole number"):
        ExtractorConfig(**change)
