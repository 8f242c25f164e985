"""Points of a model whose cameras are known, through COLMAP."""

import os
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float64
from torch import Tensor

from photoglue.errors import PhotoGlueError
from photoglue.geometry.pose import quaternion_from_rotation
from photoglue.solvers.colmap import pycolmap
from photoglue.solvers.colmap_files import CameraRecord


def write_posed(
    folder: Path,
    cameras: Sequence[CameraRecord],
    images: Sequence[tuple[int, int, str, Float64[Tensor, "4 4"]]],
) -> None:
    """Writes a model without points as text.

    Args:
        folder: An existing folder.
        cameras: The cameras.
        images: Number, number of the camera, name and ``cam_from_world`` of each photo.
    """
    lines = [
        f"{camera.camera_id} {camera.model} {camera.image_size[0]} {camera.image_size[1]} "
        + " ".join(map(repr, camera.parameters))
        for camera in cameras
    ]
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = []
    for number, camera_id, name, pose in images:
        values = [*quaternion_from_rotation(pose[:3, :3]).tolist(), *pose[:3, 3].tolist()]
        rows.append(f"{number} {' '.join(map(repr, values))} {camera_id} {name}\n\n")
    (folder / "images.txt").write_text("".join(rows), encoding="utf-8")
    (folder / "points3D.txt").write_text("", encoding="utf-8")


def triangulate(known: Path, database: Path, photos: Path, out: Path, *, seed: int = 0, threads: int = 1) -> None:
    """Makes the points of a model whose cameras stay as they are.

    Args:
        known: The folder of a model with these photos; its points do not count.
        database: A COLMAP database with verified matches of these photos, under the same names; newer versions of
            COLMAP upgrade it.
        photos: The folder that names of photos are relative to; colours are read there.
        out: An existing folder for the model.
        seed: Seed of all random choices.
        threads: Threads; -1: all.

    Raises:
        PhotoGlueError: If COLMAP fails.
        MissingExtra: If pycolmap is not installed.
    """
    module = pycolmap()
    options = module.IncrementalPipelineOptions()
    model = module.Reconstruction(os.fspath(known))
    values = {"random_seed": seed, "num_threads": threads}
    for part in (options, options.mapper, options.triangulation):
        for name, value in values.items():
            if hasattr(part, name):
                setattr(part, name, value)
    # Otherwise COLMAP makes no points of what only two photos see: none at all, if there are no more.
    options.triangulation.ignore_two_view_tracks = len(model.images) > 2
    places = tuple(map(os.fspath, (database, photos, out)))
    try:
        module.triangulate_points(model, *places, options=options)
    except (RuntimeError, ValueError) as error:
        raise PhotoGlueError(f"COLMAP could not make points of the photos: {error}") from error
