import pytest
from tiny_photos import write_photo

from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.truths import Alike
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning

TABLE = (
    "file\tplace\tsplit\n0.png\tup/hall\tquery\n1.png\tup/hall\tgallery\n2.png\tdown/hall\tgallery\n3.png\tup/hall\tx\n"
)


def photos(folder, count=4):
    for i in range(count):
        write_photo(folder / "images" / f"{i}.png", i)


def test_a_table_of_places(tmp_path):
    photos(tmp_path)
    (tmp_path / "places.tsv").write_text(TABLE)
    found = load_dataset(tmp_path)
    assert found.benchmark == "retrieval"
    assert [(pair.scene, pair.name0, pair.name1, pair.truth) for pair in found.pairs] == [
        ("up/hall", "images/0.png", "images/1.png", Alike()),
        ("up/hall", "images/0.png", "images/3.png", Alike()),
    ]
    assert found.images == [f"images/{i}.png" for i in range(4)]  # a search may find 2.png, too
    (tmp_path / "images" / "3.png").unlink()
    with pytest.raises(ImageError, match=r"There is no image .*3\.png"):
        load_dataset(tmp_path)
    with pytest.warns(PhotoGlueWarning, match="1 of 2 pairs"):
        assert len(load_dataset(tmp_path, skip_missing=True).pairs) == 1


@pytest.mark.parametrize("text", ["", "file\tplace\n0.png\ta\n", "file\tplace\tsplit\n0.png\ta\n"])
def test_tables_that_are_none(tmp_path, text):
    (tmp_path / "places.tsv").write_text(text)
    with pytest.raises(
        ConfigError, match="is no table of places: its first line names the columns, file, place, split"
    ):
        load_dataset(tmp_path)


def test_a_bag_of_scenes(tmp_path):
    for scene, lines in (("a", "# overlap\n0 1 0.5\n1.png 2 0.05\n"), ("b", "0 1\n1 2 0.2 x\n")):
        photos(tmp_path / scene)
        (tmp_path / scene / "pairs.txt").write_text(lines)
    found = load_dataset(tmp_path, "retrieval")
    assert [(pair.scene, pair.name0[-5], pair.name1[-5]) for pair in found.pairs] == [
        ("a", "0", "1"), ("a", "1", "0"), ("b", "0", "1"), ("b", "1", "0"), ("b", "1", "2"), ("b", "2", "1"),
    ]  # fmt: skip
    assert found.distractors == ("a/images/2.png", "a/images/3.png", "b/images/3.png")
    (tmp_path / "a" / "pairs.txt").write_text("0\n")
    with pytest.raises(ConfigError, match=r"Line 1 of .* has one word"):
        load_dataset(tmp_path, "retrieval")
