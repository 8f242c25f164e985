"""Depth of a photo that is known at some points only: those that a COLMAP model has, and what lies smoothly between."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, final

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from photoglue.files import digest_of

Lens: TypeAlias = Callable[[Tensor], Tensor]
"""Takes points (x, y) of a photo to where its camera would see them without distortion, pixels; NaN where nowhere."""

TRACKED_PX = 1.5
"""A keypoint that is nearer to a point of the model has its depth."""
SMOOTH_PX = 1.0
"""Points of the model lie on one surface if none is farther off it than this, as seen from the farthest camera."""
AROUND = 5
"""So many points of the model around a keypoint must lie on one surface for it to be on it, too."""
REACH = 0.05
"""They are nearer than this share of the photo's longer side."""
MAX_LEVERAGE = 0.6
"""How much of the error of one of them comes through to the keypoint, at most: it lies among them, not beside."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SparseDepth:
    """Depth at the points of a model that a photo sees, and the lens that saw them; one or more points."""

    points: Float64[Tensor, "m 2"]
    """Where the camera sees the points without distortion, pixels."""
    depths: Float64[Tensor, " m"]
    """Their depths along the optical axis."""
    sway: float
    """Focal length times distance of the farthest camera that sees the same things: pixels by which a point moves
    between the two per unit of inverse depth."""
    reach: float
    """How far points of the model may be from a keypoint that gets its depth from them, pixels."""
    lens: Lens | None
    """The lens of the photo; None: without distortion."""

    @property
    def fingerprint(self) -> str:
        """Changes with any number here, those of the lens included."""
        numbers = torch.cat([self.points.flatten(), self.depths, self.depths.new_tensor([self.sway, self.reach])])
        return digest_of([hashlib.sha256(numbers.numpy().tobytes()).hexdigest(), repr(self.lens)])

    def straight(self, keypoints: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Keypoints of the photo as the camera would see them without distortion, pixels."""
        return keypoints if self.lens is None else self.lens(keypoints).to(keypoints.dtype)

    def at(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Depth at points: that of the model's point there, or of the smooth surface through those around; else NaN.

        Args:
            points: (x, y) in pixels without distortion.
        """
        distances = torch.cdist(points.double(), self.points)
        near, nearest = distances.min(dim=1)
        depths = torch.where(near < TRACKED_PX, self.depths[nearest], torch.nan)
        # Two points of the model at one place, one behind the other: which is it?
        rows, beside = torch.nonzero(distances < 2 * TRACKED_PX, as_tuple=True)
        apart = self.sway * (1 / self.depths[beside] - 1 / self.depths[nearest[rows]]).abs()
        depths[rows[apart > SMOOTH_PX]] = torch.nan
        open_ = near >= TRACKED_PX
        if len(self.depths) >= AROUND:
            depths[open_] = self._between(points[open_].double(), distances[open_])
        return depths.to(points.dtype)

    def _between(self, points: Float64[Tensor, "n 2"], distances: Float64[Tensor, "n m"]) -> Float64[Tensor, " n"]:
        """Depth of the plane through the points around each, where they lie on one. Inverse depth is linear on it."""
        far, around = distances.topk(AROUND, dim=1, largest=False)
        offsets = (self.points[around] - points[:, None]) / self.reach
        design = torch.cat([torch.ones_like(offsets[..., :1]), offsets], dim=2)
        inverse = (1 / self.depths)[around][..., None]
        normal = design.mT @ design
        usable = (far[:, -1] < self.reach) & (torch.linalg.cond(normal) < 1e8)
        normal[~usable] = torch.eye(3, dtype=normal.dtype)
        spread = torch.linalg.inv(normal)
        plane = spread @ (design.mT @ inverse)
        off = self.sway * (design @ plane - inverse).abs().amax(dim=(1, 2))
        smooth: Bool[Tensor, " n"] = usable & (off < SMOOTH_PX) & (spread[:, 0, 0] < MAX_LEVERAGE)
        value = plane[:, 0, 0]
        return torch.where(smooth & (value > 0), 1 / value, torch.nan)
