"""What may be the camera of a photo that is to be placed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import PIL.Image

from photoglue.decode import Photo
from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame, colmap_pinhole
from photoglue.image import ImageSource, read_exif
from photoglue.sfm.cameras import GUESSED_FOCAL, MODELS, ColmapCamera, camera_words, exif_focal_px
from photoglue.solvers.colmap_files import CameraRecord

CAMERA_TAGS, DIGITAL_ZOOM = 0x8769, 0xA404
"""EXIF's group of tags of the camera, and how many times it enlarged the middle of what the lens shows."""

FocalSource: TypeAlias = Literal["given", "map", "EXIF", "estimated"]
"""Where a focal length comes from: the caller, a photo of the map by the same camera, EXIF, or the matches."""
KnownCameras: TypeAlias = Mapping[tuple[str, tuple[int, int]], CameraRecord]


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A camera that a photo may have."""

    camera: CameraRecord
    """In COLMAP's stored pixels."""
    source: FocalSource


def guesses_of(
    source: ImageSource | Photo,
    frame: StoredFrame,
    given: PinholeCamera | ColmapCamera | None,
    known: KnownCameras,
) -> list[Guess]:
    """The cameras that a photo may have, the likeliest first; the last one has a focal length that is to be estimated.

    Args:
        source: The photo, whose EXIF data are read if it is a file or a PIL image.
        frame: How it is turned.
        given: The camera that the caller knows: a ``PinholeCamera`` of the upright photo, or one as COLMAP has it.
        known: Cameras of a map by what EXIF says of them and their stored size.

    Raises:
        ConfigError: If a given camera is of another size.
    """
    width, height = frame.size
    centre = (width / 2, height / 2)
    unknown = CameraRecord(
        camera_id=1,
        model="SIMPLE_PINHOLE",
        image_size=frame.size,
        parameters=(GUESSED_FOCAL * max(frame.size), *centre),
    )
    tags = _tags(source)
    words = camera_words(tags)
    found = []
    if given is not None:
        found.append(Guess(camera=_given(given, frame), source="given"))
    elif (words, frame.size) in known:
        found.append(Guess(camera=known[words, frame.size], source="map"))
    elif not words and [size for _, size in known] == [frame.size]:  # the map is by one camera, of this size
        found.append(Guess(camera=next(iter(known.values())), source="map"))
    focal = exif_focal_px(tags, frame.size)
    if given is None and focal is not None:
        zoom = _zoom(tags)
        for length in dict.fromkeys((focal, focal * zoom)):
            found.append(Guess(camera=replace(unknown, parameters=(length, *centre)), source="EXIF"))
    if given is not None:  # its principal point is still known
        terms = dict(zip(MODELS[found[0].camera.model][1], found[0].camera.parameters, strict=True))
        unknown = replace(unknown, parameters=(unknown.parameters[0], terms["cx"], terms["cy"]))
    return [*found, Guess(camera=unknown, source="estimated")]


def focal_of(camera: CameraRecord) -> float:
    """The focal length, which COLMAP has first in all of its models, pixels."""
    return camera.parameters[0]


def colmap_camera(camera: CameraRecord) -> ColmapCamera:
    """The camera in the form in which it is handed on.

    Raises:
        ConfigError: If it is of a model that PhotoGlue does not know.
    """
    if camera.model not in MODELS:
        raise ConfigError(
            f"The map has a camera of the model {camera.model}, which is not supported: {', '.join(MODELS)} are."
        )
    return ColmapCamera(model=camera.model, image_size=camera.image_size, params=camera.parameters, prior=True)


def _given(given: PinholeCamera | ColmapCamera, frame: StoredFrame) -> CameraRecord:
    wanted = frame.upright_size if isinstance(given, PinholeCamera) else frame.size
    if given.image_size != wanted:
        raise ConfigError(
            f"The camera is of {given.image_size[0]} × {given.image_size[1]} pixels and the photo has {wanted[0]} × "
            f"{wanted[1]}; give that of this photo."
        )
    if isinstance(given, ColmapCamera):
        return CameraRecord(camera_id=1, model=given.model, image_size=given.image_size, parameters=given.params)
    stored = frame.camera_from_upright(given)
    return CameraRecord(camera_id=1, model="PINHOLE", image_size=frame.size, parameters=colmap_pinhole(stored))


def _tags(source: ImageSource | Photo) -> Mapping[int, Any]:
    """EXIF tags of a file or PIL image; none of what is neither."""
    if isinstance(source, PIL.Image.Image):
        tags = source.getexif()
        return {**tags, **tags.get_ifd(CAMERA_TAGS)}
    path = source.path if isinstance(source, Photo) else source
    return read_exif(path) if isinstance(path, str | os.PathLike) else {}


def _zoom(tags: Mapping[int, Any]) -> float:
    try:
        zoom = float(tags.get(DIGITAL_ZOOM, 1))
    except (TypeError, ValueError, ZeroDivisionError):
        return 1.0
    return zoom if 1 < zoom < 100 else 1.0
