"""Features of a photo that may be shown lying on its side: of the photo turned, and the way back."""

import os

import PIL.Image

from photoglue.decode import Photo
from photoglue.extractors.base import Extractor
from photoglue.geometry.frames import StoredFrame
from photoglue.image import ImageSource, load_mask
from photoglue.structs import Features

TURNS = (0, 90, 270, 180)
"""Degrees clockwise, in the order in which they are tried: phones held on their side are more frequent than upside
down."""
ORIENTATION_OF = {0: 1, 90: 6, 180: 3, 270: 8}
"""The EXIF orientation that turns a photo so."""


def turned_photo(
    photo: Photo, mask: ImageSource | None, turn: int, extractor: Extractor
) -> tuple[StoredFrame, Features]:
    """Features of a photo turned by so many degrees clockwise, in pixels of the turned photo, and the way back.

    Args:
        photo: The photo.
        mask: No keypoints where it is black; a file or PIL image is in the photo's stored pixels.
        turn: One of ``TURNS``.
        extractor: What finds the features.

    Returns:
        A frame whose ``from_upright`` takes pixels of the turned photo to those of the photo, and the features.

    Raises:
        ImageError: If the mask cannot be read, or its size is not that of the photo.
    """
    size = (photo.image.shape[2], photo.image.shape[1])
    orientation = ORIENTATION_OF[turn]
    frame = StoredFrame(orientation=orientation, upright_size=size[::-1] if orientation >= 5 else size)
    if turn == 0:
        return frame, extractor.extract_many([photo], [mask])[0]
    wanted = None
    if mask is not None:
        wanted = load_mask(mask)
        if isinstance(mask, str | os.PathLike | PIL.Image.Image):
            wanted = StoredFrame(orientation=photo.orientation, upright_size=size).image_to_upright(wanted)
        wanted = frame.image_to_upright(wanted)
    opaque = None if photo.opaque is None else frame.image_to_upright(photo.opaque)
    turned = Photo(image=frame.image_to_upright(photo.image), opaque=opaque)
    return frame, extractor.extract_many([turned], [wanted])[0]
