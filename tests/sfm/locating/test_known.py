"""What is read of a map, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from mapped_scene import seen
from placed_scene import true_pose, write_known

from photoglue.errors import ConfigError
from photoglue.geometry.frames import from_colmap
from photoglue.sfm.locating.known import KnownMap
from photoglue.store import FeatureStore, atomic_store


def test_features_and_their_points(placed):
    with KnownMap(placed / "map") as known:
        assert known.names == ("000.png", "001.png", "002.png", "004.png", "005.png")
        assert (known.kind, known.index) == ("told", None)
        photo = known.photo("002.png")
        pixels, inside = seen(2)
        features = known.features("002.png")
        np.testing.assert_allclose(features.keypoints.numpy(), pixels[inside], atol=1e-3)
        sees = photo.points >= 0
        assert sees.sum() > 80 and len(photo.points) == len(features)
        at = from_colmap(np.asarray(photo.image.keypoints))
        np.testing.assert_allclose(at + 0.5, features.keypoints.numpy()[sees], atol=1e-3)
        assert known.shared["000.png"]["001.png"] > 50
        assert known.near(true_pose(3), 2) in (["002.png", "004.png"], ["004.png", "002.png"])
        assert list(known.cameras) == [("", (320, 240))]


@pytest.fixture
def copy(placed, tmp_path):
    shutil.copytree(placed / "map", tmp_path / "map")
    return tmp_path / "map"


def test_no_map(tmp_path, copy):
    with pytest.raises(ConfigError, match=r"is no folder of a map with a model: run\.json and sparse/0"):
        KnownMap(tmp_path)
    with pytest.raises(ConfigError, match="It is a COLMAP model: give it as --model"):
        KnownMap(write_known(tmp_path / "known"))
    (copy / "features.h5").unlink()
    with pytest.raises(ConfigError, match=r"has no features.h5, the features that its model was made of"):
        KnownMap(copy)
    run = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**run, "format": "other"}))
    with pytest.raises(ConfigError, match="is of 'other'"):
        KnownMap(copy)


def test_features_of_another_run(copy):
    """Features that were extracted again since, with other options, do not belong to the model."""
    with FeatureStore.open(copy / "features.h5") as store:
        features, options = store["002.png"], store.options
    with atomic_store(copy / "features.h5", options, FeatureStore) as store:
        store.write("002.png", features[:50])
    with KnownMap(copy) as known, pytest.raises(ConfigError, match="are not those that its model was made of"):
        known.photo("002.png")
