"""What the lens of a COLMAP camera does to pixels, taken off again."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame, camera_of_colmap_pinhole, from_colmap, to_colmap
from photoglue.solvers.colmap import pycolmap
from photoglue.solvers.colmap_files import CameraRecord

STRAIGHT = ("SIMPLE_PINHOLE", "PINHOLE")
"""Camera models without distortion."""


@final
@dataclass(frozen=True, kw_only=True)
class ColmapLens:
    """The camera of a model for a photo as it is shown, which may be larger or smaller than it was in the model.

    A call takes points (x, y) of the photo, upright pixels, to where the camera would see them if its lens were
    without distortion (``pinhole``); (NaN, NaN) where no such place is. Sizes are scaled exactly: edges lie on edges.

    Raises:
        ConfigError: If the camera is a panorama, which no pinhole camera is like.
        MissingExtra: If the camera has distortion, and pycolmap is not installed.
    """

    record: CameraRecord
    """The camera as the model has it."""
    frame: StoredFrame
    """The photo as it is used: its size, and how EXIF turns it."""

    def __post_init__(self) -> None:
        if self.record.model == "EQUIRECTANGULAR":
            raise ConfigError("Its camera is a panorama (EQUIRECTANGULAR); a camera with a focal length is needed.")

    @property
    def scale(self) -> tuple[float, float]:
        """Photo over model in stored pixels, along each side of the stored photo."""
        (width, height), (width0, height0) = self.frame.size, self.record.image_size
        return width / width0, height / height0

    @property
    def pinhole(self) -> PinholeCamera:
        """The camera of the upright photo without its distortion."""
        fx, fy, cx, cy = self._parameters()
        across, down = self.scale
        scaled = (fx * across, fy * down, cx * across, cy * down)
        return self.frame.camera_to_upright(camera_of_colmap_pinhole(scaled, self.frame.size))

    def __call__(self, points: Float[Tensor, "n 2"]) -> Float64[Tensor, "n 2"]:
        """Points of the upright photo without the distortion, upright pixels."""
        if self.record.model in STRAIGHT:
            return points.double()
        scale = torch.tensor(self.scale, dtype=torch.float64)
        stored = to_colmap(self.frame.from_upright(points.double().cpu())) / scale
        fx, fy, cx, cy = self._parameters()
        rays = np.asarray(self._camera().cam_from_img(stored.numpy()), dtype=np.float64).reshape(-1, 2)
        straight = torch.from_numpy(rays * (fx, fy) + (cx, cy)) * scale
        return self.frame.to_upright(from_colmap(straight)).to(points.device)

    def to_photo(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Points of the model's stored photo, the centre of whose top-left pixel is (0, 0), as upright pixels."""
        scaled = to_colmap(points) * points.new_tensor(self.scale)
        return self.frame.to_upright(from_colmap(scaled))

    def _parameters(self) -> tuple[float, float, float, float]:
        """Focal lengths and principal point, COLMAP's pixels of the model."""
        if self.record.model == "SIMPLE_PINHOLE":
            f, cx, cy = self.record.parameters
            return f, f, cx, cy
        if self.record.model == "PINHOLE":
            fx, fy, cx, cy = self.record.parameters
            return fx, fy, cx, cy
        matrix = self._camera().calibration_matrix()
        return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])

    def _camera(self) -> Any:
        (width, height), record = self.record.image_size, self.record
        return pycolmap().Camera(model=record.model, width=width, height=height, params=list(record.parameters))
