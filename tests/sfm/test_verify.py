"""Geometry is of the right kind, only where it is not chance, and is computed anew only if something changed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mapped_scene import FLAT, PLACES, TURNING, Scene, Told, cloud, pose, write

from photoglue import batch
from photoglue.errors import ConfigError
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.sfm.cameras import CameraOptions, find_cameras
from photoglue.sfm.verified import PairKind, VerifiedStore
from photoglue.sfm.verify import VerifyOptions, meaningful, stored_points, verify_pair
from photoglue.store import MatchStore

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)


def residuals(scene, pair, matrix, inliers):
    """Epipolar distances in image 1 of the inliers, COLMAP's pixels."""
    points0, points1 = (stored_points(scene.features[name])[inliers[:, i]] for i, name in enumerate(pair))
    lines = np.c_[points0, np.ones(len(points0))] @ matrix.T
    return np.abs((np.c_[points1, np.ones(len(points1))] * lines).sum(1)) / np.linalg.norm(lines[:, :2], axis=1)


@pytest.mark.parametrize(
    ("place", "focal", "kind"),
    [
        (0, "280", PairKind.CALIBRATED),
        (0, None, PairKind.UNCALIBRATED),
        (FLAT, "280", PairKind.PLANAR),
        (FLAT, None, PairKind.PLANAR_OR_PANORAMIC),
        (TURNING, "280", PairKind.PANORAMIC),
        (TURNING, None, PairKind.PANORAMIC),
    ],
)
def test_each_kind_of_pair_is_named(tmp_path, place, focal, kind):
    scene = Scene(tmp_path, PLACES * place, PLACES * place + 2, focal=focal)
    assert scene.verify().done == 1
    assert scene.kinds() == [kind]


def test_matrices_are_of_stored_pixels(tmp_path):
    scene = Scene(tmp_path, 1, 2, 3, focal="280", exif={2: {0x0112: 6}})
    scene.verify()
    with VerifiedStore.open(tmp_path / "v.h5") as store:
        for pair in store.pairs():
            found = store.read(*pair)
            assert found.kind == PairKind.CALIBRATED
            inverses = [np.linalg.inv(scene.cameras.of(name).pinhole.matrix.numpy()) for name in pair]
            fundamental = inverses[1].T @ found.essential @ inverses[0]
            assert len(found) > 60
            assert residuals(scene, pair, fundamental, found.inliers).max() < 1.5
    plain = Scene(tmp_path / "plain", 0, 3)
    plain.verify()
    with VerifiedStore.open(tmp_path / "plain" / "v.h5") as store:
        found = store.read(*plain.pairs[0])
        assert residuals(plain, plain.pairs[0], found.fundamental, found.inliers).max() < 1.5


def test_distorted_cameras_are_straightened_first(tmp_path):
    scene = Scene(tmp_path, 0, 2, focal="280")
    cameras = [scene.cameras.of(name) for name in scene.features]
    bent = tuple(replace(each, model="SIMPLE_RADIAL", params=(280.0, 160.0, 120.0, -0.3)) for each in cameras)
    features = []
    for each in scene.features.values():
        rays = (each.keypoints - torch.tensor([159.5, 119.5])) / 280
        seen = rays * (1 - 0.3 * rays.square().sum(dim=1, keepdim=True)) * 280 + torch.tensor([159.5, 119.5])
        features.append(replace(each, keypoints=seen))
    with MatchStore.open(tmp_path / "m.h5") as store:
        names = scene.pairs[0]
        indices = store.read(*names, *(scene.features[name].keypoints for name in names)).indices.numpy()
    both, options = (features[0], features[1]), VerifyOptions(threshold_px=0.3)
    right, wrong = (verify_pair(both, indices, (pair[0], pair[1]), options) for pair in (bent, cameras))
    assert len(right) > 60
    assert len(wrong) < 0.85 * len(right)


def test_a_wrong_focal_length_of_exif_is_not_believed(tmp_path):
    scene = Scene(tmp_path, 0, 3, focal="280")
    features = tuple(scene.features.values())
    with MatchStore.open(tmp_path / "m.h5") as store:
        indices = store.read(*scene.pairs[0], *(each.keypoints for each in features)).indices.numpy()
    right = replace(scene.cameras.cameras[0], given=False)
    wrong = replace(right, params=(400.0, 400.0, *right.params[2:]))
    options = VerifyOptions(threshold_px=0.5)
    kinds = {}
    for camera in (right, wrong, replace(wrong, given=True)):
        found = verify_pair(features, indices, (camera, camera), options)
        kinds[camera.params[0], camera.given] = (found.kind, len(found) > 0.9 * len(indices))
    assert kinds[280, False] == (PairKind.CALIBRATED, True)
    assert kinds[400, False] == (PairKind.UNCALIBRATED, True)
    assert kinds[400, True] == (PairKind.CALIBRATED, False)  # the user has the last word


