"""Photos that a page sent: read, turned upright, refused, held and let go."""

import io

import numpy as np
import PIL.Image
import pytest


def photos(max_bytes=10**8):
    from photoglue.web.photos import HeldPhotos

    return HeldPhotos(max_bytes)


def png(width, height, shade=128):
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.full((height, width), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_turned_photo_is_shown_upright(striped):
    photo = photos().add(striped, "a.jpg")
    assert photo.image_size == (4, 6)
    with PIL.Image.open(io.BytesIO(photo.preview)) as shown:
        assert shown.size == (4, 6)
        values = np.asarray(shown.convert("L"))
        assert values[0, 3] > 200 and values[0, 0] < 100


def test_sixteen_bits_and_transparency_are_shown():
    values = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(values).save(buffer, "PNG")
    photo = photos().add(buffer.getvalue(), "deep.png")
    with PIL.Image.open(io.BytesIO(photo.preview)) as shown:
        assert shown.mode == "RGB" and np.ptp(np.asarray(shown)) > 200
    buffer = io.BytesIO()
    PIL.Image.new("RGBA", (8, 8), (200, 0, 0, 0)).save(buffer, "PNG")
    assert photos().add(buffer.getvalue(), "clear.png").image_size == (8, 8)


def test_a_mask_is_turned_as_its_photo(striped, encode):
    """The photo is stored with 6 × 4 pixels and shown with 4 × 6."""
    from photoglue.errors import ImageError

    held = photos()
    photo = held.add(striped, "a.jpg")
    values = np.zeros((4, 6), np.uint8)
    values[:2, :3] = 255
    mask = held.add_mask(encode(PIL.Image.fromarray(values), "PNG"), "a.mask.png", photo)
    assert held.get(mask.key) is mask and mask.image_size == (4, 6) and mask.key != photo.key
    with PIL.Image.open(io.BytesIO(mask.preview)) as shown:
        shown_values = np.asarray(shown)
        assert shown_values[0, 3] > 200 and shown_values[0, 0] < 50 and shown_values[5, 3] < 50
    with pytest.raises(ImageError, match=r"has 4 × 6 pixels, its photo 'a.jpg' 6 × 4; its EXIF orientation 6"):
        held.add_mask(png(4, 6, 255), "b.png", photo)
    with pytest.raises(ImageError, match=r"'black.png' is black everywhere"):
        held.add_mask(png(6, 4, 0), "black.png", photo)


def test_large_photos_are_shown_smaller():
    photo = photos().add(png(4096, 40), "strip.png")
    with PIL.Image.open(io.BytesIO(photo.preview)) as shown:
        assert shown.size == (2048, 20)
    assert photo.image_size == (4096, 40)


def test_iphone_photos():
    heif = pytest.importorskip("pillow_heif", exc_type=ImportError)
    buffer = io.BytesIO()
    heif.from_pillow(PIL.Image.new("RGB", (64, 48), (10, 200, 30))).save(buffer, format="HEIF")
    photo = photos().add(buffer.getvalue(), "IMG_1.HEIC")
    assert photo.image_size == (64, 48)
    assert photo.preview[:3] == b"\xff\xd8\xff"


def test_what_is_no_photo_is_refused():
    from photoglue.errors import ImageError

    held = photos()
    with pytest.raises(ImageError, match=r"'notes.txt' is not an image that can be read"):
        held.add(b"some words", "notes.txt")
    with pytest.raises(ImageError, match="cut off"):
        held.add(png(300, 300, 7)[:-40], "a.png")
    with pytest.raises(ImageError, match="not an image"):  # what would run a program is not read
        held.add(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a.eps")


def test_a_photo_of_too_many_pixels_is_refused(monkeypatch):
    from photoglue.errors import ImageError

    monkeypatch.setattr("photoglue.web.photos.MAX_PIXELS", 2_000_000)
    with pytest.raises(ImageError, match=r"'a.png': it has 2001 × 1000 pixels; at most 2 million"):
        photos().add(png(2001, 1000), "a.png")


def test_the_oldest_are_let_go_and_four_always_stay():
    from photoglue.web.photos import PhotoGone

    held = photos(max_bytes=1)
    keys = [held.add(png(8, 8, shade), f"{shade}.png").key for shade in range(6)]
    assert [held.get(key).name for key in keys[2:]] == ["2.png", "3.png", "4.png", "5.png"]
    with pytest.raises(PhotoGone, match="send it again"):
        held.get(keys[0])
    assert held.add(png(8, 8, 2), "2.png").key == keys[2]


def test_a_copy_keeps_its_own_name():
    held = photos()
    one, copy = (held.add(png(8, 8), name) for name in ("one.png", "copy.png"))
    assert [held.get(photo.key).name for photo in (one, copy)] == ["one.png", "copy.png"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a b.jpg", "a b.jpg"),
        ("a\x00b\n\u202egpj.exe", "abgpj.exe"),
        ("", "photo"),
        ("..", "photo"),
        ("x" * 300 + ".jpg", "x" * 80 + "…" + "x" * 35 + ".jpg"),
    ],
)
def test_names_are_plain(given, kept):
    from photoglue.web.photos import plain_name

    assert plain_name(given) == kept


def test_the_demo_pair(motorcycle):
    first, second = photos().add_demo()
    assert (first.path, second.path) == tuple(map(str, motorcycle))
    assert first.image_size == second.image_size and first.key != second.key
