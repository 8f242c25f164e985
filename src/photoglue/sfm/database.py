"""Stores → COLMAP's database, in the oldest layout that all its versions since 3.11 read.

It is a pure function of the stores: written anew each time, never patched. No pycolmap is needed. Rigs, frames and
descriptors are left out: COLMAP makes trivial rigs when it reads the file.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from photoglue.errors import ConfigError, OutputError
from photoglue.sfm.cameras import MODELS, Cameras
from photoglue.sfm.unplaced import rows_of, with_parallax
from photoglue.sfm.verified import VerifiedPair, VerifiedStore
from photoglue.sfm.verify import stored_points
from photoglue.store import FeatureStore, MatchStore

USER_VERSION = 3900
"""SQLite's ``user_version`` of COLMAP 3.11, which later versions upgrade when they open the file."""
LARGEST_ID = 2147483647
"""COLMAP's number of a pair is id0 times this plus id1."""
BLOB_TABLE = "rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB"
LAYOUT = f"""
CREATE TABLE cameras (camera_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, model INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, params BLOB, prior_focal_length INTEGER NOT NULL);
CREATE TABLE images (image_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name TEXT NOT NULL UNIQUE,
    camera_id INTEGER NOT NULL, CONSTRAINT image_id_check CHECK(image_id >= 0 and image_id < {LARGEST_ID}),
    FOREIGN KEY(camera_id) REFERENCES cameras(camera_id));
CREATE UNIQUE INDEX index_name ON images(name);
CREATE TABLE keypoints (image_id INTEGER PRIMARY KEY NOT NULL, {BLOB_TABLE},
    FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE descriptors (image_id INTEGER PRIMARY KEY NOT NULL, {BLOB_TABLE},
    FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE matches (pair_id INTEGER PRIMARY KEY NOT NULL, {BLOB_TABLE});
CREATE TABLE two_view_geometries (pair_id INTEGER PRIMARY KEY NOT NULL, {BLOB_TABLE}, config INTEGER NOT NULL,
    F BLOB, E BLOB, H BLOB, qvec BLOB, tvec BLOB);
PRAGMA user_version = {USER_VERSION};
"""
ADD_CAMERA = (
    "INSERT INTO cameras (camera_id, model, width, height, params, prior_focal_length) VALUES (?, ?, ?, ?, ?, ?)"
)
ADD_IMAGE = "INSERT INTO images (image_id, name, camera_id) VALUES (?, ?, ?)"
ADD_KEYPOINTS = "INSERT INTO keypoints (image_id, rows, cols, data) VALUES (?, ?, ?, ?)"
ADD_MATCHES = "INSERT INTO matches (pair_id, rows, cols, data) VALUES (?, ?, ?, ?)"
ADD_GEOMETRY = (
    "INSERT INTO two_view_geometries (pair_id, rows, cols, data, config, F, E, H) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def write_database(
    path: str | os.PathLike[str],
    *,
    features: str | os.PathLike[str],
    matches: str | os.PathLike[str],
    verified: str | os.PathLike[str],
    cameras: Cameras,
    pairs: Iterable[tuple[str, str]],
    first: Mapping[str, tuple[int, int]] | None = None,
    keypoints: Mapping[str, Float[Tensor, "_ 2"]] | None = None,
) -> None:
    """Writes a COLMAP database of photos, their keypoints, and the verified matches of pairs.

    Keypoints are in stored pixels, the centre of the top-left one at (0.5, 0.5). Photos are numbered from 1 in the
    order of their names; the first of a pair has the smaller number. Photos among which the camera only turned have no
    geometry in it unless others connect them: COLMAP would make a model of them, and it would be wrong.

    Args:
        path: The file, which is whole or absent; one that is there is replaced.
        features: The HDF5 file of features, which has all photos of ``cameras``.
        matches: The HDF5 file of matches.
        verified: The HDF5 file of ``verify_matches``.
        cameras: Those of all photos that the database shall have.
        pairs: The pairs that it shall have; others in the files are left out.
        first: Photos that have numbers already, in a model that is to be extended: their numbers and those of their
            cameras.
        keypoints: Photos whose keypoints are elsewhere than the file of features has them, such as refined ones: their
            (x, y) in pixels of the upright photo.

    Raises:
        OutputError: If a file cannot be read, or the database cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.partial")
    images, camera_ids = _numbers(cameras, first or {})
    try:
        temporary.unlink(missing_ok=True)
        with closing(sqlite3.connect(temporary, isolation_level=None)) as base:
            base.execute("PRAGMA journal_mode = OFF")
            base.execute("PRAGMA synchronous = OFF")
            base.executescript(LAYOUT)
            base.execute("BEGIN")
            base.executemany(ADD_CAMERA, _camera_rows(cameras, camera_ids))
            rows = ((images[name], name, camera_ids[name]) for name in sorted(images, key=images.__getitem__))
            base.executemany(ADD_IMAGE, rows)
            stores = (Path(features), Path(matches), Path(verified))
            _add_pairs(base, stores, _Photos(images=images, cameras=cameras, moved=keypoints or {}), pairs)
            base.execute("COMMIT")
        temporary.replace(path)
    except (OSError, sqlite3.Error) as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{str(path)!r} cannot be written: {error}. Is the disk full?") from error


def _numbers(cameras: Cameras, first: Mapping[str, tuple[int, int]]) -> tuple[dict[str, int], dict[str, int]]:
    """COLMAP's numbers of photos, and of the camera of each photo."""
    images = {name: number for name, (number, _) in first.items() if name in cameras.number_of}
    after = max(images.values(), default=0)
    new = [name for name in sorted(cameras.number_of) if name not in images]
    images |= {name: after + i for i, name in enumerate(new, start=1)}
    taken = {cameras.number_of[name]: camera for name, (_, camera) in first.items() if name in images}
    after = max((camera for _, camera in first.values()), default=0)
    for number in range(len(cameras.cameras)):
        taken.setdefault(number, after + number + 1)
    return images, {name: taken[cameras.number_of[name]] for name in images}


