"""What a COLMAP model says of itself, read by pycolmap."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from photoglue.errors import ConfigError
from photoglue.solvers.colmap import pycolmap

LEAST_ANGLE_DEG = 1.5
"""Points that no two cameras see under such an angle have no depth; COLMAP's ``filter_min_tri_angle``."""

LEAST_POINTS = 15
"""A model of fewer points is none, as a pair of fewer inliers is none."""


@dataclass(frozen=True, kw_only=True)
class ColmapModel:
    """What a model says of itself."""

    path: Path
    """Its folder, with cameras.bin, images.bin and points3D.bin."""
    placed: tuple[str, ...]
    """Names of the photos that have a place in it, sorted."""
    points: int
    """3D points."""
    mean_track: float
    """Photos that see a point, on average."""
    error_px: float
    """Mean distance between a point as seen and as the model predicts it, pixels of the photos."""
    observations: Mapping[str, int]
    """How many points of the model each placed photo sees."""


def model_facts(path: Path) -> ColmapModel:
    """What the model in a folder says of itself.

    Raises:
        ConfigError: If there is no model that can be read.
    """
    model = opened(path)
    images = {image.name: int(image.num_points3D) for image in _images(model)}
    return ColmapModel(
        path=path,
        placed=tuple(sorted(images)),
        points=int(model.num_points3D()),
        mean_track=float(model.compute_mean_track_length()),
        error_px=float(model.compute_mean_reprojection_error()),
        observations=dict(sorted(images.items())),
    )


def numbers_in(path: Path) -> dict[str, tuple[int, int]]:
    """The numbers of each placed photo of a model, and of its camera.

    Raises:
        ConfigError: If there is no model that can be read.
    """
    return {image.name: (int(image.image_id), int(image.camera_id)) for image in _images(opened(path))}


def check_extendable(path: Path, database: Path) -> None:
    """Makes sure that a database has all photos of a model, with the same numbers and keypoints.

    Raises:
        ConfigError: If it has not, or there is no model that can be read; the message names the photos.
    """
    changed = []
    with closing(sqlite3.connect(database)) as base:
        for image in _images(opened(path)):
            query = "SELECT cols, data FROM keypoints JOIN images USING (image_id) WHERE name = ? AND image_id = ?"
            row = base.execute(query, (image.name, int(image.image_id))).fetchone()
            seen = np.array([point.xy for point in image.points2D], dtype=np.float64).reshape(-1, 2)
            there = None if row is None else np.frombuffer(row[1] or b"", dtype="<f4").reshape(-1, row[0] or 2)[:, :2]
            if there is None or there.shape != seen.shape or not np.allclose(there, seen, atol=1e-3):
                changed.append(str(image.name))
    if changed:
        listed = ", ".join(changed[:5]) + ", …" * (len(changed) > 5)
        raise ConfigError(
            f"The model {str(path)!r} cannot be extended: photos in it were removed or replaced since, or their "
            f"features changed: {listed}. Leave out --extend (extend=False): a new model is made."
        )


def opened(path: Path) -> Any:
    """The model in a folder, as pycolmap has it.

    Raises:
        ConfigError: If there is none that can be read.
    """
    try:
        return pycolmap().Reconstruction(os.fspath(path))
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"There is no COLMAP model in {str(path)!r} that can be read: {error}") from error


def _images(model: Any) -> list[Any]:
    return [model.images[number] for number in model.reg_image_ids()]


def photos_placed(model: Any) -> int:
    """How many photos of a model of pycolmap have a place in it."""
    return int(model.num_reg_images())


def has_depth(model: Any) -> bool:
    """Whether half of the points of a model of pycolmap are so near that its cameras could see them under an angle.

    Photos of a camera that only turned fit any places of the cameras, if all points are infinitely far: where the focal
    length is not known COLMAP may begin with such two, and the last adjustment moves their points there.
    """
    if model.num_points3D() < LEAST_POINTS:
        return False
    centres = np.array([image.projection_center() for image in _images(model)])
    points = np.array([point.xyz for point in model.points3D.values()])
    apart = 2 * np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()
    away = np.linalg.norm(points - centres.mean(axis=0), axis=1)
    return bool((apart >= np.deg2rad(LEAST_ANGLE_DEG) * away).mean() >= 0.5)
