"""COLMAP reads what is written for it, in its own pixels, and the file is whole or absent."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from mapped_scene import PLACES, TURNING, Scene

from photoglue.errors import OutputError
from photoglue.sfm.database import USER_VERSION, write_database
from photoglue.sfm.verified import VerifiedStore

pytest.importorskip("h5py", exc_type=ImportError)
pytest.importorskip("poselib", exc_type=ImportError)


def written(scene, name="d.db", **options):
    scene.verify()
    path = scene.folder / name
    files = {"features": scene.folder / "f.h5", "matches": scene.folder / "m.h5", "verified": scene.folder / "v.h5"}
    write_database(path, **files, cameras=scene.cameras, pairs=scene.pairs, **options)
    return path


def test_pycolmap_reads_it(tmp_path):
    from photoglue.solvers.colmap import pycolmap

    pytest.importorskip("pycolmap", exc_type=ImportError)
    scene = Scene(tmp_path, 0, 1, 2, focal="280", exif={1: {0x0112: 6}})
    path = written(scene)
    assert path.read_bytes() == written(scene, "again.db").read_bytes()
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("PRAGMA user_version").fetchone() == (USER_VERSION,)
        assert base.execute("PRAGMA journal_mode").fetchone() == ("delete",)  # no -wal file beside it
    module = pycolmap()
    try:
        base = module.Database.open(str(path))
    except TypeError:  # before 4.0
        base = module.Database(str(path))
    images = {image.name: image for image in base.read_all_images()}
    assert sorted((image.image_id, name) for name, image in images.items()) == [
        (1, "000.png"), (2, "001.png"), (3, "002.png"),
    ]  # fmt: skip
    camera = base.read_camera(images["001.png"].camera_id)
    assert (camera.width, camera.height, camera.has_prior_focal_length) == (240, 320, True)
    assert (camera.width, list(camera.params)) == (240, [280, 280, 120, 160])
    keypoints = np.asarray(base.read_keypoints(2))[:, :2]
    upright = scene.features["001.png"].keypoints.numpy()
    # Orientation 6 turns the stored photo clockwise: stored x is upright y, stored y counts from the right.
    np.testing.assert_allclose(keypoints, np.c_[upright[:, 1] + 0.5, 320 - upright[:, 0] - 0.5], atol=1e-4)
    with VerifiedStore.open(scene.folder / "v.h5") as store:
        found = store.read("000.png", "001.png")
    geometry = base.read_two_view_geometry(1, 2)
    assert int(geometry.config) == int(found.kind) == 2
    np.testing.assert_array_equal(geometry.inlier_matches, found.inliers)
    np.testing.assert_allclose(geometry.E, found.essential)
    assert len(base.read_matches(1, 2)) == found.n_matches


def rows(path, query):
    with closing(sqlite3.connect(path)) as base:
        return base.execute(query).fetchall()


def test_photos_of_an_older_model_keep_their_numbers(tmp_path):
    scene = Scene(tmp_path, 0, 1, 2)
    plain = written(scene)
    path = written(scene, "first.db", first={"002.png": (5, 9), "gone.png": (7, 4)})
    assert rows(path, "SELECT name, image_id, camera_id FROM images ORDER BY name") == [
        ("000.png", 6, 9), ("001.png", 7, 9), ("002.png", 5, 9),
    ]  # fmt: skip
    query = "SELECT F, data FROM two_view_geometries WHERE pair_id = {}"
    (forth,) = rows(plain, query.format(1 * 2147483647 + 3))
    (back,) = rows(path, query.format(5 * 2147483647 + 6))
    np.testing.assert_array_equal(np.frombuffer(back[0]).reshape(3, 3), np.frombuffer(forth[0]).reshape(3, 3).T)
    indices = [np.frombuffer(row[1], np.uint32).reshape(-1, 2) for row in (forth, back)]
    np.testing.assert_array_equal(indices[0], indices[1][:, ::-1])


def test_only_listed_pairs_and_none_of_mere_turns(tmp_path):
    scene = Scene(tmp_path, 0, 1, 2)
    pairs = scene.pairs
    scene.verify()
    scene.pairs = pairs[:1]
    assert rows(written(scene), "SELECT count(*) FROM two_view_geometries") == [(1,)]
    turning = Scene(tmp_path / "turning", PLACES * TURNING, PLACES * TURNING + 2)
    path = written(turning)
    assert rows(path, "SELECT count(*) FROM two_view_geometries") == [(0,)]
    assert rows(path, "SELECT count(*) FROM matches") == [(1,)]


def test_what_cannot_be_written_leaves_the_old_one(tmp_path):
    scene = Scene(tmp_path, 0, 1)
    path = written(scene)
    before = path.read_bytes()
    (tmp_path / "m.h5").write_bytes(b"no matches")
    with pytest.raises(OutputError):
        write_database(
            path,
            features=tmp_path / "f.h5",
            matches=tmp_path / "m.h5",
            verified=tmp_path / "v.h5",
            cameras=scene.cameras,
            pairs=scene.pairs,
        )
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.glob("*.partial")] == []
    with pytest.raises(OutputError, match="cannot be written"):
        written(Scene(tmp_path / "b", 0, 1), "absent/d.db")


@pytest.mark.slow
def test_colmap_calibrates_known_and_unknown_cameras_together(tmp_path):
    """Pairs of known cameras are essential matrices; COLMAP calibrates others by fundamental ones of all pairs."""
    pytest.importorskip("pycolmap", exc_type=ImportError)
    from photoglue.sfm import MapperOptions, reconstruct

    known = {0xA405: round(280 * 43.267 / 400), 0x010F: "A"}
    scene = Scene(tmp_path, 0, 1, 2, 3, 4, exif=dict.fromkeys(range(3), known))
    path = written(scene)
    query = "SELECT F, E FROM two_view_geometries WHERE config = 2"
    found = [[np.frombuffer(blob).reshape(3, 3) for blob in row] for row in rows(path, query)]
    assert len(found) == 3
    matrix = scene.cameras.of("000.png").pinhole.matrix.numpy()
    for fundamental, essential in found:
        np.testing.assert_allclose(matrix.T @ fundamental @ matrix, essential, atol=1e-9)
    (model,) = reconstruct(path, tmp_path / "photos", tmp_path / "out", options=MapperOptions())
    assert len(model.placed) == 5


def test_moved_keypoints_are_written_in_place_of_the_stored(tmp_path):
    from photoglue.store import FeatureStore

    scene = Scene(tmp_path, 0, 1)
    with FeatureStore.open(tmp_path / "f.h5") as store:
        points = store["000.png"].keypoints
    path = written(scene, keypoints={"000.png": points + 0.25})

    def keypoints(name):
        with closing(sqlite3.connect(name)) as base:
            rows = base.execute("SELECT data FROM keypoints ORDER BY image_id").fetchall()
        return [np.frombuffer(row[0], "<f4").reshape(-1, 2) for row in rows]

    before, after = keypoints(written(scene, "plain.db")), keypoints(path)
    assert np.allclose(after[0] - before[0], 0.25, atol=1e-4)
    assert np.array_equal(after[1], before[1])
