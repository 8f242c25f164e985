"""The pixel frames of a photo: the only file that knows of EXIF turns and of COLMAP's half pixel.

Inside PhotoGlue a photo is **upright**, turned as its EXIF orientation says, and the centre of the top-left pixel is
(0, 0). Other programs (hloc, COLMAP, OpenCV without its EXIF switch) read the **stored** pixels and ignore the
orientation; COLMAP also puts the centre of the top-left pixel at (0.5, 0.5). What is written for them, and masks that
come from them, are in stored pixels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera

HALF_PIXEL = 0.5
"""Where COLMAP has the centre of the top-left pixel, in x and y."""

Points = TypeVar("Points", Tensor, np.ndarray)

# Upright direction = matrix · stored direction, for each EXIF orientation; x to the right, y down.
_TURNS: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {
    1: ((1, 0), (0, 1)),
    2: ((-1, 0), (0, 1)),
    3: ((-1, 0), (0, -1)),
    4: ((1, 0), (0, -1)),
    5: ((0, 1), (1, 0)),
    6: ((0, -1), (1, 0)),
    7: ((0, -1), (-1, 0)),
    8: ((0, 1), (-1, 0)),
}


@dataclass(frozen=True, kw_only=True)
class StoredFrame:
    """The stored pixels of a photo whose EXIF orientation turns it, and the way to upright pixels and back.

    Both frames have the centre of their top-left pixel at (0, 0).

    Raises:
        ConfigError: If the orientation is not one of the eight of EXIF.
    """

    orientation: int
    """EXIF orientation, 1 (upright as stored) to 8; 2, 4, 5 and 7 mirror."""
    upright_size: tuple[int, int]
    """(width, height) of the photo as shown, pixels."""

    def __post_init__(self) -> None:
        if self.orientation not in _TURNS:
            raise ConfigError(f"The EXIF orientation is {self.orientation!r}; it must be a whole number from 1 to 8.")

    @classmethod
    def of_turned(cls, quarters: int, upright_size: tuple[int, int]) -> "StoredFrame":
        """The frame of a photo that was turned counterclockwise by 0, 1, 2 or 3 quarters, as seen."""
        return cls(orientation=(1, 6, 3, 8)[quarters], upright_size=upright_size)

    @property
    def swaps_sides(self) -> bool:
        """Whether the stored photo is as wide as the upright one is high (orientations 5 to 8)."""
        return self.orientation >= 5

    @property
    def mirrors(self) -> bool:
        """Whether the turn mirrors the photo (orientations 2, 4, 5 and 7), which no camera can do by turning."""
        return self.orientation in (2, 4, 5, 7)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the stored photo, pixels."""
        width, height = self.upright_size
        return (height, width) if self.swaps_sides else (width, height)

    def from_upright(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Stored pixels of points given in upright pixels (x, y)."""
        matrix, offset = self._upright_from_stored(points)
        return (points - offset) @ matrix

    def to_upright(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Upright pixels of points given in stored pixels (x, y)."""
        matrix, offset = self._upright_from_stored(points)
        return points @ matrix.T + offset

    def angles_from_upright(self, angles: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Directions in the stored photo of directions in the upright one, radians clockwise as seen, in [-pi, pi]."""
        return self._turned(angles, torch.tensor(_TURNS[self.orientation], dtype=torch.float64).T)

    def angles_to_upright(self, angles: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Directions in the upright photo of directions in the stored one, radians clockwise as seen, in [-pi, pi]."""
        return self._turned(angles, torch.tensor(_TURNS[self.orientation], dtype=torch.float64))

    def image_to_upright(self, image: Shaped[Tensor, "*c h w"]) -> Shaped[Tensor, "*c h2 w2"]:
        """Stored pixels, of a photo or a mask, turned upright."""
        (right, _), (_, down) = matrix = _TURNS[self.orientation]
        if self.swaps_sides:
            image = image.transpose(-1, -2)
            right, down = matrix[0][1], matrix[1][0]
        axes = [axis for axis, sign in ((-1, right), (-2, down)) if sign < 0]
        return image.flip(axes) if axes else image

    def camera_from_upright(self, camera: PinholeCamera) -> PinholeCamera:
        """The camera of the stored photo, from that of the upright one."""
        return self._camera(camera, self.from_upright, self.size)

    def camera_to_upright(self, camera: PinholeCamera) -> PinholeCamera:
        """The camera of the upright photo, from that of the stored one."""
        return self._camera(camera, self.to_upright, self.upright_size)

    def upright_cam_from_stored_cam(self) -> Float64[Tensor, "3 3"]:
        """The rotation between the cameras of both photos: a point at X before the stored one is at R · X before the
        upright one, so ``upright_cam_from_world = R · stored_cam_from_world``.

        Raises:
            ConfigError: If the orientation mirrors: a mirrored photo is that of no camera that was only turned.
        """  # noqa: D205
        if self.mirrors:
            raise ConfigError(
                f"EXIF orientation {self.orientation} mirrors the photo, so its pose cannot be given for both frames; "
                "save the photo anew without its EXIF orientation."
            )
        rotation = torch.eye(3, dtype=torch.float64)
        rotation[:2, :2] = torch.tensor(_TURNS[self.orientation], dtype=torch.float64)
        return rotation

    def _upright_from_stored(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Upright = matrix · stored + offset; the offset is whole numbers, so that nothing is lost by rounding it."""
        matrix = torch.tensor(_TURNS[self.orientation], dtype=points.dtype, device=points.device)
        largest = points.new_tensor([self.upright_size[0] - 1, self.upright_size[1] - 1])
        return matrix, largest * (matrix.sum(dim=1) < 0)

    @staticmethod
    def _turned(angles: Tensor, matrix: Tensor) -> Tensor:
        directions = torch.stack([angles.double().cos(), angles.double().sin()], dim=-1) @ matrix.T.to(angles.device)
        turned = torch.atan2(directions[..., 1], directions[..., 0])
        return turned.clamp(-math.pi, math.pi).to(angles.dtype)

    def _camera(
        self, camera: PinholeCamera, turn: Callable[[Tensor], Tensor], image_size: tuple[int, int]
    ) -> PinholeCamera:
        ((cx, cy),) = turn(torch.tensor([[camera.cx, camera.cy]], dtype=torch.float64)).tolist()
        fx, fy = (camera.fy, camera.fx) if self.swaps_sides else (camera.fx, camera.fy)
        return PinholeCamera(fx=fx, fy=fy, cx=cx, cy=cy, image_size=image_size)


def to_colmap(points: Points) -> Points:
    """Points in COLMAP's convention, whose top-left pixel has its centre at (0.5, 0.5); frame and turn unchanged."""
    return points + HALF_PIXEL


def from_colmap(points: Points) -> Points:
    """Points from COLMAP's convention, with the centre of the top-left pixel at (0, 0); frame and turn unchanged."""
    return points - HALF_PIXEL


def colmap_pinhole(camera: PinholeCamera) -> tuple[float, float, float, float]:
    """The parameters (fx, fy, cx, cy) of COLMAP's PINHOLE model, its half pixel included."""
    return camera.fx, camera.fy, camera.cx + HALF_PIXEL, camera.cy + HALF_PIXEL


def camera_of_colmap_pinhole(
    parameters: tuple[float, float, float, float], image_size: tuple[int, int]
) -> PinholeCamera:
    """Our camera from the parameters (fx, fy, cx, cy) of COLMAP's PINHOLE model, its half pixel taken off."""
    fx, fy, cx, cy = parameters
    return PinholeCamera(fx=fx, fy=fy, cx=cx - HALF_PIXEL, cy=cy - HALF_PIXEL, image_size=image_size)
