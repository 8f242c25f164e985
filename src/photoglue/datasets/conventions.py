"""In which convention poses were given, if matches of their photos contradict them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.epipolar import fundamental_matrix, symmetric_epipolar_distance

NEAR_PX = 3.0
"""Matches agree with a pose if the mean of their distances to the epipolar lines is smaller, pixels."""
MIN_SHARE = 0.5
"""A convention fits if a larger share of the matches agrees with it, and less than half as many disagree as with the
poses as given."""
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""From the axes of OpenGL's cameras (y up, z backward) to ours (y down, z forward), and back."""

CONVENTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "inverted (camera-to-world)": np.linalg.inv,
        "OpenGL axes": lambda given: OPENGL @ given,
        "inverted (camera-to-world) with OpenGL axes": lambda given: OPENGL @ np.linalg.inv(given),
    }
)
"""What poses may be by mistake, with the way from such a pose to cam_from_world."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedMatches:
    """Matches of two photos, and their poses as a data set gives them."""

    points0: Float[Tensor, "k 2"]
    """Matched points of image 0, pixels."""
    points1: Float[Tensor, "k 2"]
    """Their partners in image 1, pixels."""
    camera0: PinholeCamera
    camera1: PinholeCamera
    cam0_from_world: Float64[np.ndarray, "4 4"]
    """The pose given for image 0; the identity if only the relative pose was given."""
    cam1_from_world: Float64[np.ndarray, "4 4"]
    """The pose given for image 1."""

    def distances_px(self, convert: Callable[[np.ndarray], np.ndarray]) -> Float64[Tensor, " k"]:
        """How far the matches are from their epipolar lines once both poses are converted, pixels."""
        pose = convert(self.cam1_from_world) @ np.linalg.inv(convert(self.cam0_from_world))
        fundamental = fundamental_matrix(torch.from_numpy(pose), self.camera0, self.camera1)
        return symmetric_epipolar_distance(self.points0, self.points1, fundamental)


def fitting_convention(pairs: Sequence[PosedMatches]) -> str | None:
    """The key of ``CONVENTIONS`` that most of the matches agree with; None if none fits clearly better than the given.

    Args:
        pairs: Matches of some pairs of one data set, most of them right.
    """

    def share(convert: Callable[[np.ndarray], np.ndarray]) -> float:
        distances = torch.cat([pair.distances_px(convert) for pair in pairs])
        return float((distances < NEAR_PX).double().mean())

    if not sum(len(pair.points0) for pair in pairs):
        return None
    shares = {name: share(convert) for name, convert in CONVENTIONS.items()}
    best = max(shares, key=lambda name: shares[name])
    disagreeing = 1 - share(lambda given: given)
    return best if shares[best] > MIN_SHARE and 1 - shares[best] < disagreeing / 2 else None


def advice(convention: str | None) -> str:
    """What to do about poses that matches contradict: the fitting convention, or the questions to ask."""
    if convention is None:
        return "Are they inverted (camera-to-world), or with OpenGL axes, or is K that of an image of another size?"
    return f"They fit when read as {convention}; world-to-camera with x right, y down and z forward is wanted."
