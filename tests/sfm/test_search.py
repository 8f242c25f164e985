from dataclasses import replace

import pytest

from photoglue.errors import ConfigError, ImageError
from photoglue.sfm import index_photos, search, search_photos, similar_photos

pytest.importorskip("cv2", exc_type=ImportError)
pytest.importorskip("h5py", exc_type=ImportError)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def index(two_things, tmp_path_factory):
    return index_photos(two_things, tmp_path_factory.mktemp("index") / "index.h5", features="sift")


def test_the_most_alike_first(two_things, index):
    found = search_photos(two_things / "a0.png", index, top=3)
    assert {each.name for each in found[:2]} == {"a1.png", "a2.png"}  # not the photo itself
    assert found[0].score > found[2].score
    assert found[0].path.samefile(two_things / found[0].name)
    assert all(each.inliers is None for each in found)


def test_checked(two_things, index, monkeypatch):
    found = search_photos(two_things / "a0.png", index, top=5, check=True)
    counts = [each.inliers for each in found]
    assert counts == sorted(counts, reverse=True)
    assert {each.name for each in found[:2]} == {"a1.png", "a2.png"}
    assert counts[1] > 10 * counts[2]
    monkeypatch.setattr(search, "SAME_THING", 20)
    pairs = similar_photos(index, min_score=-1.0, check=True)
    assert {(each.name0[0], each.name1[0]) for each in pairs} == {("a", "a"), ("b", "b")}
    assert len(pairs) == 6


def test_pairs_that_look_alike(index):
    every = similar_photos(index, min_score=-1.0)
    assert len(every) == 15
    assert [each.score for each in every] == sorted((each.score for each in every), reverse=True)
    assert {each.name0[0] + each.name1[0] for each in every[:4]} <= {"aa", "bb"}
    assert similar_photos(index, min_score=every[2].score) == every[:3]


def test_refusals(two_things, index, tmp_path):
    with pytest.raises(ConfigError, match="top is 0"):
        search_photos(two_things / "a0.png", index, top=0)
    with pytest.raises(ImageError, match="There is no file"):
        search_photos(tmp_path / "absent.jpg", index)
    with pytest.raises(ConfigError, match="The index was made by 'vlad9/own/123', and this version"):
        search_photos(two_things / "a0.png", replace(index, made_by="vlad9/own/123"))
    lost = replace(index, root=str(tmp_path))
    assert len(search_photos(two_things / "a0.png", lost)) == 6  # without the photos, that of the query is not known
    with pytest.raises(ImageError, match="in the index, but not there; bring the index up to date"):
        search_photos(two_things / "a0.png", lost, check=True)
    with pytest.raises(ImageError, match="made of photos under other names"):
        search_photos(two_things / "a0.png", replace(index, root=""), check=True)
