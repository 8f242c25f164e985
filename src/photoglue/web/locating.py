"""A map that photos are placed in, as the page shows it: its points and cameras, and where a photo was taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from photoglue.errors import ConfigError, PhotoGlueError
from photoglue.files import to_json
from photoglue.geometry.frames import StoredFrame
from photoglue.image import read_exif, read_image_size
from photoglue.sfm.localize import Localizer
from photoglue.sfm.locating.answer import Localisation
from photoglue.sfm.report.scene import frame_of_scene, scene_of
from photoglue.sfm.report.thumbnails import thumbnail
from photoglue.web.photos import HeldPhoto

ORIENTATION = 0x0112
SMALL = 512
"""Longer side of what is shown of a photo of the map, pixels."""


@dataclass(frozen=True, kw_only=True)
class SeenPhoto:
    """A photo of the map that sees what the placed one sees."""

    camera: int
    """Its number in the map."""
    name: str
    matches: int
    inliers: int


@dataclass(frozen=True, kw_only=True)
class PlaceAnswer:
    """What the page is told of a photo."""

    name: str
    placed: bool
    reason: str | None
    """Why it was not placed."""
    camera: list[float] | None
    """As a camera of the scene that the viewer draws."""
    pose: list[list[float]] | None
    """``cam_from_world`` of the upright photo, 4 × 4."""
    centre: list[float] | None
    focal_px: float | None
    focal_source: str | None
    inliers: int
    matches: int
    position_uncertainty: float | None
    rotation_uncertainty_deg: float | None
    turned_deg: int
    seen: tuple[SeenPhoto, ...]
    points: list[list[float]]
    """Where the photo sees points of the map: (x, y) in pixels of the upright photo."""
    notes: tuple[str, ...]
    seconds: Mapping[str, float]


class PlaceMap:
    """A map that photos can be placed in, and what the viewer of the page draws of it.

    Args:
        localizer: Places photos in it; it is closed with this.
    """

    def __init__(self, localizer: Localizer) -> None:
        self.name = localizer.map.folder.resolve().name
        self._localizer = localizer
        self._root, model = self._localizer.map.root, self._localizer.map.model
        self._names = [image.name for image in model.images]
        self._number = {name: i for i, name in enumerate(self._names)}
        frames = [_frame_of(self._root / name) for name in self._names]
        self._frame = frame_of_scene(model, frames)
        scene = scene_of(model, frames)
        told = {"names": self._names, "points": scene.points, "colours": scene.colours, "cameras": scene.cameras}
        self.scene = to_json(told).encode()
        """What the viewer draws, as JSON."""

    def small_photo(self, number: int) -> bytes:
        """A photo of the map, small, as JPEG.

        Raises:
            ConfigError: If there is no such photo, or it cannot be read (any more).
        """
        if not 0 <= number < len(self._names):
            raise ConfigError(f"The map has {len(self._names)} photos; there is no number {number}.")
        made = thumbnail(self._root / self._names[number], SMALL)
        if made.jpeg is None:
            raise ConfigError(made.problem)
        return made.jpeg

    def place(self, photo: HeldPhoto) -> PlaceAnswer:
        """Where a photo was taken, or why that is not known.

        Raises:
            ImageError: If it cannot be read.
        """
        return self.answer(self._localizer.localize(photo.opened(), name=photo.name))

    def answer(self, found: Localisation) -> PlaceAnswer:
        """What the page is told of a localisation."""
        camera, pose, unsure = found.camera, found.cam_from_world, found.uncertainty
        seen = [
            SeenPhoto(camera=self._number[near.name], name=near.name, matches=near.matches, inliers=near.inliers)
            for near in found.nearest
            if found.localised and near.inliers
        ]
        return PlaceAnswer(
            name=found.name,
            placed=found.localised,
            reason=found.reason,
            camera=self._camera(found),
            pose=None if pose is None else pose.tolist(),
            centre=None if found.centre is None else found.centre.tolist(),
            focal_px=None if camera is None else camera.fx,
            focal_source=found.focal_source,
            inliers=found.inliers,
            matches=found.matches,
            position_uncertainty=None if unsure is None else unsure.position,
            rotation_uncertainty_deg=None if unsure is None else unsure.rotation_deg,
            turned_deg=found.turned_deg,
            seen=tuple(seen),
            points=[] if found.keypoints is None else found.keypoints.tolist(),
            notes=found.notes,
            seconds=dict(found.seconds),
        )

    def close(self) -> None:
        """Close the files of the map."""
        self._localizer.__exit__(None, None, None)

    def _camera(self, found: Localisation) -> list[float] | None:
        camera, pose = found.camera, found.cam_from_world
        if camera is None or pose is None:
            return None
        width, height = camera.image_size
        tangents = torch.tensor([[width / 2 / camera.fx, height / 2 / camera.fy]], dtype=torch.float64)
        values: list[float] = self._frame.cameras(pose[None], tangents)[0].tolist()
        return values


def _frame_of(path: Path) -> StoredFrame | None:
    """How a photo is turned; None if it cannot be read."""
    try:
        size, orientation = read_image_size(path), read_exif(path).get(ORIENTATION, 1)
    except PhotoGlueError:
        return None
    return StoredFrame(orientation=orientation if orientation in range(1, 9) else 1, upright_size=size)
