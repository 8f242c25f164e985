"""What the guides to many photos and to inputs say of limits is true; test_docs.py runs their blocks."""

from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE = (DOCS / "many_photos.md").read_text()


def test_the_endings_and_hidden_folders_are_those_of_the_package():
    from photoglue.datasets.photos import NO_PHOTOS_INSIDE, PHOTO_SUFFIXES

    text = " ".join((DOCS / "inputs.md").read_text().split())
    assert f"{', '.join(PHOTO_SUFFIXES[:-1])} or {PHOTO_SUFFIXES[-1]}, in small letters or capitals." in text
    assert {name for name in NO_PHOTOS_INSIDE if f"`{name}`" not in text} == set()


def test_the_limits_are_those_of_the_package():
    import PIL.Image

    from photoglue.cli.match_many import ALL_PAIRS
    from photoglue.decode import LARGE, LEAST_JPEG_BYTES, NARROW, OUTLIERS

    assert PIL.Image.MAX_IMAGE_PIXELS is not None
    text = " ".join((DOCS / "inputs.md").read_text().split())
    assert f"{2 * PIL.Image.MAX_IMAGE_PIXELS:,} pixels" in text
    assert f"above {LARGE // 1_000_000} megapixels" in text
    assert f"less than a byte for {1 / LEAST_JPEG_BYTES:.0f} pixels" in text
    assert f"of up to {ALL_PAIRS} photos" in text
    assert NARROW == 65536 // 4
    assert f"{OUTLIERS:.1%}".replace("%", " %") in text


def test_the_sizes_of_chunks_are_those_of_the_package():
    from photoglue.batch.extract import PHOTOS_AT_ONCE
    from photoglue.batch.match import PAIRS_AT_ONCE

    assert (PHOTOS_AT_ONCE, PAIRS_AT_ONCE) == (8, 32)
    assert "at most the eight photos or 32 pairs" in " ".join(GUIDE.split())
