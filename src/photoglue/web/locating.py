"""A map that photos are placed in, as the page shows it: its points and cameras, and where a photo was taken."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import torch

from photoglue.errors import ConfigError, PhotoGlueError
from photoglue.files import to_json
from photoglue.geometry.frames import StoredFrame
from photoglue.image import read_exif, read_image_size
from photoglue.sfm import Localisation, Localizer
from photoglue.sfm.locating.writing import LocalisationRecord
from photoglue.sfm.report.scene import frame_of_scene, scene_of
from photoglue.sfm.report.thumbnails import thumbnail
from photoglue.web.photos import HeldPhoto

ORIENTATION = 0x0112
SMALL = 512
"""Longer side of what is shown of a photo of the map, pixels."""


@dataclass(frozen=True, kw_only=True)
class PlaceAnswer:
    """What the page is told of a photo."""

    record: LocalisationRecord
    """What `photoglue localize` writes of it into results.json."""
    camera: list[float] | None
    """Its camera among those of the scene that the viewer draws; None: it was not placed."""
    centre: list[float] | None
    """Where the camera stood, in the frame of the map."""
    focal_px: float | None
    command: str
    python: str


class PlaceMap:
    """A map that photos can be placed in, and what the viewer of the page draws of it.

    Args:
        localizer: Places photos in it; it is closed with this.
    """

    def __init__(self, localizer: Localizer) -> None:
        self.folder = localizer.map.folder.resolve()
        self._localizer = localizer
        self._root, model = self._localizer.map.root, self._localizer.map.model
        self._names = [image.name for image in model.images]
        frames = [_frame_of(self._root / name) for name in self._names]
        self._frame = frame_of_scene(model, frames)
        scene = scene_of(model, frames)
        told = {"names": self._names, "points": scene.points, "colours": scene.colours, "cameras": scene.cameras}
        self.scene = to_json(told).encode()
        """What the viewer draws, as JSON."""

    @property
    def name(self) -> str:
        """What the folder is called."""
        return self.folder.name

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
        found = self._localizer.localize(photo.opened(), name=photo.name)
        path = f"./{photo.path}" if photo.path.startswith("-") else photo.path
        call = f"with Localizer({str(self.folder)!r}) as localizer:\n    print(localizer.localize({photo.path!r}))"
        return PlaceAnswer(
            record=LocalisationRecord.of(found),
            camera=self._camera(found),
            centre=None if found.centre is None else found.centre.tolist(),
            focal_px=None if found.camera is None else found.camera.fx,
            command=shlex.join(["photoglue", "localize", path, "--map", str(self.folder), "--out", "places"]),
            python=f"from photoglue.sfm import Localizer\n\n{call}",
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
