"""Whatever a user holds becomes the same tensor; what is no image is named as such."""

import io
import sys

import numpy as np
import PIL.Image
import pytest
import torch


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def load(source):
    from photoglue.image import load_image

    return load_image(source)


def test_every_form_of_one_image(pixels, tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(pixels).save(path)
    wanted = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    alpha = np.concatenate([pixels, np.full((20, 30, 1), 7, np.uint8)], axis=2)
    forms = [
        path, str(path), PIL.Image.open(path), PIL.Image.fromarray(alpha), pixels, alpha, pixels / 255,
        pixels.astype(np.float32) / 255, pixels.astype(np.uint16) * 257, torch.from_numpy(pixels).permute(2, 0, 1),
        wanted, wanted[None], wanted.double(), pixels[:, ::-1][:, ::-1],
    ]  # fmt: skip
    for form in forms:
        torch.testing.assert_close(load(form), wanted, atol=1e-6, rtol=0)


def test_gray_stays_gray(pixels, tmp_path):
    gray = pixels[..., 0]
    wanted = torch.from_numpy(gray.copy())[None].float() / 255
    PIL.Image.fromarray(gray).save(tmp_path / "gray.png")
    PIL.Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "gray16.png")
    for form in (gray, gray[..., None], tmp_path / "gray.png", tmp_path / "gray16.png", torch.from_numpy(gray.copy())):
        torch.testing.assert_close(load(form), wanted, atol=1e-6, rtol=0)
    assert load(gray > 100).unique().tolist() == [0, 1]


@pytest.mark.parametrize("mode", ["P", "CMYK", "LA", "1", "YCbCr"])
def test_other_modes(pixels, mode, tmp_path):
    picture = PIL.Image.fromarray(pixels).convert(mode)
    loaded = load(picture)
    assert loaded.shape[1:] == (20, 30)
    assert loaded.shape[0] == (1 if mode in ("LA", "1") else 3)
    assert 0 <= loaded.min() <= loaded.max() <= 1


def test_heic(tmp_path):
    plugin = pytest.importorskip("pillow_heif", exc_type=ImportError)
    shades = np.linspace(0, 255, 96 * 64).reshape(64, 96).astype(np.uint8)  # smooth: the format loses detail
    image = np.stack([shades, shades[::-1], shades[:, ::-1]], axis=2)
    plugin.from_pillow(PIL.Image.fromarray(image)).save(tmp_path / "IMG_1.HEIC", quality=95)
    loaded = load(tmp_path / "IMG_1.HEIC")
    torch.testing.assert_close(loaded, load(image), atol=0.05, rtol=0)


