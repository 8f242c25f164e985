"""Orientation, alpha and ranges of values of whatever an image comes as."""

import io

import numpy as np
import PIL.Image
import pytest
import torch
from PIL.TiffImagePlugin import IFDRational

from photoglue.decode import GpsPosition, gps_of, photo_of_array, photo_of_pil, photo_of_tensor, white_of_pil
from photoglue.errors import ImageError, PhotoGlueWarning


def ramp(low, high, shape=(40, 50)):
    return np.linspace(low, high, shape[0] * shape[1]).reshape(shape).round().astype(np.uint16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_and_told(orientation):
    picture = PIL.Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20)
    picture.getexif()[0x0112] = orientation
    photo = photo_of_pil(picture)
    assert photo.orientation == orientation
    assert photo.image.shape == ((1, 4, 3) if orientation >= 5 else (1, 3, 4))


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_is_none(orientation):
    picture = PIL.Image.new("L", (4, 3))
    picture.getexif()[0x0112] = orientation
    assert photo_of_pil(picture).orientation == 1


@pytest.mark.parametrize("span", [(100, 4095), (7000, 8020), (10, 255), (60000, 65535)])
def test_narrow_16_bits_are_stretched_and_it_is_said(span):
    with pytest.warns(PhotoGlueWarning, match="16-bit values from .* stretched"):
        image = photo_of_array(ramp(*span)).image
    assert image.min() == 0
    assert image.max() == 1
    assert float(image.median()) == pytest.approx(0.5, abs=0.01)


def test_one_hot_pixel_does_not_hide_the_span():
    values = ramp(7000, 8020, (200, 300))
    values[0, 0] = 65535
    with pytest.warns(PhotoGlueWarning, match="from 70"):
        assert float(photo_of_array(values).image.median()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("span", [(0, 65535), (0, 30000), (500, 500)])
def test_wide_16_bits_and_one_value_are_left_alone(span, recwarn):
    image = photo_of_array(ramp(*span)).image
    assert float(image.max()) == pytest.approx(span[1] / 65535)
    assert not recwarn.list


def test_int32_in_a_tiff_is_refused_like_an_int32_array(tmp_path):
    PIL.Image.fromarray(np.full((4, 5), 200, np.int32)).save(tmp_path / "a.tif")
    with PIL.Image.open(tmp_path / "a.tif") as picture, pytest.raises(ImageError, match="int32, from 200 to 200"):
        photo_of_pil(picture)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_where_it_is_transparent_is_told(mode):
    rgba = np.full((3, 4, 4), 255, np.uint8)
    rgba[0, :, 3] = 0
    rgba[1, :, 3] = 7
    picture = PIL.Image.fromarray(rgba)
    if mode == "P":
        rgba[1, :, 3] = 255
        picture = PIL.Image.fromarray(np.array([[0] * 4, [1] * 4, [1] * 4], np.uint8)).convert("P")
        picture.info["transparency"] = 0
    elif mode == "LA":
        picture = picture.convert("LA")
    opaque = photo_of_pil(picture).opaque
    assert opaque.tolist() == [[False] * 4, [True] * 4, [True] * 4]
    if mode == "RGBA":
        assert torch.equal(photo_of_array(rgba).opaque, opaque)
        tensor = torch.from_numpy(rgba).permute(2, 0, 1)
        assert torch.equal(photo_of_tensor(tensor).opaque, opaque)
        assert torch.equal(photo_of_tensor(tensor.float() / 255).opaque, opaque)


def test_an_opaque_image_has_no_transparent_part():
    assert photo_of_array(np.full((3, 4, 4), 255, np.uint8)).opaque is None
    assert photo_of_array(np.zeros((3, 4, 3), np.uint8)).opaque is None


def test_a_jpeg_too_small_for_what_it_claims_is_refused():
    picture = PIL.Image.new("L", (2000, 1000))
    picture.format = "JPEG"
    with pytest.raises(ImageError, match="2000 × 1000 pixels, which 1,999 bytes"):
        photo_of_pil(picture, 1999)
    assert photo_of_pil(picture, 2001).image.shape == (1, 1000, 2000)


def test_the_emptiest_jpeg_is_read(tmp_path):
    from photoglue.image import read_image

    PIL.Image.new("L", (3000, 2000), 200).save(tmp_path / "a.jpg", quality=1, optimize=True)
    PIL.Image.new("RGB", (3000, 2000), "white").save(tmp_path / "b.jpg", quality=1, optimize=True, progressive=True)
    assert read_image(tmp_path / "a.jpg").shape == (1, 2000, 3000)
    assert read_image(tmp_path / "b.jpg").shape == (3, 2000, 3000)


def test_sparse_tensors_are_refused():
    with pytest.raises(ImageError, match="dense"):
        photo_of_tensor(torch.zeros(3, 4, 5).to_sparse())


def test_white_is_brighter_than_half_of_the_brightest():
    values = np.array([[0, 10, 60, 61, 120]], np.uint8)
    assert white_of_pil(PIL.Image.fromarray(values)).tolist() == [[False, False, False, True, True]]


def picture_at(**tags):
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8825).update({int(key[1:]): value for key, value in tags.items()})
    file = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    return PIL.Image.open(file)


def test_where_a_photo_was_taken():
    south = picture_at(_1="S", _2=(33, 51, 25.2), _3="E", _4=(151, 12, 54), _5=b"\x01", _6=7.5)
    found = gps_of(south)
    assert found.latitude_deg == pytest.approx(-(33 + 51 / 60 + 25.2 / 3600), abs=1e-6)
    assert found.longitude_deg == pytest.approx(151.215)
    assert found.altitude_m == -7.5
    assert gps_of(picture_at(_1="N", _2=(1, 0, 0), _3="W", _4=(2, 30, 0))) == GpsPosition(
        latitude_deg=1.0, longitude_deg=-2.5
    )


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"_1": "N", "_2": (1.0, 0.0, 0.0)},
        {"_1": "N", "_2": (0, 0, 0), "_3": "E", "_4": (0, 0, 0)},
        {"_1": "N", "_2": (99, 0, 0), "_3": "E", "_4": (0, 0, 0)},
        {"_1": "N", "_2": (IFDRational(0, 0), 0, 0), "_3": "E", "_4": (0, 0, 0)},
    ],
)
def test_no_position_or_one_that_cannot_be(tags):
    assert gps_of(picture_at(**tags)) is None
