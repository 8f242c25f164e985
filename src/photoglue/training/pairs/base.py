"""Pairs of images with known geometry, which training examples are made of.

A pair carries features and geometry, not labels: which points match is decided in `training.ground_truth`, so that its
rules can change without building anything again.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from photoglue.geometry.camera import PinholeCamera
from photoglue.structs import Features, TensorStruct


@dataclass(frozen=True, kw_only=True, eq=False)
class HomographyPair(TensorStruct):
    """Two views of a plane, or two warps of one photo: every point of one has a place in the other's plane."""

    features0: Features
    features1: Features
    image1_from_image0: Float64[Tensor, "3 3"]
    """Homography from homogeneous pixels of image 0 to those of image 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedPair(TensorStruct):
    """Two photos of a scene, with cameras, their relative pose, and depth where it is known."""

    features0: Features
    features1: Features
    depths0: Float[Tensor, " m"]
    """Depth at each keypoint of image 0, along its optical axis, in the unit of the pose; NaN where unknown."""
    depths1: Float[Tensor, " n"]
    """Depth at each keypoint of image 1, along its optical axis, in the unit of the pose; NaN where unknown."""
    camera0: PinholeCamera
    camera1: PinholeCamera
    cam1_from_cam0: Float64[Tensor, "4 4"]
    """Relative pose: X1 = R · X0 + t."""
    cam0_from_world: Float64[Tensor, "4 4"] = field(default_factory=lambda: torch.eye(4, dtype=torch.float64))
    """Pose of camera 0 as the scene gives it."""
    straight0: Float[Tensor, "m 2"] | None = None
    """Keypoints of image 0 where its camera would see them without distortion, pixels; None: it has none."""
    straight1: Float[Tensor, "n 2"] | None = None
    """Keypoints of image 1 where its camera would see them without distortion, pixels; None: it has none."""

    @property
    def points0(self) -> Float[Tensor, "m 2"]:
        """Where the geometry has the keypoints of image 0: ``straight0``, or as they are."""
        return self.features0.keypoints if self.straight0 is None else self.straight0

    @property
    def points1(self) -> Float[Tensor, "n 2"]:
        """Where the geometry has the keypoints of image 1: ``straight1``, or as they are."""
        return self.features1.keypoints if self.straight1 is None else self.straight1

    def swapped(self) -> "PosedPair":
        """The pair with its images exchanged."""
        return replace(
            self,
            features0=self.features1,
            features1=self.features0,
            depths0=self.depths1,
            depths1=self.depths0,
            camera0=self.camera1,
            camera1=self.camera0,
            cam1_from_cam0=torch.linalg.inv(self.cam1_from_cam0),
            cam0_from_world=self.cam1_from_cam0 @ self.cam0_from_world,
            straight0=self.straight1,
            straight1=self.straight0,
        )


TrainingPair: TypeAlias = HomographyPair | PosedPair


class PairSource(ABC):
    """An endless supply of pairs, the same for the same numbers: whoever resumes gets what would have come."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of pairs in an epoch."""

    @abstractmethod
    def pair(self, epoch: int, index: int) -> TrainingPair:
        """One pair, in main memory.

        Args:
            epoch: Number of the epoch, from 0; each epoch has other pairs.
            index: Number of the pair in the epoch, below the length.
        """
