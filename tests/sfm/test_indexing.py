from dataclasses import replace

import PIL.Image
import pytest
import torch

from photoglue.errors import ConfigError, ImageError, OutputError, PhotoGlueWarning
from photoglue.retrieval import PhotoIndex
from photoglue.sfm import index_photos, indexing
from photoglue.sfm.indexing import index_of, opened_index

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)


@pytest.fixture
def described(monkeypatch):
    """Counts the photos that are described."""
    counted = []
    describe = indexing.Describer.describe

    def counting(self, features, image):
        counted.append(1)
        return describe(self, features, image)

    monkeypatch.setattr(indexing.Describer, "describe", counting)
    return counted


def copied(folder, photos):
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.slow
def test_made_and_brought_up_to_date(two_things, tmp_path, described):
    photos, path = copied(tmp_path / "photos", two_things), tmp_path / "index.h5"
    made = index_photos(photos, path, features="sift")
    assert made.names == ("a0.png", "a1.png", "a2.png", "b0.png", "b1.png", "b2.png")
    assert made.root == str(photos.resolve())
    assert len(described) == 6
    (photos / "a0.png").unlink()
    (photos / "b2.png").write_bytes((photos / "b0.png").read_bytes())
    (photos / "bad.png").write_text("hello")
    with pytest.warns(PhotoGlueWarning, match="1 of 6 photos cannot be read and are left out. The first: .*bad.png"):
        again = index_photos(photos, path, features="sift")
    assert len(described) == 7  # only b2 was new
    assert again.names == ("a1.png", "a2.png", "b0.png", "b1.png", "b2.png")
    assert torch.equal(again.codes[:2], made.codes[1:3])
    assert torch.equal(again.codes[2], again.codes[4])
    loaded = PhotoIndex.load(path)
    assert (loaded.names, loaded.digests) == (again.names, again.digests)


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "kept"), [(KeyboardInterrupt, 5), (MemoryError, 4)])
def test_interrupted_it_goes_on(two_things, tmp_path, described, monkeypatch, ending, kept):
    """Ctrl-C loses nothing, and what ends a process otherwise no more than so many chunks."""
    monkeypatch.setattr(indexing, "PHOTOS_AT_ONCE", 1)
    monkeypatch.setattr(indexing, "CHUNKS_KEPT", 2)

    def stop(done, total):
        if done == 5:
            raise ending

    with pytest.raises(ending):
        index_photos(two_things, tmp_path / "index.h5", features="sift", progress=stop)
    assert len(PhotoIndex.load(tmp_path / "index.h5")) == kept
    assert len(index_photos(two_things, tmp_path / "index.h5", features="sift")) == 6
    assert len(described) == 5 + 6 - kept


@pytest.mark.slow
def test_photos_by_name_have_a_folder_if_their_names_are_paths_below_one(two_things, tmp_path):
    paths = sorted(two_things.iterdir())[:2]
    for named, root in (({path.name: path for path in paths}, two_things), (dict(zip("ab", paths, strict=True)), "")):
        assert index_photos(named, tmp_path / f"{len(str(root))}.h5", features="sift").root == str(root)


@pytest.mark.slow
def test_from_stored_features_it_is_the_same(two_things, sift_features, tmp_path):
    photos = {path.name: path for path in sorted(two_things.iterdir())}
    stored = index_of(photos, sift_features)
    direct = index_photos(two_things, tmp_path / "index.h5", features="sift")
    assert stored.made_by == direct.made_by
    assert stored.names == direct.names
    # 640 pixels instead of 1024: larger blobs are others, and the photos of a thing are still the most alike.
    for name, row in zip(stored.names, stored.neighbors(1).rows, strict=True):
        assert stored.names[int(row)][0] == name[0]


@pytest.mark.slow
def test_another_kind_of_features(two_things, tmp_path):
    index = index_photos(two_things, tmp_path / "index.h5", features="sift")
    replace(index, made_by="other").save(tmp_path / "other.h5")
    with pytest.raises(ConfigError, match="is an index by 'other', and this would be one by 'vlad128/sift-opencv"):
        index_photos(two_things, tmp_path / "other.h5", features="sift")


def test_what_is_no_index(two_things, tmp_path):
    with pytest.raises(OutputError, match="There is no index"):
        opened_index(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(OutputError, match="is no index of photos"):
        index_photos(two_things, tmp_path / "text.h5", features="sift")


def test_photos_that_are_none(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match="There are no photos below"):
        index_photos(tmp_path / "photos", tmp_path / "index.h5", features="sift")
    (tmp_path / "photos" / "bad.png").write_text("hello")
    with pytest.raises(ImageError, match="None of the 1 photos can be read"):
        index_photos(tmp_path / "photos", tmp_path / "index.h5", features="sift")
    assert not (tmp_path / "index.h5").exists()


@pytest.mark.slow
def test_photos_without_a_point(tmp_path):
    for i in range(2):
        PIL.Image.new("RGB", (64, 64), (i, i, i)).save(tmp_path / f"{i}.png")
    assert len(index_photos(tmp_path, tmp_path / "index.h5", features="sift").neighbors(5).rows) == 2
