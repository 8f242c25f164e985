"""Photos below a folder: found in a stable order, the unusable ones counted and named."""

import os
import shutil

import numpy as np
import PIL.Image
import pytest

from photoglue.datasets.photos import find_photos, pairs_in, photos_below, photos_of, read_photo, write_pairs
from photoglue.errors import ConfigError, ImageError


def _photo(path, size=(200, 180), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.arange(size[0] * size[1] * 3).astype(np.uint8).reshape(size[1], size[0], 3)).save(
        path, **options
    )


@pytest.fixture
def folder(tmp_path, astronaut):
    root = tmp_path / "photos"
    for name in ("b.png", "a.JPG", "deep/er/c.webp", "deep/a.tif", "ünï – 雪.jpeg"):
        _photo(root / name)
    shutil.copy(astronaut, root / "deep" / "astronaut.png")
    _photo(root / "tiny.png", (400, 159))
    _photo(root / "just.png", (160, 400))
    (root / "broken.jpg").write_bytes(b"no image")
    (root / "empty.png").touch()
    (root / "notes.txt").write_text("no photo")
    _photo(root / ".hidden.png")
    _photo(root / ".thumbnails" / "small.png")
    (root / "folder.jpg").mkdir()
    return root


def test_all_usable_photos_are_found_in_a_stable_order(folder):
    photos = find_photos(folder)
    wanted = ("a.JPG", "b.png", "deep/a.tif", "deep/astronaut.png", "deep/er/c.webp", "just.png", "ünï – 雪.jpeg")
    assert photos.names == wanted
    assert len(photos) == len(wanted)
    assert photos.path(3) == folder / "deep" / "astronaut.png"
    assert find_photos(str(folder)) == photos


def test_the_others_are_listed_with_the_reason(folder):
    reasons = [(photo.name, photo.reason.partition(": ")[0]) for photo in find_photos(folder).skipped]
    assert reasons == [
        ("broken.jpg", "unreadable"),
        ("empty.png", "unreadable"),
        ("tiny.png", "400 × 159 pixels; the shorter side must have at least 160"),
    ]
    assert "tiny.png" in find_photos(folder, min_side=159).names


@pytest.mark.parametrize(
    "text",
    [
        "b.png\ndeep/a.tif\n\n# a remark\nmissing.png\nb.png\n",
        "file\tclean\nb.png\tyes\ndeep/a.tif\tno\nmissing.png\t\n",
        "b.png\r\ndeep/a.tif\r\nmissing.png\r\n",
    ],
)
def test_a_list_of_names_chooses(folder, tmp_path, text):
    chosen = tmp_path / "list.tsv"
    chosen.write_text(text, newline="")
    photos = find_photos(folder, only=chosen)
    assert photos.names == ("b.png", "deep/a.tif")
    assert [(photo.name, photo.reason) for photo in photos.skipped] == [
        ("missing.png", "in the list, but not in the folder")
    ]


def test_a_photo_that_is_called_file_can_be_listed_after_the_heading(folder, tmp_path):
    """Only a first line "file" is a heading."""
    (tmp_path / "list.txt").write_text("b.png\nfile\n")
    assert [photo.name for photo in find_photos(folder, only=tmp_path / "list.txt").skipped] == ["file"]


def test_nothing_to_use_is_an_error_that_says_why(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"folder '.*absent' does not exist"):
        find_photos(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"b\.png' is a file; a folder of photos was wanted"):
        find_photos(folder / "b.png")
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match=r"There are no photos below '.*none' \(files that end in \.avif, \.bmp"):
        find_photos(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"None of the 10 photos below .* can be used \(a\.JPG: 200 × 180.*; …\)"):
        find_photos(folder, min_side=1000)
    (tmp_path / "blank.txt").write_text("# nothing\n")
    with pytest.raises(ConfigError, match=r"list '.*blank\.txt' names no photo"):
        find_photos(folder, only=tmp_path / "blank.txt")
    with pytest.raises(ConfigError, match=r"list of photos '.*list\.txt' cannot be read"):
        find_photos(folder, only=tmp_path / "list.txt")


def test_a_photo_is_read_upright_and_in_rgb(tmp_path, astronaut):
    reference = np.asarray(PIL.Image.open(astronaut).convert("RGB"))
    np.testing.assert_array_equal(read_photo(astronaut), reference)
    gray = PIL.Image.open(astronaut).convert("L").crop((0, 0, 300, 200))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    gray.save(tmp_path / "turned.png", exif=exif)
    turned = read_photo(tmp_path / "turned.png")
    assert turned.shape == (300, 200, 3)
    assert turned.dtype == np.uint8
    np.testing.assert_array_equal(turned[..., 1], np.rot90(np.asarray(gray), -1))
    with pytest.raises(ImageError, match="There is no file"):
        read_photo(tmp_path / "none.png")


