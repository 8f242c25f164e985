"""A script written for the official package runs on ours, and gets the same."""

import numpy as np
import pytest
import torch

pytestmark = [pytest.mark.weights, pytest.mark.slow]


@pytest.fixture(scope="module")
def compat():
    from photoglue import compat

    return compat


@pytest.fixture(scope="module")
def image(motorcycle):
    """At the extractor's own size, so that only the extraction is compared, not the filter of the resize."""
    import PIL.Image

    pixels = np.asarray(PIL.Image.open(motorcycle[0]))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def both(official, compat, features, **conf):
    return official.LightGlue(features, **conf).eval(), compat.LightGlue(features, **conf).eval()


def as_batch(features, count=1):
    entry = {
        "keypoints": features.keypoints[None],
        "descriptors": features.descriptors[None],
        "image_size": torch.tensor([features.image_size], dtype=torch.float32),
    }
    return {name: value.expand(count, *value.shape[1:]) for name, value in entry.items()}


@pytest.mark.parametrize("conf", [{}, {"depth_confidence": -1, "width_confidence": -1}, {"filter_threshold": 0.3}])
def test_same_dict(official, compat, photos, motorcycle, conf):
    theirs, ours = both(official, compat, "aliked", **conf)
    data = {f"image{i}": as_batch(photos("aliked", path, count=400)) for i, path in enumerate(motorcycle)}
    with torch.no_grad():
        expected, found = theirs(data), ours(data)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert found[name].dtype == value.dtype, name
            torch.testing.assert_close(found[name], value, atol=1e-4, rtol=0)
    assert found["stop"] == expected["stop"]
    assert torch.equal(found["matches"][0], expected["matches"][0])
    torch.testing.assert_close(found["scores"][0], expected["scores"][0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", [torch.tensor, tuple])
def test_one_image_size_for_the_batch(official, compat, photos, motorcycle, form):
    theirs, ours = both(official, compat, "aliked")
    data = {f"image{i}": as_batch(photos("aliked", path, count=200)) for i, path in enumerate(motorcycle)}
    for entry in data.values():
        entry["image_size"] = form(entry["image_size"][0].tolist())
    with torch.no_grad():
        expected, found = theirs(data), ours(data)
    torch.testing.assert_close(found["matching_scores0"], expected["matching_scores0"], atol=1e-4, rtol=0)


def test_batches_of_different_lengths(compat, photos, motorcycle):
    from photoglue.errors import ShapeError

    features = photos("aliked", motorcycle[0], count=9)
    with pytest.raises(ShapeError, match="image0 is a batch of 2, image1 of 1; they must be as many"):
        compat.LightGlue("aliked")({"image0": as_batch(features, 2), "image1": as_batch(features)})


def test_without_image_size(official, compat, photos, motorcycle):
    theirs, ours = both(official, compat, "aliked")
    data = {f"image{i}": as_batch(photos("aliked", path, count=200)) for i, path in enumerate(motorcycle)}
    for entry in data.values():
        del entry["image_size"]
    with torch.no_grad():
        expected, found = theirs(data), ours(data)
    torch.testing.assert_close(found["matching_scores0"], expected["matching_scores0"], atol=1e-4, rtol=0)


def test_a_batch_that_the_official_code_can_do(official, compat, photos, motorcycle):
    theirs, ours = both(official, compat, "aliked", depth_confidence=-1, width_confidence=-1)
    data = {f"image{i}": as_batch(photos("aliked", path, count=100), 3) for i, path in enumerate(motorcycle)}
    with torch.no_grad():
        expected, found = theirs(data), ours(data)
    assert found["matches0"].shape == (3, 100)
    assert torch.equal(found["matches0"], expected["matches0"])
    assert len(found["matches"]) == len(expected["matches"]) == 3


def test_raw_scales(official, compat, photos, motorcycle):
    """Scales and angles of SIFT-like features pass as they are, whatever the size of the image."""
    theirs = official.LightGlue(None, input_dim=128, add_scale_ori=True, filter_threshold=0.0).eval()
    ours = compat.LightGlue(None, input_dim=128, add_scale_ori=True, filter_threshold=0.0).eval()
    state = {name: tensor for name, tensor in theirs.state_dict().items() if name != "confidence_thresholds"}
    ours.net.load_state_dict(state)
    data = {}
    for i, path in enumerate(motorcycle):
        extra = {"scales": torch.rand(1, 100) * 5, "oris": torch.rand(1, 100) * 6}
        data[f"image{i}"] = as_batch(photos("aliked", path, count=100)) | extra
    with torch.no_grad():
        expected, found = theirs(data), ours(data)
    torch.testing.assert_close(found["matching_scores0"], expected["matching_scores0"], atol=1e-5, rtol=0)


def nearest_distances(a, b):
    # By default cdist multiplies out the square, which costs a tenth of a pixel at these coordinates.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)


@pytest.mark.parametrize("resize", [None, "whole"])
def test_aliked(official, compat, image, resize):
    conf = {"resize": None if resize is None else max(image.shape[1:])}
    with torch.no_grad():
        theirs = official.ALIKED().eval().extract(image, **conf)
    ours = compat.ALIKED().eval().extract(image, **conf)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].ndim == value.ndim for name, value in theirs.items())
    assert torch.equal(ours["image_size"], theirs["image_size"])
    assert abs(ours["keypoints"].shape[1] - theirs["keypoints"].shape[1]) <= 2
    assert (nearest_distances(theirs["keypoints"][0], ours["keypoints"][0]) < 0.05).float().mean() > 0.995


