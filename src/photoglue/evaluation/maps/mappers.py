"""Our own mapper as the peers are: with the presets of ``photoglue map``, and all mappers by name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import PIL.Image

from photoglue.decode import orientation_of
from photoglue.errors import ConfigError
from photoglue.evaluation.maps.colmap import ColmapSift, Mapper, MapRun, Progress
from photoglue.extractors import EXTRACTORS
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame
from photoglue.sfm.map import map_photos
from photoglue.sfm.options import MapOptions

PRESETS: tuple[str, ...] = get_args(get_type_hints(MapOptions)["preset"])
COLMAP = "colmap"


@dataclass(frozen=True, kw_only=True)
class PhotoGlueMapper:
    """``photoglue map``, without its report."""

    options: MapOptions = field(default_factory=MapOptions)
    """How it maps; known cameras take the place of ``options.cameras``, and nothing is delivered."""

    def __call__(
        self, photos: Path, out: Path, cameras: Mapping[str, PinholeCamera] | None, progress: Progress
    ) -> MapRun:
        """Map the photos in ``out/map``.

        Raises:
            ConfigError: If there are no photos.
            OutputError: If a file cannot be written.
            MissingExtra: If h5py, PoseLib or pycolmap is not installed.
        """
        options = replace(self.options, deliver=())
        if cameras is not None:
            known = _written(cameras, photos, out / "known")
            options = replace(options, cameras=replace(options.cameras, intrinsics=known))
        summary = map_photos(photos, out / "map", options, progress=progress)
        model = None if summary.model is None else summary.model.path
        return MapRun(model=model, cpu_seconds=summary.cpu_seconds, unplaced=summary.unplaced)


def mapper_named(name: str) -> Mapper:
    """The mapper of that name: colmap, a preset of ``photoglue map``, or FEATURES+PRESET, such as ``disk+fast``.

    Raises:
        ConfigError: If there is none.
    """
    if name == COLMAP:
        return ColmapSift()
    features, plus, preset = name.rpartition("+")
    if preset not in PRESETS or (plus and features not in EXTRACTORS):
        raise ConfigError(
            f"{name!r} is no mapper. There are {COLMAP}, {', '.join(PRESETS)} and FEATURES+PRESET, such as disk+fast. "
            f"Features: {', '.join(EXTRACTORS)}."
        )
    options = replace(MapOptions(), preset=cast(Any, preset))
    return PhotoGlueMapper(options=replace(options, features=features) if plus else options)


def _written(cameras: Mapping[str, PinholeCamera], photos: Path, folder: Path) -> Path:
    """A ``cameras.json`` of the cameras of stored photos, which has those of the upright ones."""
    content = {}
    for name, camera in cameras.items():
        with PIL.Image.open(photos / name) as picture:
            orientation = orientation_of(picture)
        turned = StoredFrame(orientation=orientation, upright_size=camera.image_size)
        frame = replace(turned, upright_size=turned.size)  # turning is its own inverse for sizes
        upright = frame.camera_to_upright(camera)
        width, height = upright.image_size
        content[name] = {"K": upright.matrix.tolist(), "width": width, "height": height}
    folder.mkdir()
    path = folder / "cameras.json"
    path.write_text(json.dumps(content))
    return path
