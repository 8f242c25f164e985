"""Features in HDF5: the same after a round trip, readable by hloc, and hloc's readable here."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError, OutputError, PhotoGlueWarning
from photoglue.store import FeatureStore
from photoglue.structs import Features

h5py = pytest.importorskip("h5py", exc_type=ImportError)


def _features(n=50, d=16, **more):
    return Features(
        keypoints=torch.rand(n, 2) * 3000,
        descriptors=torch.rand(n, d),
        scores=torch.rand(n),
        image_size=(4000, 3000),
        **more,
    )


def _assert_same(left, right):
    assert left.numpy().keys() == right.numpy().keys()
    for name, value in left.numpy().items():
        if isinstance(value, np.ndarray):
            assert value.dtype == right.numpy()[name].dtype
            np.testing.assert_array_equal(value, right.numpy()[name])
        else:
            assert value == right.numpy()[name]


@pytest.mark.parametrize("n", [0, 1, 50])
def test_a_round_trip_changes_nothing(tmp_path, n):
    plain = _features(n, kind="aliked-n16")
    sift = _features(n, d=128, kind="sift-opencv", scales=torch.rand(n) * 9, orientations=torch.rand(n) * 6)
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        store.write("plain.jpg", plain)
        store.write("sift.jpg", sift)
        store.write("unknown.jpg", _features(n))
    with FeatureStore.open(tmp_path / "f.h5") as store:
        _assert_same(store["plain.jpg"], plain)
        _assert_same(store["sift.jpg"], sift)
        assert store["unknown.jpg"].kind is None
        assert store["plain.jpg"].descriptors.is_contiguous()


def test_half_precision_features_are_kept_as_single(tmp_path):
    features = Features(
        keypoints=torch.tensor([[3001.7, 2.0]]),
        descriptors=torch.rand(1, 4).half(),
        scores=torch.rand(1).half(),
        image_size=(4000, 3000),
    )
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        store.write("a", features)
        back = store["a"]
    assert torch.equal(back.keypoints, features.keypoints)
    assert torch.equal(back.descriptors, features.descriptors.float())


def test_names_in_folders_are_nested_groups(tmp_path):
    names = ["db/1.jpg", "db/deep/2.jpg", "query.jpg", "ünïcode – 雪.jpg", "db.jpg"]
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        for name in names:
            store.write(name, _features(3))
        assert store.names() == list(store) == sorted(names)
        for name in names:
            assert name in store
        for name in ("db", "db/deep", "db/1.jpg/keypoints", "", "/", "other.jpg"):
            assert name not in store
    with h5py.File(tmp_path / "f.h5") as file:
        assert sorted(file["db"]) == ["1.jpg", "deep"]


def test_writing_again_replaces(tmp_path):
    first, second = _features(9, scales=torch.rand(9)), _features(4)
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        store.write("db/a", first)
        store.write("db/b", first)
        store.write("db/a", second)
        _assert_same(store["db/a"], second)
        _assert_same(store["db/b"], first)


def test_the_layout_is_hlocs(tmp_path):
    """Read as hloc reads: dataset by dataset, descriptors with a column for each point, names from the datasets."""
    features = _features(7, d=16)
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        store.write("db/1.jpg", features)
    names = set()
    with h5py.File(tmp_path / "f.h5", "r") as file:
        file.visititems(
            lambda _, item: names.add(item.parent.name.strip("/")) if isinstance(item, h5py.Dataset) else None
        )
        group = file["db/1.jpg"]
        assert set(group) == {"keypoints", "descriptors", "scores", "image_size"}
        assert group["keypoints"].dtype == np.float32
        np.testing.assert_array_equal(group["keypoints"][()], features.keypoints)
        np.testing.assert_array_equal(group["descriptors"][()].T, features.descriptors)
        np.testing.assert_array_equal(group["image_size"][()], [4000, 3000])
    assert names == {"db/1.jpg"}


def test_hlocs_own_files_can_be_read(tmp_path):
    points = np.array([[10.25, 20.5], [3001.7, 5.0]])
    with h5py.File(tmp_path / "hloc.h5", "w", libver="latest") as file:
        group = file.create_group("db/1.jpg")
        group["keypoints"] = points.astype(np.float16)
        group["keypoints"].attrs["uncertainty"] = 1.5
        group["descriptors"] = np.arange(6, dtype=np.float16).reshape(3, 2)
        group["scores"] = np.array([0.5, 0.25], dtype=np.float16)
        group["image_size"] = np.array([4000, 3000])
        file.create_group("2.jpg")["global_descriptor"] = np.zeros(4)
    with FeatureStore.open(tmp_path / "hloc.h5") as store:
        assert store.options is None
        assert store.names() == ["db/1.jpg"]
        with pytest.warns(PhotoGlueWarning, match="are float16, as hloc writes them"):
            features = store["db/1.jpg"]
        store["db/1.jpg"]  # says it once
    assert features.kind is None
    assert features.image_size == (4000, 3000)
    assert features.keypoints.tolist() == [[10.25, 20.5], [3002.0, 5.0]]
    assert features.descriptors.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert features.scores.tolist() == [0.5, 0.25]
    with pytest.raises(ConfigError, match="does not say with which options it was made"):
        FeatureStore.open(tmp_path / "hloc.h5", options={"extractor": "aliked"})


def test_an_image_that_is_not_there_names_one_that_is(tmp_path):
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        with pytest.raises(ConfigError, match=r"no features of 'a'; it has 0 images\.$"):
            store["a"]
        store.write("db/0001.jpg", _features(1))
        store.write("db/0002.jpg", _features(1))
        with pytest.raises(ConfigError, match=r"no features of 'db/002.jpg'; it has 2 images, such as 'db/0002.jpg'"):
            store["db/002.jpg"]


@pytest.mark.parametrize("missing", ["descriptors", "image_size"])
def test_a_group_that_lacks_something_is_an_error_not_a_traceback_of_h5py(tmp_path, missing):
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        store.write("a", _features(3))
    with h5py.File(tmp_path / "f.h5", "a") as file:
        del file["a"][missing]
    with (
        FeatureStore.open(tmp_path / "f.h5") as store,
        pytest.raises(OutputError, match=rf"'a' in .* is not complete or damaged: '{missing}'"),
    ):
        store["a"]


def test_arrays_that_do_not_fit_together_are_an_error(tmp_path):
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        store.write("a", _features(3))
    with h5py.File(tmp_path / "f.h5", "a") as file:
        del file["a"]["scores"]
        file["a"]["scores"] = np.ones(2, dtype=np.float32)
    with FeatureStore.open(tmp_path / "f.h5") as store, pytest.raises(OutputError, match="is not complete or damaged"):
        store["a"]


@pytest.mark.parametrize("name", ["", "/", ".photoglue-unfinished/a"])
def test_names_that_cannot_be_kept_are_refused(tmp_path, name):
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        with pytest.raises(OutputError, match="Nothing can be stored under the name"):
            store.write(name, _features(1))
        assert store.names() == []


def test_a_name_below_a_dataset_is_refused_and_harms_nothing(tmp_path):
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        store.write("a", _features(1))
        with pytest.raises(OutputError, match="'a/keypoints/b' cannot be written"):
            store.write("a/keypoints/b", _features(1))
        assert store.names() == ["a"]


def test_features_of_a_folder_s_name_do_not_hide_or_remove_the_folder(tmp_path):
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        store.write("db/1.jpg", _features(1))
        with pytest.raises(OutputError, match="'db' cannot be written"):
            store.write("db", _features(1))
        assert store.names() == ["db/1.jpg"]


def test_the_digest_tells_features_apart_whoever_wrote_them(tmp_path):
    features = _features(5, kind="aliked-n16")
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        store.write("a", features)
        store.write("same", features)
        store.write("kind", _features(5, kind="disk"))
        store.write("none", features[:0])
        digests = {name: store.digest(name) for name in store.names()}
    assert digests["a"] == digests["same"]
    assert len(set(digests.values())) == 3
    with h5py.File(tmp_path / "f.h5", "a") as file:  # as in a file of an earlier version
        for name in digests:
            del file[name].attrs["digest"]
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert {name: store.digest(name) for name in digests} == digests


def test_a_file_of_version_0_1_0_may_be_added_to_if_its_options_agree(tmp_path):
    old = {"features": "aliked-n16", "max_keypoints": 200, "resize": None, "masks": "/old/masks"}
    new = {"kind": "aliked-n16", "max_keypoints": 200, "resize": None, "weights": "12ab"}
    FeatureStore.open(tmp_path / "f.h5", "w", options=old).close()
    with pytest.raises(ConfigError, match="resize: None there, 1024 now"):
        FeatureStore.open(tmp_path / "f.h5", "a", options={**new, "resize": 1024})
    FeatureStore.open(tmp_path / "f.h5", "a", options=new).close()
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.options == new


@pytest.mark.parametrize("name", ["keypoints", "descriptors", "image_size"])
@pytest.mark.parametrize("content", [b"text", np.float32(1), np.zeros((2, 2, 2), np.float32)])
def test_entries_of_other_types_and_shapes_are_damaged(tmp_path, name, content):
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        store.write("a", _features())
        del store._file[f"a/{name}"]
        store._file[f"a/{name}"] = content
        with pytest.raises(OutputError, match=r"'a' in .*damaged"):
            store["a"]


def test_a_turn_stays_known_and_makes_other_features(tmp_path):
    made = _features(3)
    with FeatureStore.open(tmp_path / "f.h5", "w") as store:
        for quarters in (0, 1, 2):
            store.write(f"{quarters}.jpg", replace(made, quarters=quarters))
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert [store[f"{quarters}.jpg"].quarters for quarters in (0, 1, 2)] == [0, 1, 2]
        assert torch.equal(store["1.jpg"].keypoints, store["0.jpg"].keypoints)
        assert len({store.digest(f"{quarters}.jpg") for quarters in (0, 1, 2)}) == 3
