"""Results are compared with the official functions."""

import importlib

import numpy as np
import PIL.Image
import pytest
import torch

from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning, ShapeError


@pytest.fixture(scope="module")
def utils():
    from photoglue.compat import utils

    return utils


@pytest.fixture(scope="module")
def theirs(official):
    return importlib.import_module(f"{official.__name__}.utils")


@pytest.fixture(scope="module")
def pixels(motorcycle):
    return np.asarray(PIL.Image.open(motorcycle[0]).convert("RGB"))


class TestImagePreprocessor:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "conf",
        [
            {},
            {"resize": None},
            {"resize": 320},
            {"resize": 1024},
            {"resize": (200, 300)},
            {"resize": [900, 100]},
            {"resize": 300, "side": "short"},
            {"resize": 300, "side": "vert"},
            {"resize": 300, "side": "horz"},
            {"resize": 300, "antialias": False},
            {"resize": 300, "align_corners": True},
            {"resize": 37},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("turned", [False, True])
    def test_as_officially(self, utils, theirs, pixels, conf, turned):
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255
        image = image.transpose(2, 3) if turned else image
        expected, expected_scale = theirs.ImagePreprocessor(**conf)(image)
        found, scale = utils.ImagePreprocessor(**conf)(image)
        assert found.shape == expected.shape
        assert torch.equal(scale, expected_scale)
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)

    def test_conf_is_live(self, utils, theirs):
        preprocess = utils.ImagePreprocessor(resize=8)
        assert vars(preprocess.conf) == vars(theirs.ImagePreprocessor(resize=8).conf)
        preprocess.conf.resize, preprocess.conf.side = 16, "short"
        assert preprocess(torch.zeros(3, 8, 12))[0].shape == (3, 16, 24)

    def test_slim_images(self, utils):
        assert utils.ImagePreprocessor(resize=5)(torch.rand(1, 1, 100))[0].shape == (1, 1, 5)
        assert utils.ImagePreprocessor(resize=5)(torch.rand(100, 2))[0].shape == (5, 1)

    @pytest.mark.parametrize(
        ("conf", "message"),
        [
            ({"resize": 0}, "resize is 0; it must be a length in pixels"),
            ({"resize": 1.5}, r"resize is 1\.5; it must be"),
            ({"resize": (1, 2, 3)}, r"resize is \(1, 2, 3\); it must be"),
            ({"side": "left"}, "side is 'left'; it must be \"long\""),
            ({"interpolation": "area"}, "interpolation is 'area'; only"),
            ({"size": 3}, r"preprocessing has no option 'size'\. Did you mean 'resize'"),
        ],
    )
    def test_refused(self, utils, conf, message):
        with pytest.raises(ConfigError, match=message):
            utils.ImagePreprocessor(**conf)(torch.zeros(3, 4, 4))


class TestReading:
    def test_read_image(self, utils, theirs, motorcycle, pixels):
        assert np.array_equal(utils.read_image(motorcycle[0]), theirs.read_image(motorcycle[0]))
        gray = utils.read_image(motorcycle[0], grayscale=True)
        expected = theirs.read_image(motorcycle[0], grayscale=True)
        assert gray.shape == expected.shape
        assert gray.dtype == expected.dtype
        assert np.abs(gray.astype(int) - expected).max() <= 1

    def test_a_photo_on_its_side(self, utils, theirs, tmp_path, pixels):
        exif = PIL.Image.Exif()
        exif[274] = 6
        path = tmp_path / "a.png"
        PIL.Image.fromarray(pixels).save(path, exif=exif)
        assert np.array_equal(utils.read_image(path), theirs.read_image(path))
        assert utils.read_image(path).shape[0] > utils.read_image(path).shape[1]

    def test_a_gray_file_has_three_channels(self, utils, tmp_path, pixels):
        path = tmp_path / "a.png"
        PIL.Image.fromarray(pixels[..., 0]).save(path)
        assert np.array_equal(utils.read_image(path), np.repeat(pixels[..., :1], 3, axis=2))
        assert np.array_equal(utils.read_image(path, grayscale=True), pixels[..., 0])

    def test_no_file(self, utils, tmp_path):
        with pytest.raises(ImageError, match="There is no file"):
            utils.read_image(tmp_path / "a.png")

    @pytest.mark.parametrize(
        "conf",
        [
            {},
            {"resize": 300},
            {"resize": 300, "fn": "min"},
            {"resize": (200, 333)},
            {"resize": 900, "interp": "linear"},
            {"resize": 300, "interp": "nearest"},
            {"resize": 300, "interp": "cubic"},
        ],
        ids=str,
    )
    def test_load_image(self, utils, theirs, motorcycle, conf):
        assert torch.equal(utils.load_image(motorcycle[0], **conf), theirs.load_image(motorcycle[0], **conf))

    def test_load_image_gray(self, utils, motorcycle):
        image = utils.load_image(motorcycle[0], resize=(20, 30), grayscale=True)
        assert image.shape == (1, 20, 30)
        assert 0.2 < image.mean() < 0.8

    @pytest.mark.parametrize("size", [300, (200, 333)])
    def test_resize_image(self, utils, theirs, pixels, size):
        (found, scale), (expected, expected_scale) = utils.resize_image(pixels, size), theirs.resize_image(pixels, size)
        assert np.array_equal(found, expected)
        assert scale == expected_scale

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"size": 30, "fn": "mean"}, "fn is 'mean'; it must be one of max, min"),
            ({"size": 30, "interp": "box"}, "interp is 'box'; it must be one of area, linear"),
            ({"size": (1, 2, 3)}, r"size is \(1, 2, 3\); it must be \(height, width\)"),
            ({"size": -3}, "resize is -3"),
        ],
    )
    def test_refused(self, utils, pixels, arguments, message):
        with pytest.raises(ConfigError, match=message):
            utils.resize_image(pixels, **arguments)