def test_the_real_photos_are_all_found(shared_data):
    folder = shared_data / "train_images"
    photos = find_photos(folder, only=folder / "MANIFEST.tsv")
    assert len(photos) == len(list(folder.glob("*.jpg")) + list(folder.glob("*.png"))) > 100
    assert photos.skipped == ()


def test_the_order_is_that_of_the_names(folder):
    """Not of folders and files as they are walked through: "deep.jpg" sorts before "deep/a.tif"."""
    _photo(folder / "deep.jpg")
    names = find_photos(folder).names
    assert list(names) == sorted(names)
    assert names.index("deep.jpg") + 1 == names.index("deep/a.tif")


def test_hidden_files_and_folders_are_left_out_and_counted(tmp_path):
    for name in ("IMG_1.JPG", "._IMG_1.JPG", ".thumbnails/x.png", "@eaDir/IMG_1.JPG/s.jpg", "__MACOSX/IMG_1.JPG"):
        _photo(tmp_path / name, format="PNG")
    (tmp_path / ".DS_Store").touch()  # no photo
    found = photos_below(tmp_path)
    assert (found.names, found.skipped, found.hidden) == (("IMG_1.JPG",), (), 4)
    assert find_photos(tmp_path).hidden == 4
    (tmp_path / "IMG_1.JPG").unlink()
    with pytest.raises(ConfigError, match=r"There are no photos below .*; 4 hidden files and folders were left out"):
        photos_of([tmp_path])


def test_what_no_store_can_hold_is_skipped_and_named(tmp_path):
    _photo(tmp_path / "a.jpg")
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "broken.png").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    found = photos_below(tmp_path)
    assert found.names == ("a.jpg",)
    assert [(photo.name, photo.reason) for photo in found.skipped] == [
        ("broken.png", "no regular file (a pipe, device or broken link)"),
        ("caf\\xe9.jpg", "its name is not UTF-8; rename it"),
        ("pipe.png", "no regular file (a pipe, device or broken link)"),
    ]
    with pytest.raises(ImageError, match=r"pipe\.png' is a pipe or device"):
        read_photo(tmp_path / "pipe.png")


def test_photos_of_files_and_folders_are_named_below_what_they_share(tmp_path, monkeypatch):
    for name in ("db/b.png", "db/deep/a.HEIC", "query/q.avif", "scan.data"):
        _photo(tmp_path / name, format="PNG")
    assert photos_of([tmp_path / "db"]).names == ("b.png", "deep/a.HEIC")
    assert photos_of([tmp_path / "db" / "b.png"]).names == ("b.png",)
    monkeypatch.chdir(tmp_path)
    found = photos_of(["db", "query/q.avif", "scan.data", "db/b.png"])
    assert found.names == ("db/b.png", "db/deep/a.HEIC", "query/q.avif", "scan.data")
    assert all(found.path(i).is_file() for i in range(4))
    os.mkfifo("pipe.jpg")
    assert [photo.name for photo in photos_of(["db", "pipe.jpg"]).skipped] == ["pipe.jpg"]
    with pytest.raises(ImageError, match="There is no file or folder 'absent'"):
        photos_of(["db", "absent"])
    with pytest.raises(ConfigError, match="no file or folder was given"):
        photos_of([])


def test_pairs_in(tmp_path):
    path = tmp_path / "pairs.txt"
    for text in ("a.jpg b.jpg\n\n my a.jpg\tmy b.jpg \n", "\ufeffa.jpg b.jpg\r\n\r\nmy a.jpg\tmy b.jpg\r\n"):
        path.write_text(text)
        assert pairs_in(path) == [("a.jpg", "b.jpg"), ("my a.jpg", "my b.jpg")]
    path.write_text("a.jpg b.jpg\na.jpg b.jpg c.jpg\n")
    with pytest.raises(ConfigError, match=r"Line 2 of '.*pairs\.txt' has 3 names"):
        pairs_in(path)
    with pytest.raises(ConfigError, match=r"list of pairs '.*absent\.txt' cannot be read"):
        pairs_in(tmp_path / "absent.txt")


def test_pairs_written_are_read(tmp_path):
    pairs = [("a.jpg", "sub/b.jpg"), ("my a.jpg", "b.jpg"), ("nbsp\u00a0.jpg", "雪.jpg")]
    write_pairs(pairs, tmp_path / "pairs.txt")
    assert pairs_in(tmp_path / "pairs.txt") == pairs
    assert (tmp_path / "pairs.txt").read_text().splitlines()[:2] == ["a.jpg sub/b.jpg", "my a.jpg\tb.jpg"]


@pytest.mark.parametrize("name", ["a\tb.jpg", "a\nb.jpg", " a.jpg", "a.jpg ", "a\u2028b.jpg"])
def test_names_that_no_list_can_hold(tmp_path, name):
    with pytest.raises(ConfigError, match="rename the photo"):
        write_pairs([("x.jpg", name)], tmp_path / "pairs.txt")
    assert not (tmp_path / "pairs.txt").exists()
