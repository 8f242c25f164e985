"""Small photos are upright, share the room that there is, and say why one is missing."""

import io

import numpy as np
import PIL.Image
import pytest

from photoglue.sfm.report.thumbnails import ROOM, SMALLEST, side_for, thumbnail


def saved(path, orientation=1, mode="RGB"):
    """The left half white as stored."""
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, :45] = 255
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = orientation
    PIL.Image.fromarray(pixels).convert(mode).save(path, exif=exif)
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_upright(tmp_path, name, mode):
    """Orientation 6: the left of the stored photo is the top of the shown one."""
    small = thumbnail(saved(tmp_path / name, 6, mode), 30)
    picture = np.asarray(PIL.Image.open(io.BytesIO(small.jpeg)).convert("L")).astype(int)
    assert picture.shape == (30, 20)
    assert picture[:12].mean() > 230 and picture[-12:].mean() < 25
    assert (small.frame.orientation, small.frame.upright_size) == (6, (60, 90))


def test_never_larger_than_the_photo(tmp_path):
    assert PIL.Image.open(io.BytesIO(thumbnail(saved(tmp_path / "a.jpg"), 400).jpeg)).size == (90, 60)


def test_unreadable_photos_say_why(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    whole = saved(tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[:-200])
    for name, reason in (("a.jpg", "not an image"), ("b.jpg", "damaged"), ("c.jpg", "There is no file")):
        small = thumbnail(tmp_path / name, 30)
        assert small.jpeg is None and small.frame is None
        assert reason in small.problem


def test_thousands_share_the_room():
    """Photos of 3:2 with a byte for four pixels."""
    assert side_for(1) == side_for(20) > 400
    assert 150 < side_for(1000) < 300
    assert side_for(10**6) == SMALLEST
    for count in (1, 100, 1000, 10_000):
        assert count * side_for(count) ** 2 / 1.5 * 0.25 <= ROOM * 1.05
