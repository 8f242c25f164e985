"""A COLMAP model as a few arrays: what the report, the exports and whoever else only reads it look at."""

import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.geometry.frames import StoredFrame, from_colmap
from photoglue.geometry.pose import rotation_from_quaternion
from photoglue.solvers.colmap import pycolmap
from photoglue.solvers.colmap_files import (
    CameraRecord,
    ImageRecord,
    PointRecords,
    read_cameras,
    read_images,
    read_points,
)

FILES = ("cameras", "images", "points3D")
"""The files of a model, without .bin or .txt."""


@dataclass(frozen=True, kw_only=True)
class ModelImage:
    """A photo that was placed.

    All of it is in stored pixels, as COLMAP reads photos; ``upright`` turns the pose.
    """

    name: str
    """Path below the folder of photos, with slashes."""
    image_id: int
    camera_id: int
    cam_from_world: Float64[Tensor, "4 4"]
    """Pose of the camera of the stored photo."""
    keypoints: Float64[Tensor, "n 2"]
    """Those keypoints that see a point: (x, y) in stored pixels, the centre of the top-left pixel at (0, 0)."""
    points: Int64[Tensor, " n"]
    """The point that each sees: a row of ``Model.points``."""

    @property
    def centre(self) -> Float64[Tensor, "3"]:
        """Where the camera stands in the world."""
        return -self.cam_from_world[:3, :3].T @ self.cam_from_world[:3, 3]

    def upright(self, frame: StoredFrame) -> Float64[Tensor, "4 4"]:
        """The pose ``cam_from_world`` of the camera of the upright photo.

        Raises:
            ConfigError: If the photo's EXIF orientation mirrors it.
        """
        pose = self.cam_from_world.clone()
        pose[:3] = frame.upright_cam_from_stored_cam() @ pose[:3]
        return pose


