from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from photoglue.errors import ConfigError, OutputError, ShapeError
from photoglue.retrieval import PhotoIndex, index


def made(count=30, dim=64, seed=0):
    vectors = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return vectors, PhotoIndex.of_vectors([f"{i}.jpg" for i in range(count)], vectors, "test/1")


def test_search_is_the_full_product(monkeypatch):
    vectors, whole = made()
    queries = torch.randn(3, 64)
    monkeypatch.setattr(index, "ROWS_AT_ONCE", 7)  # several blocks, the last one short
    found = whole.search(queries, "test/1", 5)
    cosine = normalize(queries, dim=1) @ normalize(vectors, dim=1).T
    torch.testing.assert_close(found.scores, cosine.topk(5).values, atol=0.01, rtol=0)
    assert torch.equal(found.rows[:, 0], cosine.argmax(dim=1))
    assert (found.scores.diff(dim=1) <= 0).all()
    assert whole.search(queries, "test/1", 99).rows.shape == (3, 30)


def test_neighbors_are_others(monkeypatch):
    vectors, whole = made()
    monkeypatch.setattr(index, "ROWS_AT_ONCE", 7)
    found = whole.neighbors(4)
    cosine = normalize(vectors, dim=1) @ normalize(vectors, dim=1).T
    wanted = cosine.fill_diagonal_(-2).topk(4).values
    torch.testing.assert_close(found.scores, wanted, atol=0.01, rtol=0)
    torch.testing.assert_close(cosine.gather(1, found.rows), wanted, atol=0.01, rtol=0)
    assert not (found.rows == torch.arange(30)[:, None]).any()
    assert whole.neighbors(99).rows.shape == (30, 29)


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one(count):
    whole = made(count)[1]
    assert whole.neighbors(5).rows.shape == (count, 0)
    assert whole.search(torch.randn(2, 64), "test/1", 5).rows.shape == (2, count)


def test_a_photo_without_points_is_like_nothing():
    whole = PhotoIndex.of_vectors(["a", "b"], torch.stack([torch.zeros(4), torch.ones(4)]), "test/1")
    assert whole.search(torch.ones(1, 4), "test/1").scores.tolist() == [[pytest.approx(1, abs=1e-3), 0.0]]


def test_saved_and_loaded_is_the_same(tmp_path):
    pytest.importorskip("h5py", exc_type=ImportError)
    whole = replace(made(3)[1], digests=("x", "y", "z"), root="/photos/ä b")
    whole.save(tmp_path / "index.h5")
    loaded = PhotoIndex.load(tmp_path / "index.h5")
    assert torch.equal(loaded.codes, whole.codes)
    assert torch.equal(loaded.scales, whole.scales)
    assert all(getattr(loaded, name) == getattr(whole, name) for name in ("names", "digests", "root", "made_by"))
    assert [path.name for path in tmp_path.iterdir()] == ["index.h5"]


def test_files_that_are_none(tmp_path):
    h5py = pytest.importorskip("h5py", exc_type=ImportError)
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "photoglue-features"
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file.attrs.update({"format": index.FORMAT, "version": 99})
    for name, said in (
        ("absent.h5", "no index of photos"),
        ("text.h5", "no index of photos"),
        ("other.h5", "photoglue-features"),
        ("new.h5", "newer than this PhotoGlue"),
    ):
        with pytest.raises(OutputError, match=said):
            PhotoIndex.load(tmp_path / name)


def test_a_damaged_file(tmp_path):
    pytest.importorskip("h5py", exc_type=ImportError)
    made()[1].save(tmp_path / "index.h5")
    content = (tmp_path / "index.h5").read_bytes()
    (tmp_path / "index.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(OutputError, match="no index of photos that can be read"):
        PhotoIndex.load(tmp_path / "index.h5")


def test_other_vectors_are_refused(as_a_user):
    whole = made()[1]
    with pytest.raises(ConfigError, match="'test/1', 64 long, and the query is of 'other', 64 long"):
        whole.search(torch.randn(1, 64), "other")
    with pytest.raises(ConfigError, match="cannot be compared"):
        whole.search(torch.randn(1, 32), "test/1")
    with pytest.raises(ShapeError, match=r"2 names \(1 different\), 2 vectors"):
        PhotoIndex.of_vectors(["a", "a"], torch.randn(2, 4), "test/1")
    with pytest.raises(ShapeError, match="3 names"):
        PhotoIndex.of_vectors(["a", "b", "c"], torch.randn(2, 4), "test/1")
