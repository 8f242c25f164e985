import numpy as np
import pytest
import torch


@pytest.fixture
def features():
    from photoglue.structs import Features

    random = np.random.default_rng(0)
    return Features.from_arrays(
        random.uniform(0, 60, (30, 2)), random.normal(size=(30, 8)), (80, 60), kind="aliked-n16", exif_orientation=6
    )


def store(path, **features):
    pytest.importorskip("h5py", exc_type=ImportError)
    from photoglue.store import FeatureStore

    with FeatureStore.open(path, "w") as file:
        for name, each in features.items():
            file.write(name.replace("__", "/") + ".jpg", each)
    return path


def test_npz_either_way_round(tmp_path):
    from photoglue.doctor import read_features

    keypoints, descriptors = np.ones((5, 2), dtype=np.float16), np.ones((5, 7))
    for rows in (descriptors, descriptors.T):
        np.savez(tmp_path / "f.npz", keypoints=keypoints, descriptors=rows, image_size=[64, 48], kind="disk")
        given = read_features(tmp_path / "f.npz")
        assert given.descriptors.shape == (5, 7)
        assert (given.image_size, given.kind, given.keypoints.dtype) == ((64, 48), "disk", np.float16)


def test_store_is_read_upright_under_the_name_of_the_photo(tmp_path, features):
    from photoglue.doctor import read_features

    path = store(tmp_path / "f.h5", a=features[:10], sub__b=features)
    for photo in ("b.jpg", "/somewhere/sub/b.jpg"):
        given = read_features(path, photo)
        assert given.image_size == (80, 60)
        assert torch.allclose(torch.from_numpy(given.keypoints), features.keypoints)
        assert given.descriptors.shape == (30, 8)
    with pytest.raises(Exception, match=r"has no features of 'c.jpg'; it has 2 photos, such as 'a.jpg'"):
        read_features(path, "c.jpg")


def test_files_of_hloc(tmp_path):
    h5py = pytest.importorskip("h5py", exc_type=ImportError)
    from photoglue.doctor import read_features

    with h5py.File(tmp_path / "f.h5", "w") as file:
        group = file.create_group("db/1.jpg")
        group["keypoints"], group["descriptors"] = np.ones((4, 2), dtype=np.float16), np.ones((128, 4))
    given = read_features(tmp_path / "f.h5", "other.jpg")  # the only one
    assert (given.descriptors.shape, given.image_size, given.kind) == ((4, 128), None, None)
    assert given.features((50, 40), "disk").image_size == (50, 40)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"keypoints": np.ones((3, 2))}, "has no descriptors; it has keypoints"),
        ({"keypoints": np.ones((3, 3)), "descriptors": np.ones((3, 4))}, r"n × 2 and n × d were expected"),
        ({"keypoints": np.ones((3, 2)), "descriptors": np.ones((4, 5))}, r"has 3 keypoints, but descriptors of shape"),
        ({"keypoints": np.ones((3, 2)), "descriptors": np.ones((3, 5)), "scales": np.ones(2)}, "but 2 scales"),
    ],
)
def test_arrays_that_do_not_belong_together(tmp_path, arrays, message):
    from photoglue.doctor import read_features
    from photoglue.errors import ConfigError

    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(ConfigError, match=message):
        read_features(tmp_path / "f.npz")


@pytest.mark.parametrize("name", ["f.npz", "f.h5"])
def test_no_files_of_features(tmp_path, name):
    pytest.importorskip("h5py", exc_type=ImportError)
    from photoglue.doctor import read_features
    from photoglue.errors import ConfigError, OutputError

    with pytest.raises(ConfigError, match="is not a file; features are in a file that ends in"):
        read_features(tmp_path / name)
    (tmp_path / name).write_bytes(b"not at all")
    with pytest.raises(OutputError, match="is damaged, or no file of features"):
        read_features(tmp_path / name)


def test_points_without_a_place_are_not_matched(features):
    from dataclasses import replace

    from photoglue.doctor.given import given_of

    given = given_of(features, "mine")
    keypoints = given.keypoints.copy()
    keypoints[3] = np.nan
    assert len(replace(given, keypoints=keypoints).features((80, 60), None)) == 29


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("name", ["aliked", "disk", "sift"])
def test_features_are_recognized(astronaut, name):
    from dataclasses import replace

    from photoglue import create_extractor
    from photoglue.doctor.given import given_of, recognized
    from photoglue.image import load_image

    if name == "sift":
        pytest.importorskip("cv2", exc_type=ImportError)
    image = load_image(astronaut)[:, :256, :256]
    features = create_extractor(name, max_keypoints=100, resize=700).extract(image)  # not the size that we would take
    found = recognized(replace(given_of(features, "mine"), kind=None), image)
    assert found is not None
    assert found[0] == name
    other = replace(given_of(features, "mine"), descriptors=np.random.default_rng(0).normal(size=(len(features), 128)))
    assert recognized(other, image) is None
