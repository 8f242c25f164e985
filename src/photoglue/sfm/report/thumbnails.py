"""Small upright JPEGs of photos, which share the room that a page has for them."""

import io
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import PIL.ImageOps

from photoglue.decode import orientation_of
from photoglue.errors import ImageError
from photoglue.geometry.frames import StoredFrame
from photoglue.image import load_image, read_image_size, to_rgb

ROOM = 14_000_000
"""Bytes for the small photos of a page together; written as text they take a third more."""
LARGEST, SMALLEST = 512, 64
"""Longer side of a small photo, pixels."""
BYTES_PER_PIXEL = 0.25
"""What a small JPEG of a photo takes at ``QUALITY``, about: that of busy ones."""
QUALITY = 72


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A photo, small."""

    jpeg: bytes | None
    """Upright; None if the photo cannot be read."""
    frame: StoredFrame | None
    """How the photo is turned; None if it cannot be read."""
    problem: str = ""
    """Why not."""


def side_for(count: int) -> int:
    """Longer side of small photos, pixels, so that so many fit into ``ROOM``; most photos are 3:2 or 4:3."""
    pixels = ROOM / max(count, 1) / BYTES_PER_PIXEL
    return int(min(max((pixels * 1.4) ** 0.5, SMALLEST), LARGEST))


def thumbnail(path: Path, side: int) -> Thumbnail:
    """A photo made small, turned as its EXIF orientation says."""
    try:
        size = read_image_size(path)
        with PIL.Image.open(path) as picture:
            frame = StoredFrame(orientation=orientation_of(picture), upright_size=size)
            if picture.format == "JPEG" and picture.mode in ("RGB", "L"):  # read at about the size that is needed
                picture.draft("RGB", (2 * side, 2 * side))
                small = PIL.ImageOps.exif_transpose(picture).convert("RGB")
            else:
                pixels = to_rgb(load_image(path)).mul(255).round().byte()
                small = PIL.Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    except (OSError, ValueError, SyntaxError) as error:
        reason = str(error) if isinstance(error, ImageError) else f"{str(path)!r} is damaged: {error}"
        return Thumbnail(jpeg=None, frame=None, problem=reason)
    small.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return Thumbnail(jpeg=buffer.getvalue(), frame=frame)