def test_exif_orientation_is_applied(pixels, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: rotate by 90 degrees clockwise
    PIL.Image.fromarray(pixels).save(tmp_path / "side.png", exif=exif)
    turned = np.rot90(pixels, -1)
    assert torch.equal(load(tmp_path / "side.png"), load(turned.copy()))


def test_luma_and_repeat(pixels):
    from photoglue.image import to_gray, to_rgb

    rgb = load(pixels)
    wanted = np.asarray(PIL.Image.fromarray(pixels).convert("L"), dtype=np.float32)
    assert np.abs(to_gray(rgb)[0].numpy() * 255 - wanted).max() < 1
    gray = load(pixels[..., 0])
    assert torch.equal(to_gray(gray), gray)
    assert torch.equal(to_rgb(gray)[2], gray[0])


class TestBadInput:
    def check(self, source, message):
        from photoglue.errors import ImageError

        with pytest.raises(ImageError, match=message):
            load(source)

    def test_missing_file(self, tmp_path):
        self.check(tmp_path / "absent.jpg", r"There is no file '.*absent\.jpg'")

    def test_folder(self, tmp_path):
        self.check(tmp_path, "is a folder")

    def test_not_an_image(self, tmp_path):
        (tmp_path / "text.jpg").write_text("hello")
        self.check(tmp_path / "text.jpg", "is not an image that can be read")
        (tmp_path / "empty.jpg").write_bytes(b"")
        self.check(tmp_path / "empty.jpg", "is not an image that can be read")

    def test_truncated_jpeg(self, motorcycle, tmp_path):
        PIL.Image.open(motorcycle[0]).save(tmp_path / "whole.jpg")
        whole = (tmp_path / "whole.jpg").read_bytes()
        (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
        self.check(tmp_path / "cut.jpg", "is damaged or cut off")

    def test_values_out_of_range(self):
        self.check(np.full((4, 4, 3), 200.0), r"values from 200 to 200; .* Divide by 255")
        self.check(torch.full((3, 4, 4), float("nan")), "values from nan")

    def test_shapes(self):
        self.check(np.zeros((3, 20, 30), np.uint8), "30 channels.*channels first")
        self.check(torch.zeros(20, 30, 3), "channels × height × width")
        self.check(torch.zeros(2, 3, 20, 30), "Pass several images as a list")
        self.check(np.zeros(5, np.uint8), r"shape \(5,\)")
        self.check(np.zeros((0, 5, 3), np.uint8), "no pixels: 5 × 0")

    def test_other_types(self, as_a_user):
        self.check([1, 2, 3], "cannot be made of a list")

    @pytest.mark.parametrize("dtype", ["int64", "int32", "uint32", "int16", "int8", "complex64", "object", "str"])
    def test_types_that_do_not_say_what_is_white(self, dtype, as_a_user):
        """An int64 image with values to 255, divided by the largest int64, would be black without a word."""
        image = np.full((4, 4, 3), 100).astype(dtype)
        self.check(image, rf"The values are {'<U' if dtype == 'str' else dtype}.*image\.astype\(np\.uint8\)")
        if dtype in ("int64", "int32", "int16"):
            self.check(torch.from_numpy(image).permute(2, 0, 1), f"The values are {dtype}")

    def test_files_with_values_out_of_range(self, tmp_path):
        PIL.Image.fromarray(np.full((4, 4), 200, np.float32)).save(tmp_path / "float.tif")
        self.check(tmp_path / "float.tif", r"float\.tif': The image has values from 200 to 200")
        PIL.Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "wide.tif")
        self.check(tmp_path / "wide.tif", r"wide\.tif': The values are int32, from 70000 to 70000")

    def test_whatever_a_decoder_raises(self, pixels, tmp_path, monkeypatch):
        """Each format has its own: AVIF's is a RuntimeError."""
        PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
        monkeypatch.setattr(PIL.Image.Image, "load", lambda self: (_ for _ in ()).throw(RuntimeError("no decoder")))
        self.check(tmp_path / "a.png", "is damaged or cut off and cannot be read whole: no decoder")
        self.check(PIL.Image.new("RGB", (3, 3)), "The PIL image cannot be read: no decoder")

    def test_heic_without_its_plugin(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        (tmp_path / "IMG_1.HEIC").write_bytes(b"0")
        self.check(tmp_path / "IMG_1.HEIC", r"IMG_1\.HEIC' is a HEIC photo.*pip install 'photoglue\[heic\]', or make")

    def test_channels_last_in_a_tensor(self):
        self.check(torch.zeros(20, 30, 3), r"Are the channels last\? Use permute\(2, 0, 1\)")


class TestResize:
    @pytest.mark.parametrize("size", [(640, 480), (480, 640), (3000, 5), (5, 3000), (1, 1), (1024, 683), (333, 517)])
    def test_size_is_the_official_one(self, size):
        kornia = pytest.importorskip("kornia", exc_type=ImportError)
        from photoglue.image import Resize

        resize = Resize.long_side(size, 1024)
        image = torch.rand(1, 1, size[1], size[0])
        if min(resize.resized_size) > 1:
            theirs = kornia.geometry.transform.resize(image, 1024, side="long", antialias=False)
            assert (theirs.shape[3], theirs.shape[2]) == resize.resized_size
        assert max(resize.resized_size) == 1024
        assert resize.apply(image[0]).shape == (1, *resize.resized_size[::-1])

    def test_undo_is_exact_on_a_real_grid(self):
        """A bright blob at a known place is found at that place after resizing and undoing."""
        from photoglue.image import Resize

        y, x = torch.meshgrid(torch.arange(300.0), torch.arange(900.0), indexing="ij")
        image = torch.exp(-((x - 400) ** 2 + (y - 100) ** 2) / (2 * 5**2))[None]
        for length in (450, 1024, 1800):
            resize = Resize.long_side((900, 300), length)
            weights = resize.apply(image)[0]
            y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in weights.shape), indexing="ij")
            centre = torch.stack([(weights * x).sum(), (weights * y).sum()])[None] / weights.sum()
            torch.testing.assert_close(resize.undo(centre), torch.tensor([[400.0, 100.0]]), atol=0.02, rtol=0)
            torch.testing.assert_close(resize.redo(resize.undo(centre)), centre, atol=1e-3, rtol=0)

    def test_none_keeps_the_size(self):
        from photoglue.image import Resize

        resize = Resize.long_side((7, 5), None)
        image = torch.rand(3, 5, 7)
        assert resize.apply(image) is image
        assert resize.scale == (1, 1)

    def test_impossible_length(self):
        from photoglue.errors import ConfigError
        from photoglue.image import Resize

        with pytest.raises(ConfigError, match="resize is 0"):
            Resize.long_side((7, 5), 0)


