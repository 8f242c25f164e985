"""The similarity between two sets of points: what a model without scale lacks against the true positions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from photoglue.errors import ShapeError


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Target = scale · rotation · source + translation."""

    scale: float
    rotation: Float64[Tensor, "3 3"]
    translation: Float64[Tensor, "3"]

    def apply(self, points: Float64[Tensor, "n 3"]) -> Float64[Tensor, "n 3"]:
        """Points of the source in the frame of the target."""
        return self.scale * points @ self.rotation.T + self.translation


def fit_similarity(source: Float64[Tensor, "n 3"], target: Float64[Tensor, "n 3"]) -> Similarity:
    """The similarity with the least squared distances between points of the source and the target (Umeyama, 1991).

    Points on one line leave the turn about it open, and one of those is taken.

    Raises:
        ShapeError: If there are fewer than three points, or all points of the source are one.
    """
    middle_source, middle_target = source.mean(dim=0), target.mean(dim=0)
    spread: Tensor = (source - middle_source).square().sum()
    if len(source) < 3 or not bool(spread > 0):
        raise ShapeError(f"A similarity needs three points that are not all one; there are {len(source)}.")
    u, values, v = torch.linalg.svd((target - middle_target).T @ (source - middle_source))
    signs = torch.ones(3, dtype=source.dtype)
    signs[2] = torch.linalg.det(u @ v).sign()  # a turn, not a mirror
    rotation = u @ torch.diag(signs) @ v
    scale = float((values * signs).sum() / spread)
    return Similarity(scale=scale, rotation=rotation, translation=middle_target - scale * rotation @ middle_source)
