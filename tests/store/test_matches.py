"""Matches in HDF5: the same after a round trip in either order, readable by hloc, and hloc's readable here."""

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError, OutputError, ShapeError
from photoglue.store import MatchStore
from photoglue.structs import Matches

h5py = pytest.importorskip("h5py", exc_type=ImportError)

KEYPOINTS0 = torch.tensor([[0.0, 1], [2, 3], [4, 5], [6, 7]])
KEYPOINTS1 = torch.tensor([[10.0, 11], [12, 13], [14, 15]])


def _matches(**more):
    return Matches(
        matches0=torch.tensor([2, -1, 0, -1]),
        matches1=torch.tensor([2, -1, 0]),
        matching_scores0=torch.tensor([0.9, 0.05, 0.3, 0]),
        matching_scores1=torch.tensor([0.3, 0.02, 0.9]),
        keypoints0=KEYPOINTS0,
        keypoints1=KEYPOINTS1,
        **more,
    )


PRUNED = {"stop": 6, "n_layers": 9, "prune0": torch.tensor([6, 2, 6, 6]), "prune1": torch.tensor([6, 1, 6])}


def _assert_same(left, right):
    left, right = left.numpy(), right.numpy()
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name])
        if isinstance(value, np.ndarray):
            assert value.dtype == right[name].dtype


@pytest.mark.parametrize("more", [{}, PRUNED])
def test_a_round_trip_changes_nothing(tmp_path, more):
    matches = _matches(**more)
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        store.write("db/a.jpg", "q/b.jpg", matches)
    with MatchStore.open(tmp_path / "m.h5") as store:
        _assert_same(store.read("db/a.jpg", "q/b.jpg", KEYPOINTS0, KEYPOINTS1), matches)


def test_either_order_can_be_read(tmp_path):
    matches = _matches(**PRUNED)
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        store.write("a", "b", matches)
        assert ("a", "b") in store
        assert ("b", "a") in store
        assert ("a", "c") not in store
        swapped = store.read("b", "a", KEYPOINTS1, KEYPOINTS0)
    assert torch.equal(swapped.matches0, matches.matches1)
    assert torch.equal(swapped.matching_scores1, matches.matching_scores0)
    assert torch.equal(swapped.prune0, matches.prune1)
    assert torch.equal(swapped.keypoints0, KEYPOINTS1)
    assert swapped.stop == 6
    assert {tuple(row) for row in swapped.indices.flip(1).tolist()} == {tuple(row) for row in matches.indices.tolist()}


def test_an_empty_pair_can_be_kept(tmp_path):
    empty = torch.zeros(0, 2)
    none, few = torch.full((0,), -1), torch.full((3,), -1)
    matches = Matches(
        matches0=none,
        matches1=few,
        matching_scores0=torch.zeros(0),
        matching_scores1=torch.zeros(3),
        keypoints0=empty,
        keypoints1=KEYPOINTS1,
    )
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        store.write("a", "b", matches)
        _assert_same(store.read("a", "b", empty, KEYPOINTS1), matches)


def test_writing_a_pair_again_in_the_other_order_replaces_it(tmp_path):
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        store.write("a", "b", _matches())
        store.write("a", "c", _matches())
        store.write("b", "a", _matches(**PRUNED))
        assert store.pairs() == [("a", "c"), ("b", "a")]
        assert store.read("a", "b", KEYPOINTS1, KEYPOINTS0).stop == 6


def test_pairs_have_their_real_names(tmp_path):
    pairs = [("db/1.jpg", "q/2.jpg"), ("db/1.jpg", "q-2.png"), ("x", "x")]
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        for pair in pairs:
            store.write(*pair, _matches())
        assert sorted(store.pairs()) == sorted(pairs)


def test_two_pairs_that_hlocs_names_cannot_tell_apart_are_an_error(tmp_path):
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        store.write("db/1.jpg", "b", _matches())
        assert ("db-1.jpg", "b") not in store
        with pytest.raises(OutputError, match=r"another pair has their place 'db-1\.jpg/b'.* Rename the images"):
            store.write("db-1.jpg", "b", _matches())
        assert store.pairs() == [("db/1.jpg", "b")]


