"""What the viewer of a page draws: points and cameras, upright, around the origin, of size one, in float32."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from photoglue.geometry.frames import StoredFrame
from photoglue.solvers.colmap_model import Model, ModelImage

MAX_POINTS = 300_000
"""Points that a page holds: 4.5 MB, 6 as text."""
WIDEST = 1.5
"""Tangent of half the widest angle that a camera is drawn with; fisheyes have more."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Numbers for the viewer, as base64 of little-endian values."""

    points: str
    """float32, 3 for each point: x to the right, y up, z towards the cameras; most within 1 of the origin."""
    colours: str
    """uint8, 3 for each point."""
    cameras: str
    """float32, 14 for each photo: its rotation ``cam_from_scene`` row by row, its centre, and the tangents of half its
    angles of view, across and down. Of the upright photo."""
    shown: int
    """How many points."""
    total: int
    """How many the model has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneFrame:
    """Where a scene lies in the world of its model."""

    middle: Float64[Tensor, "3"]
    """The origin of the scene, in the world."""
    size: float
    """What is of length one in the scene, in the unit of the world."""
    scene_from_world: Float64[Tensor, "3 3"]
    """A rotation."""

    def points(self, points: Float64[Tensor, "m 3"]) -> Float64[Tensor, "m 3"]:
        """Points of the world in the scene."""
        return (points - self.middle) @ self.scene_from_world.T / self.size

    def cameras(
        self, cam_from_world: Float64[Tensor, "n 4 4"], tangents: Float64[Tensor, "n 2"]
    ) -> Float64[Tensor, "n 14"]:
        """Cameras as ``Scene.cameras`` has them.

        Args:
            cam_from_world: Poses, of the upright photos.
            tangents: Of half the angles of view, across and down.
        """
        rotations: Tensor = cam_from_world[:, :3, :3]
        turned = (rotations @ self.scene_from_world.T).reshape(-1, 9)
        return torch.cat([turned, self.points(_centres(cam_from_world)), tangents.clamp(max=WIDEST)], dim=1)


def frame_of_scene(model: Model, frames: Sequence[StoredFrame | None]) -> SceneFrame:
    """Where the scene of a model lies in its world; see ``scene_of``."""
    poses = _poses(model, frames)
    centres = _centres(poses)
    middle, size = _extent(model.points, centres)
    return SceneFrame(middle=middle, size=size, scene_from_world=_axes(poses[:, :3, :3], centres - middle))


def scene_of(model: Model, frames: Sequence[StoredFrame | None]) -> Scene:
    """The scene of a model.

    Args:
        model: With at least one photo.
        frames: How each photo of the model is turned; None: unknown, drawn as stored.
    """
    frame = frame_of_scene(model, frames)
    chosen = _spread(len(model.points))
    views = [_tangents(model, image, turned) for image, turned in zip(model.images, frames, strict=True)]
    cameras = frame.cameras(_poses(model, frames), torch.tensor(views, dtype=torch.float64))
    return Scene(
        points=encoded(frame.points(model.points[chosen]).numpy().astype("<f4")),
        colours=encoded(model.colours[chosen].numpy()),
        cameras=encoded(cameras.numpy().astype("<f4")),
        shown=len(chosen),
        total=len(model.points),
    )


def _poses(model: Model, frames: Sequence[StoredFrame | None]) -> Float64[Tensor, "n 4 4"]:
    return torch.stack([_upright(image, frame) for image, frame in zip(model.images, frames, strict=True)])


def _centres(cam_from_world: Float64[Tensor, "n 4 4"]) -> Float64[Tensor, "n 3"]:
    centres: Tensor = -(cam_from_world[:, :3, :3].transpose(1, 2) @ cam_from_world[:, :3, 3:])[..., 0]
    return centres


def encoded(values: np.ndarray) -> str:
    """The bytes of an array as base64."""
    return b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _upright(image: ModelImage, frame: StoredFrame | None) -> Float64[Tensor, "4 4"]:
    return image.cam_from_world if frame is None or frame.mirrors else image.upright(frame)


def _spread(count: int) -> Tensor:
    """All rows, or ``MAX_POINTS`` of them, spread evenly."""
    shown = min(count, MAX_POINTS)
    return torch.arange(shown) * count // max(shown, 1)


def _extent(points: Float64[Tensor, "m 3"], centres: Float64[Tensor, "n 3"]) -> tuple[Float64[Tensor, "3"], float]:
    """The middle of a model, and the distance within which nine tenths of it lie: a few points are far off."""
    seen = points if len(points) else centres
    middle: Tensor = seen.median(dim=0).values
    distances = (torch.cat([seen, centres]) - middle).norm(dim=1)
    nearest_nine = max(1, round(0.9 * len(distances)))
    return middle, max(float(distances.kthvalue(nearest_nine).values), 1e-9)


def _axes(rotations: Float64[Tensor, "n 3 3"], centres: Float64[Tensor, "n 3"]) -> Float64[Tensor, "3 3"]:
    """The rotation to a frame whose y points up and whose z points to where the cameras stand."""
    up = _upwards(rotations)
    towards = centres.mean(dim=0)
    if float((towards - (towards @ up) * up).norm()) < 1e-3 * float(towards.norm()) + 1e-12:
        towards = rotations[0, 0] + 0.5 * rotations[0, 2]  # any other direction
    back = towards - (towards @ up) * up
    if float(back.norm()) < 1e-9:
        back = torch.linalg.cross(up, torch.eye(3, dtype=up.dtype)[int(up.abs().argmin())])
    axes: Tensor = torch.stack([torch.linalg.cross(up, back / back.norm()), up, back / back.norm()])
    return axes


def _upwards(rotations: Float64[Tensor, "n 3 3"]) -> Float64[Tensor, "3"]:
    """Which way is up: people and drones hold cameras level, so that the x axes of all lie in the horizontal plane.

    If these are too much alike to span a plane, the mean of what is up in the photos.
    """
    mean_up, mean_back = -rotations[:, 1].mean(dim=0), -rotations[:, 2].mean(dim=0)
    across = rotations[:, 0]
    values, vectors = torch.linalg.eigh(across.T @ across / len(across))
    if float(values[1]) < 0.05 or float(values[0]) > 0.5 * float(values[1]):
        hint_up = mean_up if float(mean_up.norm()) > 0.1 else -rotations[0, 1]
        return torch.nn.functional.normalize(hint_up, dim=0)
    up: Tensor = vectors[:, 0]
    hint = float(mean_up @ up)
    return up if (hint if abs(hint) > 0.2 else float(mean_back @ up)) > 0 else -up


def _tangents(model: Model, image: ModelImage, frame: StoredFrame | None) -> tuple[float, float]:
    """Half the size of a photo in units of its focal length, which COLMAP has first in all of its models."""
    camera = model.cameras[image.camera_id]
    focal = camera.parameters[0]
    across, down = (min(side / 2 / focal, WIDEST) if focal > 0 else WIDEST for side in camera.image_size)
    return (down, across) if frame is not None and frame.swaps_sides else (across, down)
