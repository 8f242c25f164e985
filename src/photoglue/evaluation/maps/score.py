"""A model against the true poses of its photos."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from photoglue.geometry.frames import StoredFrame
from photoglue.geometry.pose import rotation_error_deg
from photoglue.geometry.similarity import fit_similarity
from photoglue.solvers.colmap_model import Model


@dataclass(frozen=True, kw_only=True)
class TruePhoto:
    """What is known of a photo."""

    frame: StoredFrame
    """How it is turned."""
    cam_from_world: Float64[Tensor, "4 4"]
    """The pose of the camera of the upright photo, in the unit of the data."""


@dataclass(frozen=True, kw_only=True)
class MapScore:
    """How good a model is.

    Errors are infinite if fewer than three photos with a known pose were placed, and nan if fewer have one.
    """

    photos: int
    """Photos that were mapped."""
    placed: int
    """Those of them that are in the model."""
    compared: int
    """Placed photos whose true pose is known, of which the errors are."""
    position: float
    """Median distance of cameras from their true places after the similarity that fits best to all, in the unit of the
    data (ATE)."""
    position_worst: float
    """The largest of these distances."""
    rotation_deg: float
    """Median angle between the cameras and the true ones, after the same similarity, degrees. Of cameras that stand
    nearly on one line it says less: places alone hardly tell the turn about it."""
    points: int
    """Points of the model."""
    track: float
    """Mean number of photos that see a point."""
    error_px: float
    """Mean reprojection error, pixels."""

    @property
    def placed_share(self) -> float:
        """Share of the photos that were placed, in [0, 1]."""
        return self.placed / self.photos if self.photos else 0.0


def score_map(model: Model | None, truth: Mapping[str, TruePhoto], photos: Collection[str] | None = None) -> MapScore:
    """How good a model is against the true poses of its photos.

    Args:
        model: The model; None: there is none.
        truth: Photos with known poses by their names in the model.
        photos: Names of all photos that were mapped; None: those with known poses. Others of the model do not count.
    """
    names = truth.keys() if photos is None else photos
    placed = [] if model is None else [image for image in model.images if image.name in names]
    images = [image for image in placed if image.name in truth]
    position = worst = rotation = math.inf if len(truth) >= 3 else math.nan
    if len(images) >= 3:
        true = torch.stack([truth[image.name].cam_from_world for image in images])
        found = torch.stack([image.upright(truth[image.name].frame) for image in images])
        fit = fit_similarity(_centres(found), _centres(true))
        distances = (fit.apply(_centres(found)) - _centres(true)).norm(dim=1)
        turned = found[:, :3, :3] @ fit.rotation.T
        angles = [rotation_error_deg(turned[i], true[i, :3, :3]) for i in range(len(images))]
        position, worst = float(distances.quantile(0.5)), float(distances.max())
        rotation = float(torch.tensor(angles, dtype=torch.float64).quantile(0.5))
    known = model is not None and len(model.points) > 0
    return MapScore(
        photos=len(names),
        placed=len(placed),
        compared=len(images),
        position=position,
        position_worst=worst,
        rotation_deg=rotation,
        points=len(model.points) if model is not None else 0,
        track=float(model.track_lengths.double().mean()) if model is not None and known else 0.0,
        error_px=float((model.errors * model.track_lengths).sum() / model.track_lengths.sum())
        if model is not None and known
        else 0.0,
    )


def _centres(poses: Float64[Tensor, "n 4 4"]) -> Float64[Tensor, "n 3"]:
    centres: Tensor = -(poses[:, :3, :3].transpose(1, 2) @ poses[:, :3, 3:])[..., 0]
    return centres