@dataclass(frozen=True, kw_only=True)
class Model:
    """Cameras, placed photos and points of a COLMAP model."""

    cameras: Mapping[int, CameraRecord]
    """By their ids."""
    images: tuple[ModelImage, ...]
    """Sorted by name."""
    points: Float64[Tensor, "m 3"]
    """Positions in the world."""
    colours: UInt8[Tensor, "m 3"]
    """Red, green, blue."""
    errors: Float64[Tensor, " m"]
    """Mean reprojection error of each point, pixels."""
    track_lengths: Int64[Tensor, " m"]
    """How many keypoints see each point."""

    def image(self, name: str) -> ModelImage:
        """The photo of this name.

        Raises:
            KeyError: If it is not in the model.
        """
        for image in self.images:
            if image.name == name:
                return image
        raise KeyError(name)

    def reprojection_errors(self, image: ModelImage) -> Float64[Tensor, " n"]:
        """How far from each keypoint of a photo its point is projected, pixels; NaN for points behind the camera.

        Raises:
            MissingExtra: If pycolmap is not installed.
        """
        record = self.cameras[image.camera_id]
        width, height = record.image_size
        camera = pycolmap().Camera(model=record.model, width=width, height=height, params=list(record.parameters))
        in_camera = self.points[image.points] @ image.cam_from_world[:3, :3].T + image.cam_from_world[:3, 3]
        projected = torch.from_numpy(np.array(camera.img_from_cam(in_camera.numpy()), dtype=np.float64).reshape(-1, 2))
        errors: Tensor = (from_colmap(projected) - image.keypoints).norm(dim=1)
        return errors

    def shared_points(self) -> dict[tuple[str, str], int]:
        """How many points two photos both see, by their names in the order of ``images``; pairs without any are absent.

        A point that a photo sees twice counts once.
        """
        count = len(self.images)
        seen = [np.unique(image.points.numpy()) * count + i for i, image in enumerate(self.images)]
        points, photos = np.divmod(np.sort(np.concatenate([np.empty(0, np.int64), *seen])), max(count, 1))
        pairs: Counter[int] = Counter()
        # Observations of a point are neighbours now: compare each with the next, the one after that, and so on.
        for step in range(1, count):
            same = np.flatnonzero(points[step:] == points[:-step])
            if not len(same):
                break
            codes, numbers = np.unique(photos[same] * count + photos[same + step], return_counts=True)
            pairs.update(dict(zip(codes.tolist(), numbers.tolist(), strict=True)))
        names = [image.name for image in self.images]
        return {(names[code // count], names[code % count]): number for code, number in sorted(pairs.items())}


def read_model(folder: str | os.PathLike[str]) -> Model:
    """Read a model from the folder of its files: ``cameras``, ``images`` and ``points3D``, all .bin or all .txt.

    Raises:
        ConfigError: If there is no model, it is cut off or damaged, or its files do not belong together.
        MissingExtra: If the files are text and pycolmap is not installed.
    """
    folder = Path(folder)
    if all((folder / f"{name}.bin").is_file() for name in FILES):
        return _model(folder)
    if not all((folder / f"{name}.txt").is_file() for name in FILES):
        raise ConfigError(_absent(folder))
    with tempfile.TemporaryDirectory() as place:
        try:
            pycolmap().Reconstruction(str(folder)).write(place)
        except (ValueError, IndexError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"The model {str(folder)!r} cannot be read: {reason}") from error
        return _model(Path(place), shown=folder)


def _absent(folder: Path) -> str:
    if not folder.is_dir():
        return f"There is no folder {str(folder)!r}."
    wanted = "cameras, images and points3D (.bin or .txt)"
    inside = [name for name in ("sparse/0", "0", "sparse") if (folder / name / "images.bin").is_file()]
    hint = f" Is it {str(folder / inside[0])!r}?" if inside else ""
    return f"The folder {str(folder)!r} holds no COLMAP model: {wanted} were wanted.{hint}"


def _model(folder: Path, shown: Path | None = None) -> Model:
    cameras = {camera.camera_id: camera for camera in read_cameras(folder / "cameras.bin")}
    records = sorted(read_images(folder / "images.bin"), key=lambda image: image.name)
    points = read_points(folder / "points3D.bin")
    order = np.argsort(points.ids, kind="stable")
    images = tuple(_image(record, points, order) for record in records)
    unknown = [record.name for record in records if record.camera_id not in cameras]
    rows = np.concatenate([np.empty(0, np.int64), *(image.points.numpy() for image in images)])
    if unknown or not np.array_equal(np.bincount(rows, minlength=len(order)), points.track_lengths):
        what = f"the camera of {unknown[0]!r} is missing" if unknown else "images and points name different tracks"
        raise ConfigError(f"The files in {str(shown or folder)!r} do not belong together: {what}.")
    return Model(
        cameras=cameras,
        images=images,
        points=torch.from_numpy(points.xyz),
        colours=torch.from_numpy(points.colours),
        errors=torch.from_numpy(points.errors),
        track_lengths=torch.from_numpy(points.track_lengths),
    )


def _image(record: ImageRecord, points: PointRecords, order: Int64[np.ndarray, " m"]) -> ModelImage:
    seeing = record.point_ids >= 0
    wanted = record.point_ids[seeing]
    places = np.searchsorted(points.ids, wanted, sorter=order).clip(max=max(len(order) - 1, 0))
    rows = order[places] if len(order) else np.empty(0, np.int64)
    if len(rows) != len(wanted) or not np.array_equal(points.ids[rows], wanted):
        raise ConfigError(f"The model's photo {record.name!r} sees points that points3D does not have.")
    return ModelImage(
        name=record.name,
        image_id=record.image_id,
        camera_id=record.camera_id,
        cam_from_world=_pose(record),
        keypoints=from_colmap(torch.from_numpy(record.xy[seeing])),
        points=torch.from_numpy(rows),
    )


def _pose(record: ImageRecord) -> Float64[Tensor, "4 4"]:
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = rotation_from_quaternion(torch.tensor(record.quaternion, dtype=torch.float64))
    pose[:3, 3] = torch.tensor(record.translation, dtype=torch.float64)
    return pose