class TestTensors:
    def test_numpy_image_to_torch(self, utils, theirs, pixels):
        assert torch.equal(utils.numpy_image_to_torch(pixels), theirs.numpy_image_to_torch(pixels))
        assert torch.equal(utils.numpy_image_to_torch(pixels[..., 0]), theirs.numpy_image_to_torch(pixels[..., 0]))
        backwards = pixels[..., ::-1]
        assert torch.equal(utils.numpy_image_to_torch(backwards), theirs.numpy_image_to_torch(backwards))

    def test_neither(self, utils):
        with pytest.raises(ShapeError, match=r"shape \(3,\); an image is h × w × c or h × w"):
            utils.numpy_image_to_torch(np.zeros(3))

    def test_divided_already(self, utils, pixels):
        with pytest.warns(PhotoGlueWarning, match="values up to 1, and is divided by 255: it will be black"):
            utils.numpy_image_to_torch(pixels / 255)

    def test_rbd(self, utils, theirs):
        data = {"a": torch.rand(1, 3), "b": np.ones((1, 2)), "c": [[4]], "stop": 3}
        found, expected = utils.rbd(data), theirs.rbd(data)
        assert list(found) == list(expected)
        assert found["a"].shape == (3,)
        assert found["b"].shape == (2,)
        assert (found["c"], found["stop"]) == ([4], 3)

    def test_batch_to_device(self, utils):
        batch = {
            "a": torch.ones(2, requires_grad=True),
            "b": [torch.zeros(1), {"c": torch.zeros(2)}],
            "d": "word",
            "e": 3,
        }
        moved = utils.batch_to_device(batch, "meta")
        assert moved["a"].device.type == moved["b"][0].device.type == moved["b"][1]["c"].device.type == "meta"
        assert not moved["a"].requires_grad
        assert (moved["d"], moved["e"]) == ("word", 3)
        assert utils.map_tensor((torch.ones(1), b"x"), lambda x: x + 1) == [torch.full((1,), 2.0), b"x"]


class TestExtractor:
    """An extractor of one's own, written for the official base class."""

    @pytest.fixture(params=["ours", "theirs"])
    def corners(self, request, utils):
        base = (utils if request.param == "ours" else request.getfixturevalue("theirs")).Extractor

        class Corners(base):
            default_conf = {"max_num_keypoints": 2, "own": None}  # noqa: RUF012
            preprocess_conf = {"resize": 100}  # noqa: RUF012

            def forward(self, data):
                height, width = data["image"].shape[2:]
                points = torch.tensor([[[0.0, 0.0], [width - 1.0, height - 1.0]]])[:, : self.conf.max_num_keypoints]
                return {"keypoints": points, "descriptors": points, "keypoint_scores": points[..., 0]}

        return Corners(own=3)

    def test_whole(self, corners):
        found = corners.extract(torch.zeros(3, 100, 200))
        assert torch.equal(found["image_size"], torch.tensor([[200.0, 100.0]]))
        torch.testing.assert_close(found["keypoints"], torch.tensor([[[0.5, 0.5], [198.5, 98.5]]]))
        assert corners.conf.own == 3

    def test_options_of_a_call(self, corners):
        assert corners.extract(torch.zeros(1, 3, 100, 200), resize=None)["descriptors"][0, 1].tolist() == [199, 99]
        corners.preprocess_conf = {"resize": (10, 50)}
        assert corners.extract(torch.zeros(3, 100, 200))["descriptors"][0, 1].tolist() == [49, 9]
        corners.conf.max_num_keypoints = 1
        assert corners.extract(torch.zeros(3, 100, 200))["keypoints"].shape == (1, 1, 2)

    def test_refused(self, utils):
        with pytest.raises(ShapeError, match="one image, not 2"):
            utils.Extractor().extract(torch.zeros(2, 3, 4, 4))
        with pytest.raises(ImageError, match="values from 0 to 255"):
            utils.Extractor().extract(torch.tensor([0.0, 255.0]).expand(3, 4, 2))
        with pytest.raises(ConfigError, match=r"no option 'resise'\. Did you mean 'resize'"):
            utils.Extractor().extract(torch.zeros(3, 4, 4), resise=3)