def test_chance_is_no_geometry():
    """15 of 200 random matches agree with some fundamental matrix; 15 of 25 do not."""
    chance = 0.0035  # a pixel on either side of a line, in a photo of 1024 × 683
    assert not meaningful(200, 15, 7, chance)
    assert meaningful(25, 15, 7, chance)
    assert meaningful(500, 60, 7, chance)
    assert not meaningful(10, 5, 5, chance)


def test_random_matches_are_degenerate(tmp_path):
    scene = Scene(tmp_path, 0, PLACES)
    features = tuple(scene.features.values())
    source = np.random.default_rng(0)
    indices = np.stack([source.permutation(70), source.permutation(70)], axis=1)
    cameras = tuple(scene.cameras.of(name) for name in scene.features)
    found = verify_pair(features, indices, cameras, VerifyOptions(min_inliers=8))
    assert (found.kind, len(found), found.n_matches) == (PairKind.DEGENERATE, 0, 70)


@pytest.mark.slow
def test_only_what_changed_is_verified_again(tmp_path):
    scene = Scene(tmp_path, 0, 1, 2)
    assert scene.verify().lines()[0].startswith("3 checked pairs, ")
    again = scene.verify()
    assert (again.done, again.kept) == (0, 3)
    write(tmp_path / "photos", 3).joinpath("003.png").replace(tmp_path / "photos" / "000.png")
    batch.extract(tmp_path / "photos", tmp_path / "f.h5", Told())
    batch.match(scene.pairs, tmp_path / "f.h5", tmp_path / "m.h5", NearestNeighbor(0.8))
    again = scene.verify()
    assert (again.done, again.kept, again.again) == (2, 1, {"whose matches changed since": 2})
    paths = {name: tmp_path / "photos" / name for name in scene.features}
    scene.cameras = find_cameras(paths, CameraOptions(intrinsics="280"))
    assert scene.verify().again == {"whose cameras changed since": 3}
    assert scene.kinds() == [PairKind.CALIBRATED] * 3
    with pytest.raises(ConfigError, match=r"min_inliers: 15 there, 20 now"):
        scene.verify(options=VerifyOptions(min_inliers=20))


def test_pairs_that_were_not_matched_are_reported(tmp_path):
    scene = Scene(tmp_path, 0, 1)
    scene.pairs.append(("000.png", "absent.png"))
    assert scene.verify().failed == {"000.png absent.png": "not matched"}


@pytest.mark.slow
def test_threads_give_the_same_bytes(tmp_path, monkeypatch):
    scene = Scene(tmp_path, 0, 1, 2)
    monkeypatch.setattr("photoglue.sfm.verify.PAIRS_AT_ONCE", 1)
    written = []
    for threads in (1, 3):
        monkeypatch.setattr("torch.get_num_threads", lambda threads=threads: threads)
        scene.verify()
        written.append((tmp_path / "v.h5").read_bytes())
        (tmp_path / "v.h5").unlink()
    assert written[0] == written[1]


@pytest.mark.slow
def test_processes_give_the_same(tmp_path):
    scene = Scene(tmp_path, 0, 1, 2, 3)
    scene.verify()
    with VerifiedStore.open(tmp_path / "v.h5") as store:
        inline = {pair: store.read(*pair) for pair in store.pairs()}
    (tmp_path / "v.h5").unlink()
    scene.verify(engine=batch.Processes(workers=1))
    with VerifiedStore.open(tmp_path / "v.h5") as store:
        for pair, found in inline.items():
            np.testing.assert_array_equal(store.read(*pair).inliers, found.inliers)
            np.testing.assert_array_equal(store.read(*pair).fundamental, found.fundamental)


@pytest.mark.parametrize(("name", "value"), [("threshold_px", 0.0), ("threshold_px", float("nan")), ("min_inliers", 0)])
def test_impossible_options_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        VerifyOptions(**{name: value})


def test_the_scene_is_what_the_tests_think():
    points, _ = cloud(0)
    assert ((np.c_[points, np.ones(len(points))] @ pose(3).T)[:, 2] > 0).all()
