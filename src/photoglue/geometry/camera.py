"""The pinhole camera: what turns pixels into directions."""

import math
import re
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from photoglue.errors import ConfigError

FORMS = "'f', 'fx,fy,cx,cy', or the nine numbers of a 3 × 3 matrix row by row"


@dataclass(frozen=True, kw_only=True)
class PinholeCamera:
    """A camera without distortion: x = fx · X / Z + cx, y = fy · Y / Z + cy.

    The centre of the top-left pixel is (0, 0), as for keypoints. COLMAP puts it at (0.5, 0.5): subtract 0.5 from the
    cx and cy of its cameras.

    Raises:
        ConfigError: If a number is not finite, a focal length is not positive, or the image has no pixels.
    """

    fx: float
    """Focal length along x, pixels."""
    fy: float
    """Focal length along y, pixels."""
    cx: float
    """Principal point along x, pixels."""
    cy: float
    """Principal point along y, pixels."""
    image_size: tuple[int, int]
    """Size (width, height) of the image that the other numbers belong to, pixels."""

    def __post_init__(self) -> None:
        numbers = {"fx": self.fx, "fy": self.fy, "cx": self.cx, "cy": self.cy}
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise ConfigError(f"{name} is {number}; a camera has finite numbers, in pixels.")
        for name in ("fx", "fy"):
            if numbers[name] <= 0:
                raise ConfigError(f"{name} is {numbers[name]:g}; a focal length is positive, in pixels.")
        if min(self.image_size) < 1:
            raise ConfigError(
                f"image_size is {self.image_size}; it must be (width, height) in pixels, both at least 1."
            )

    @classmethod
    def parse(cls, text: str, image_size: tuple[int, int]) -> "PinholeCamera":
        """The camera that a text describes.

        Args:
            text: "f" (the principal point is then the middle of the image), "fx,fy,cx,cy", or the nine numbers of a
                3 × 3 matrix row by row; pixels. Commas, semicolons, blanks and brackets all separate numbers.
            image_size: (width, height) of the image, pixels.

        Raises:
            ConfigError: If it is none of these, or the matrix is not that of a pinhole camera without skew.
        """
        words = [word for word in re.split(r"[\s,;()\[\]]+", text) if word]
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            raise ConfigError(f"The camera {text!r} is not a list of numbers; give {FORMS}, in pixels.") from None
        if len(numbers) == 1:
            width, height = image_size
            fx = fy = numbers[0]
            cx, cy = (width - 1) / 2, (height - 1) / 2
        elif len(numbers) == 4:
            fx, fy, cx, cy = numbers
        elif len(numbers) == 9:
            fx, fy, cx, cy = _from_matrix(numbers)
        else:
            raise ConfigError(f"The camera {text!r} has {len(numbers)} numbers; give {FORMS}, in pixels.")
        return cls(fx=fx, fy=fy, cx=cx, cy=cy, image_size=image_size)

    @property
    def matrix(self) -> Float64[Tensor, "3 3"]:
        """The matrix that takes directions in the frame of the camera to homogeneous pixels."""
        rows = [[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]]
        return torch.tensor(rows, dtype=torch.float64)


def _from_matrix(numbers: list[float]) -> tuple[float, float, float, float]:
    fx, skew, cx, lower, fy, cy, *last = numbers
    if last != [0, 0, 1]:
        hint = " Is it transposed?" if (cx, cy) == (0, 0) else ""
        raise ConfigError(f"The camera matrix has the last row {last}; it must be [0, 0, 1].{hint}")
    if skew != 0 or lower != 0:
        raise ConfigError(
            f"The camera matrix has {skew:g} and {lower:g} beside its focal lengths; they must be 0 (no skew)."
        )
    return fx, fy, cx, cy
