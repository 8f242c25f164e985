"""Plain COLMAP, the peer: its own SIFT, all pairs, its incremental mapper, through pycolmap."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from photoglue.datasets.photos import photos_of
from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import colmap_pinhole
from photoglue.sfm.cameras import find_cameras
from photoglue.solvers.colmap import pycolmap


@dataclass(frozen=True, kw_only=True)
class MapRun:
    """What a mapper made of a scene."""

    model: Path | None
    """The folder of the largest model; None if there is none."""
    cpu_seconds: Mapping[str, float]
    """Stage → CPU seconds of all threads and processes together."""
    unplaced: Mapping[str, str] = field(default_factory=dict)
    """Photos without a place → why, if the mapper says so."""


Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being done, how much of it is done, how much there is)."""
Mapper: TypeAlias = Callable[[Path, Path, Mapping[str, PinholeCamera] | None, Progress], MapRun]
"""Makes a model of all photos below the first folder, in the second, which is empty. The cameras are those of the
stored photos by their names, known and not to be changed; None: unknown. It may say how far it is."""


@dataclass(frozen=True, kw_only=True)
class ColmapSift:
    """COLMAP as it comes, on one thread or more."""

    max_keypoints: int = 9000
    """Keypoints of a photo."""
    single_camera: bool | None = None
    """All photos have one camera; False: those whose EXIF says so have, and each photo without EXIF has its own. None:
    they have one if ``photoglue map`` would say so. Without effect on cameras that are known."""
    threads: int = 1
    seed: int = 0

    def __call__(
        self, photos: Path, out: Path, cameras: Mapping[str, PinholeCamera] | None, progress: Progress
    ) -> MapRun:
        """Extract, match all pairs, verify and map.

        Raises:
            ConfigError: If pycolmap is too old: it needs 3.13 or newer for the names of these options.
            MissingExtra: If it is not installed.
        """
        colmap = pycolmap()
        if not hasattr(colmap, "FeatureExtractionOptions"):
            raise ConfigError("This pycolmap has no FeatureExtractionOptions; the peer needs pycolmap 3.13 or newer.")
        watch = CpuWatch(progress=progress)
        database, sparse = out / "database.db", out / "sparse"
        sparse.mkdir()
        with watch.stage("extract"):
            options = colmap.FeatureExtractionOptions()
            options.use_gpu, options.num_threads = False, self.threads
            options.sift.max_num_features = self.max_keypoints
            single = one_camera(photos) if self.single_camera is None else self.single_camera
            mode = colmap.CameraMode.SINGLE if single else colmap.CameraMode.AUTO
            mode = mode if cameras is None else colmap.CameraMode.PER_IMAGE
            colmap.extract_features(str(database), str(photos), camera_mode=mode, extraction_options=options)
            if cameras is not None:
                set_cameras(database, cameras)
        with watch.stage("match"):
            matching = colmap.FeatureMatchingOptions()
            matching.use_gpu, matching.num_threads = False, self.threads
            colmap.match_exhaustive(str(database), matching_options=matching)
        with watch.stage("map"):
            refine = cameras is None
            mapping = {"num_threads": self.threads, "random_seed": self.seed, "ba_refine_focal_length": refine}
            mapping |= {"ba_refine_extra_params": refine, "min_model_size": 3}
            models = colmap.incremental_mapping(str(database), str(photos), str(sparse), options=mapping)
        best = max(models, key=lambda number: models[number].num_reg_images(), default=None)
        return MapRun(model=None if best is None else sparse / str(best), cpu_seconds=dict(watch.seconds))


@dataclass(kw_only=True)
class CpuWatch:
    """CPU seconds of stages, of this process and of those that it started and that have ended."""

    progress: Progress = lambda what, done, total: None  # noqa: ARG005
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what is done inside to a stage."""
        before = sum(os.times()[:4])
        self.progress(name, 0, 1)
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + sum(os.times()[:4]) - before
            self.progress(name, 1, 1)


def one_camera(photos: Path) -> bool:
    """Whether all photos in a folder have one camera, as ``photoglue map`` sees it."""
    found = photos_of([photos])
    return len(find_cameras({name: found.path(i) for i, name in enumerate(found.names)}).cameras) == 1


def set_cameras(database: Path, cameras: Mapping[str, PinholeCamera]) -> None:
    """Give the photos of a COLMAP database their known cameras, one each.

    Raises:
        ConfigError: If a photo of the database has no known camera.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        rows = connection.execute("SELECT name, camera_id FROM images").fetchall()
        unknown = sorted({name for name, _ in rows} - cameras.keys())
        if unknown:
            raise ConfigError(f"{len(unknown)} photos have no known camera, such as {unknown[0]!r}.")
        for name, camera_id in rows:
            parameters = np.array(colmap_pinhole(cameras[name]), dtype="<f8").tobytes()
            connection.execute(
                "UPDATE cameras SET model = 1, params = ?, prior_focal_length = 1 WHERE camera_id = ?",
                (parameters, camera_id),
            )