class TestMask:
    def test_forms(self, tmp_path):
        from photoglue.image import load_mask

        mask = np.zeros((5, 7), bool)
        mask[1:3, 2:6] = True
        PIL.Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
        labels = torch.from_numpy(mask).long() * 7
        forms = [mask, mask.astype(np.uint8), mask[..., None], np.stack([mask] * 3, axis=2), mask.astype(np.float32)]
        for form in (*forms, torch.from_numpy(mask), labels, labels.numpy(), tmp_path / "mask.png"):
            assert torch.equal(load_mask(form), torch.from_numpy(mask))

    def test_noise_of_a_jpeg_is_black(self, tmp_path):
        from photoglue.image import load_mask

        mask = np.zeros((40, 60), bool)
        mask[:, 30:] = True
        noisy = np.where(mask, 255, np.random.default_rng(0).integers(1, 38, mask.shape)).astype(np.uint8)
        PIL.Image.fromarray(noisy).save(tmp_path / "mask.jpg", quality=60)
        found = load_mask(tmp_path / "mask.jpg").numpy()
        np.testing.assert_array_equal(found[:, :28], False)
        np.testing.assert_array_equal(found[:, 32:], True)

    @pytest.mark.parametrize("color", [0, 255])
    def test_alpha_alone(self, color):
        from photoglue.image import load_mask

        rgba = np.full((5, 7, 4), color, np.uint8)
        rgba[..., 3] = 0
        rgba[1:3, 2:6, 3] = 255
        np.testing.assert_array_equal(load_mask(PIL.Image.fromarray(rgba)).numpy(), rgba[..., 3] > 0)

    def test_exif_of_photo_and_camera(self, tmp_path):
        from photoglue.errors import ImageError
        from photoglue.image import CAMERA_TAGS, read_exif

        tags = PIL.Image.Exif()
        tags[0x0110] = "Model"
        tags.get_ifd(CAMERA_TAGS)[0xA405] = 28
        PIL.Image.new("L", (7, 5)).save(tmp_path / "a.jpg", exif=tags)
        PIL.Image.new("L", (7, 5)).save(tmp_path / "b.jpg")
        found = read_exif(tmp_path / "a.jpg")
        assert (found[0x0110], found[0xA405]) == ("Model", 28)
        assert read_exif(tmp_path / "b.jpg") == {}
        with pytest.raises(ImageError, match="no file"):
            read_exif(tmp_path / "c.jpg")

    @pytest.mark.parametrize(("color", "white"), [(0, False), (255, True), (1, True)])
    def test_one_color(self, color, white):
        from photoglue.image import load_mask

        for mode in ("L", "RGB", "RGBA"):
            picture = PIL.Image.new("L", (7, 5), color).convert(mode)
            assert load_mask(picture).unique().tolist() == [white]


def test_the_content_of_a_file(pixels):
    """As it comes over a wire, under a name; only formats that are wanted are read."""
    from photoglue.errors import ImageError
    from photoglue.image import opened_content

    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    content = buffer.getvalue()
    with opened_content(content, "a.png") as picture:
        assert np.array_equal(np.asarray(picture), pixels)
    with (
        pytest.raises(ImageError, match=r"'a.png' is not an image"),
        opened_content(content, "a.png", ["BMP"]),
    ):
        pass
    with opened_content(content, "a", ["PNG", "of the future"]) as picture:
        assert picture.format == "PNG"
    with pytest.raises(ImageError, match=r"'b.png' is damaged"), opened_content(content[:300], "b.png") as cut:
        cut.load()