def test_the_layout_is_hlocs(tmp_path):
    """Read as hloc reads: "/" in names is "-", matches0 with -1, scores beside it."""
    matches = _matches()
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        store.write("db/1.jpg", "q/2.jpg", matches)
    with h5py.File(tmp_path / "m.h5", "r") as file:
        group = file["db-1.jpg/q-2.jpg"]
        assert group["matches0"].dtype == np.int32
        assert group["matching_scores0"].dtype == np.float32
        found = group["matches0"].__array__()
        rows = np.where(found != -1)[0]
        np.testing.assert_array_equal(np.stack([rows, found[rows]], -1), matches.indices)
        np.testing.assert_array_equal(group["matching_scores0"].__array__()[rows], matches.scores)


def test_hlocs_own_files_can_be_read_in_either_order(tmp_path):
    with h5py.File(tmp_path / "hloc.h5", "w", libver="latest") as file:
        group = file.create_group("db-1.jpg/q.jpg")
        group["matches0"] = np.array([2, -1, 0, -1], dtype=np.int16)
        group["matching_scores0"] = np.array([0.5, 0.125, 0.25, 0], dtype=np.float16)
    with MatchStore.open(tmp_path / "hloc.h5") as store:
        assert store.pairs() == [("db-1.jpg", "q.jpg")]
        matches = store.read("db/1.jpg", "q.jpg", KEYPOINTS0, KEYPOINTS1)
        swapped = store.read("q.jpg", "db/1.jpg", KEYPOINTS1, KEYPOINTS0)
    assert matches.matches1.tolist() == [2, -1, 0]
    assert matches.matching_scores1.tolist() == [0.25, 0, 0.5]
    assert matches.matching_scores0.dtype == torch.float32
    assert (matches.stop, matches.prune0) == (None, None)
    assert swapped.indices.tolist() == [[0, 2], [2, 0]]


def test_keypoints_that_were_extracted_again_are_noticed(tmp_path):
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        store.write("a", "b", _matches())
        with pytest.raises(ShapeError, match=r"are of 4 and 3 keypoints, not of these 4 and 2\. .* match again"):
            store.read("a", "b", KEYPOINTS0, KEYPOINTS1[:2])


def test_a_pair_that_is_not_there_or_not_whole_is_an_error(tmp_path):
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        store.write("a", "b", _matches())
        with pytest.raises(ConfigError, match="no matches of 'a' and 'c', in neither order"):
            store.read("a", "c", KEYPOINTS0, KEYPOINTS1)
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file["a/b/matching_scores0"]
    with (
        MatchStore.open(tmp_path / "m.h5") as store,
        pytest.raises(OutputError, match="not complete or damaged: 'matching_scores0'"),
    ):
        store.read("b", "a", KEYPOINTS1, KEYPOINTS0)


def test_an_index_beyond_the_keypoints_in_a_file_of_hloc_is_an_error(tmp_path):
    with h5py.File(tmp_path / "hloc.h5", "w") as file:
        group = file.create_group("a/b")
        group["matches0"], group["matching_scores0"] = np.array([7, -1, 0, -1]), np.ones(4)
    with MatchStore.open(tmp_path / "hloc.h5") as store, pytest.raises(OutputError, match="not complete or damaged"):
        store.read("a", "b", KEYPOINTS0, KEYPOINTS1)


def test_what_a_pair_was_made_from_is_recorded_in_the_order_of_the_pair(tmp_path):
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        store.write("db/a", "b", _matches(), made_from={"features0": "1", "features1": "2"})
        store.write("a", "c", _matches())
        assert store.made_from_pair("db/a", "b") == {"features0": "1", "features1": "2"}
        for pair in (("b", "db/a"), ("a", "c"), ("a", "b")):
            assert store.made_from_pair(*pair) is None


@pytest.mark.parametrize(
    ("name", "content"), [("matches0", b"text"), ("matches0", [3, -1, 0, -1]), ("matches1", [-2] * 3)]
)
def test_entries_that_are_no_matches_are_damaged(tmp_path, name, content):
    with MatchStore.open(tmp_path / "m.h5", "w") as store:
        store.write("a", "b", _matches())
        del store._file[f"a/b/{name}"]
        store._file[f"a/b/{name}"] = content
        with pytest.raises(OutputError, match=r"'a', 'b' in .*not complete or damaged"):
            store.read("a", "b", KEYPOINTS0, KEYPOINTS1)
