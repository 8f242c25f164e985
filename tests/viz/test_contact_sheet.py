import PIL.Image
import pytest

from photoglue.errors import ConfigError
from photoglue.viz import contact_sheet, save_contact_sheet


@pytest.fixture
def photos(tmp_path):
    for name, size, color in (
        ("wide.png", (400, 100), "red"),
        ("tall.png", (90, 300), "green"),
        ("one.png", (1, 1), "blue"),
    ):
        PIL.Image.new("RGB", size, color).save(tmp_path / name)
    return [tmp_path / name for name in ("wide.png", "tall.png", "one.png")]


def test_photos_keep_their_shape_and_place(photos):
    sheet = contact_sheet(photos, ["a", "b" * 300, ""], columns=2)
    assert sheet.width == 2 * 332 + 12
    shown = sheet.getcolors(sheet.width * sheet.height)
    counts = {color: count for count, color in shown}
    assert counts[255, 0, 0] == 320 * 80
    assert counts[0, 128, 0] == 72 * 240
    assert sheet.getpixel((12 + 160, 12 + 120)) == (255, 0, 0)
    assert sheet.getpixel((12 + 332 + 160, 12 + 120)) == (0, 128, 0)


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet.PNG", "sheet.webp"])
def test_written(photos, tmp_path, name):
    save_contact_sheet(photos, ["", "ä", "…"], tmp_path / name)
    with PIL.Image.open(tmp_path / name) as picture:
        assert picture.width > 600


def test_refusals(photos, tmp_path):
    with pytest.raises(ConfigError, match="3 photos and 1 captions"):
        contact_sheet(photos, ["a"])
    with pytest.raises(ConfigError, match="0 photos"):
        contact_sheet([], [])
    with pytest.raises(ConfigError, match=r"must end in \.jpg"):
        save_contact_sheet(photos, ["", "", ""], tmp_path / "sheet.pdf")