def _camera_rows(cameras: Cameras, camera_ids: Mapping[str, int]) -> Iterator[tuple[object, ...]]:
    for camera_id, number in sorted({(camera_ids[name], cameras.number_of[name]) for name in camera_ids}):
        camera = cameras.cameras[number]
        params = np.array(camera.params, dtype="<f8").tobytes()
        yield camera_id, MODELS[camera.model][0], *camera.image_size, params, int(camera.prior)


@dataclass(frozen=True, kw_only=True)
class _Photos:
    """What pairs are written with."""

    images: Mapping[str, int]
    """COLMAP's number of each photo."""
    cameras: Cameras
    moved: Mapping[str, Float[Tensor, "_ 2"]]
    """Keypoints in place of those of the store."""

    def forms(self, name0: str, name1: str, found: VerifiedPair) -> list[np.ndarray | None]:
        """F, E and H of a pair; F follows from E, because COLMAP's calibration of focal lengths asks for it."""
        fundamental = found.fundamental
        if found.essential is not None and fundamental is None:
            inverse0, inverse1 = (
                np.linalg.inv(self.cameras.of(name).pinhole.matrix.numpy()) for name in (name0, name1)
            )
            fundamental = inverse1.T @ found.essential @ inverse0
        return [fundamental, found.essential, found.homography]


def _add_pairs(
    base: sqlite3.Connection, stores: tuple[Path, Path, Path], photos: _Photos, pairs: Iterable[tuple[str, str]]
) -> None:
    features, matches, verified = stores
    wanted = sorted({(min(pair), max(pair)) for pair in pairs})
    counts, images = {}, photos.images
    with FeatureStore.open(features) as feature_store:
        for name, number in images.items():
            features_of = feature_store[name]
            if name in photos.moved:
                features_of = replace(features_of, keypoints=photos.moved[name].float())
            points = stored_points(features_of).astype("<f4")
            counts[name] = len(points)
            base.execute(ADD_KEYPOINTS, (number, *points.shape, points.tobytes()))
    rows = rows_of(verified, wanted)
    turned = {(row.name0, row.name1) for row in rows} - set(with_parallax(rows))
    with MatchStore.open(matches) as match_store, VerifiedStore.open(verified) as verified_store:
        for name0, name1 in ((row.name0, row.name1) for row in rows):
            try:
                raw = match_store.indices(name0, name1, counts[name0], counts[name1])
            except ConfigError:  # its matches are not there any more
                continue
            geometry = verified_store.read(name0, name1)
            inliers, forms = geometry.inliers, photos.forms(name0, name1, geometry)
            if images[name0] > images[name1]:
                raw, inliers = raw[:, ::-1], inliers[:, ::-1]
                forms = [_other_way(form, is_homography=i == 2) for i, form in enumerate(forms)]
            low, high = sorted((images[name0], images[name1]))
            pair_id = low * LARGEST_ID + high
            base.execute(ADD_MATCHES, (pair_id, len(raw), 2, _uint32(raw)))
            if geometry.good and (name0, name1) not in turned:
                blobs = [None if form is None else form.astype("<f8").tobytes() for form in forms]
                row = (pair_id, len(inliers), 2, _uint32(inliers), int(geometry.kind), *blobs)
                base.execute(ADD_GEOMETRY, row)


def _other_way(matrix: np.ndarray | None, *, is_homography: bool) -> np.ndarray | None:
    if matrix is None:
        return None
    return np.asarray(np.linalg.inv(matrix)) if is_homography else matrix.T


def _uint32(indices: np.ndarray) -> bytes:
    return np.ascontiguousarray(indices, dtype="<u4").tobytes()
