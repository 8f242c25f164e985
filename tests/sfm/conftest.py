"""Photos of two things, and their features, without weights: OpenCV's SIFT on blobs."""

import pytest
from tiny_photos import blobs


@pytest.fixture(scope="session")
def two_things(tmp_path_factory):
    """A folder with photos a0, a1, a2 of one thing and b0, b1, b2 of another."""
    folder = tmp_path_factory.mktemp("two_things")
    for letter, seed in (("a", 1), ("b", 2)):
        for shift in range(3):
            blobs(seed, shift).save(folder / f"{letter}{shift}.png")
    return folder


@pytest.fixture(scope="session")
def sift_features(two_things, tmp_path_factory):
    """The file of their features."""
    pytest.importorskip("cv2", exc_type=ImportError)
    pytest.importorskip("h5py", exc_type=ImportError)
    from photoglue import batch, create_extractor

    store = tmp_path_factory.mktemp("features") / "features.h5"
    batch.extract(two_things, store, create_extractor("sift", resize=512))
    return store


@pytest.fixture(scope="session")
def placed(tmp_path_factory):
    """A folder with a map, and queries in queries/: 3 of the mapped place, 8 of another, 48 with nothing in it."""
    for package in ("pycolmap", "h5py", "poselib"):
        pytest.importorskip(package, exc_type=ImportError)
    from mapped_scene import EMPTY, PLACES, write
    from placed_scene import write_map

    folder = write_map(tmp_path_factory.mktemp("placed"))
    write(folder / "queries", 3, PLACES, PLACES * EMPTY)
    return folder