def test_disk(official, compat, image):
    theirs = official.DISK(max_num_keypoints=500).eval()
    with torch.no_grad():
        expected = theirs.extract(image, resize=None)
    ours = compat.DISK(max_num_keypoints=500).extract(image, resize=None)
    assert ours.keys() == expected.keys()
    assert (nearest_distances(expected["keypoints"][0], ours["keypoints"][0]) < 0.05).float().mean() > 0.97


def test_sift(official, compat, image):
    """The same points; sizes and angles in the units that the matcher was trained on, unlike there."""
    expected = official.SIFT(max_num_keypoints=500).extract(image, resize=None)
    ours = compat.SIFT(max_num_keypoints=500).extract(image, resize=None)
    assert ours.keys() == expected.keys()
    near = torch.cdist(expected["keypoints"][0].double(), ours["keypoints"][0].double()).min(dim=1)
    close = near.values < 0.6
    assert close.float().mean() > 0.98
    ratio = expected["scales"][0][close] / ours["scales"][0][near.indices[close]]
    assert ratio.median() == pytest.approx(2, abs=1e-3)


def test_whole_script(compat, motorcycle):
    """The official README, with one import changed."""
    extractor = compat.ALIKED(max_num_keypoints=512).eval().to("cpu")
    matcher = compat.LightGlue(features="aliked").eval().to("cpu")
    image0, image1 = (compat.load_image(path) for path in motorcycle)
    feats0, feats1 = extractor.extract(image0), extractor.extract(image1)
    matches01 = matcher({"image0": feats0, "image1": feats1})
    feats0, feats1, matches01 = (compat.rbd(x) for x in (feats0, feats1, matches01))
    points0 = feats0["keypoints"][matches01["matches"][..., 0]]
    points1 = feats1["keypoints"][matches01["matches"][..., 1]]
    assert len(points0) > 100
    assert ((points0 - points1)[:, 1].abs() < 3).float().mean() > 0.9  # rectified: rows agree
    again = compat.match_pair(extractor, matcher, image0, image1)
    assert torch.equal(again[2]["matches"], matches01["matches"])
    assert again[0]["keypoints"].shape == feats0["keypoints"].shape


def test_forward_of_a_batch(compat, image):
    extractor = compat.ALIKED(max_num_keypoints=50, detection_threshold=-1)
    out = extractor({"image": torch.stack([image, image.flip(2)])})
    assert out["keypoints"].shape == (2, 50, 2)
    assert out["descriptors"].shape == (2, 50, 128)


class TestErrors:
    def test_options(self, compat):
        from photoglue.errors import ConfigError

        with pytest.raises(ConfigError, match=r"LightGlue has no option 'depth_confidnce'\. Did you mean 'depth_conf"):
            compat.LightGlue("aliked", depth_confidnce=0.9)
        with pytest.raises(ConfigError, match=r"ALIKED has no option 'max_keypoints'\. Did you mean 'max_num"):
            compat.ALIKED(max_keypoints=3)
        with pytest.raises(ConfigError, match="backend 'pycolmap' is not supported"):
            compat.SIFT(backend="pycolmap")

    def test_superpoint_asks(self, compat):
        from photoglue.errors import LicenceError

        with pytest.raises(LicenceError, match="allow_noncommercial=True"):
            compat.SuperPoint()

    def test_missing_batch_axis(self, compat, photos, motorcycle):
        from photoglue.errors import ShapeError

        entry = compat.rbd(as_batch(photos("aliked", motorcycle[0], count=9)))
        with pytest.raises(ShapeError, match="it must have a batch axis"):
            compat.LightGlue("aliked")({"image0": entry, "image1": entry})
        with pytest.raises(ShapeError, match="no 'image1'"):
            compat.LightGlue("aliked")({"image0": as_batch(photos("aliked", motorcycle[0], count=9))})


def test_own_weights_decide_the_shape(tmp_path):
    from photoglue import LightGlue, LightGlueShape, compat
    from photoglue.errors import ConfigError

    path = tmp_path / "small.safetensors"
    LightGlue(shape=LightGlueShape.edge(input_dim=64)).save(path)
    assert compat.LightGlue(None, weights=path, input_dim=64).net.shape.n_layers == 5
    for asked in ({"input_dim": 128}, {"n_layers": 9}):
        with pytest.raises(ConfigError, match=f"{next(iter(asked))} is"):
            compat.LightGlue(None, weights=path, **asked)
