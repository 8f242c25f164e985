"""What is kept of a verified pair comes back, and what is no such file is refused."""

import numpy as np
import pytest

from photoglue.errors import ConfigError, OutputError
from photoglue.sfm.verified import PairKind, VerifiedPair, VerifiedStore
from photoglue.store import MatchStore

h5py = pytest.importorskip("h5py", exc_type=ImportError)


def pair(kind=PairKind.CALIBRATED, **matrices):
    return VerifiedPair(kind=kind, inliers=np.array([[1, 2], [3, 4]], np.uint32), n_matches=7, **matrices)


def test_round_trip(tmp_path):
    essential = np.arange(9.0).reshape(3, 3)
    nothing = VerifiedPair(kind=PairKind.DEGENERATE, inliers=np.zeros((0, 2), np.uint32), n_matches=0)
    with VerifiedStore.open(tmp_path / "v.h5", "a", options={}) as store:
        store.write("a/x.jpg", "b.jpg", pair(essential=essential), made_from={"matches": "1"})
        store.write("a/y.jpg", "b.jpg", nothing)
    with VerifiedStore.open(tmp_path / "v.h5") as store:
        assert store.pairs() == [("a/x.jpg", "b.jpg"), ("a/y.jpg", "b.jpg")]
        found = store.read("a/x.jpg", "b.jpg")
        assert (found.kind, found.n_matches, len(found), found.good) == (PairKind.CALIBRATED, 7, 2, True)
        np.testing.assert_array_equal(found.inliers, [[1, 2], [3, 4]])
        np.testing.assert_array_equal(found.essential, essential)
        assert found.fundamental is None
        assert store.made_from_pair("a/x.jpg", "b.jpg") == {"matches": "1"}
        assert not store.read("a/y.jpg", "b.jpg").good
        assert ("b.jpg", "a/x.jpg") not in store
        with pytest.raises(ConfigError, match="no geometry"):
            store.read("b.jpg", "c.jpg")
    assert PairKind.PLANAR_OR_PANORAMIC.label == "planar or panoramic"


def test_another_file_and_damage_are_refused(tmp_path):
    MatchStore.open(tmp_path / "m.h5", "a", options={}).close()
    with pytest.raises(OutputError, match="photoglue-matches"):
        VerifiedStore.open(tmp_path / "m.h5")
    with VerifiedStore.open(tmp_path / "v.h5", "a", options={}) as store:
        store.write("a", "b", pair())
        store._file[next(iter(store._file))].attrs["kind"] = 77
        with pytest.raises(OutputError, match="damaged"):
            store.read("a", "b")
