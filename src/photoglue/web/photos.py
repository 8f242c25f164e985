"""The photos that a page has sent: kept in memory, never on disk, under names that say what they hold."""

import hashlib
import io
import os
import threading
import unicodedata
import warnings
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import PIL.Image
import PIL.ImageOps

from photoglue.decode import orientation_of, photo_of_pil
from photoglue.errors import ImageError, PhotoGlueError, require
from photoglue.image import SIDEWAYS, opened_content, to_rgb

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""What is read, as PIL names it. Others run programs or follow paths to other files."""
PREVIEW_SIDE, PREVIEW_QUALITY = 2048, 85
"""Longer side of what the page shows of a photo, pixels, and its quality as JPEG."""
MAX_PIXELS = 100_000_000
"""Larger photos are refused: reading one takes more than 2 GB of memory."""
MAX_HELD_BYTES = 600_000_000
"""Above this, the photos that were not used for the longest time are let go."""
DEMO = ("motorcycle_left.png", "motorcycle_right.png")
"""The stereo pair in the scikit-image wheel (Middlebury 2014)."""


class PhotoGone(PhotoGlueError):  # noqa: N818  (reads as what happened)
    """A photo that is no longer held, or never was."""


@dataclass(frozen=True, kw_only=True)
class HeldPhoto:
    """A photo that was sent, and what the page shows of it."""

    key: str
    """32 letters and digits, of name and content: the same photo has the same key."""
    name: str
    """What its file is called, without folders."""
    path: str
    """What a command line calls it: the name, or where it is, if that is known."""
    content: bytes
    """All bytes of the file."""
    format: str
    """What the file is, as PIL names it."""
    image_size: tuple[int, int]
    """(width, height) of the upright photo, pixels."""
    preview: bytes
    """The upright photo as JPEG, made smaller if it is large."""

    def opened(self) -> PIL.Image.Image:
        """The photo, not yet loaded."""
        with warnings.catch_warnings():  # its size was checked
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            return PIL.Image.open(io.BytesIO(self.content), formats=[self.format])


class HeldPhotos:
    """The photos that pages of this server have sent; threads may share it."""

    def __init__(self, max_bytes: int = MAX_HELD_BYTES) -> None:
        self._photos: OrderedDict[str, HeldPhoto] = OrderedDict()
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._decoding = threading.Lock()  # one at a time: a large photo takes a gigabyte while it is read

    def add(self, content: bytes, name: str, path: str | None = None) -> HeldPhoto:
        """Read a photo, to see that it can be read, and hold it.

        Args:
            content: All bytes of its file.
            name: What the file is called, as the browser says.
            path: Where it is, if that is known.

        Raises:
            ImageError: If it cannot be read, or is too large.
        """
        name = plain_name(name)
        path = path or name
        key = hashlib.sha256(os.fsencode(path) + b"\0" + content).hexdigest()[:32]
        photo = self._photos.get(key)
        if photo is None:
            with self._decoding:
                photo = replace(_read(content, name, key), path=path)
        with self._lock:
            self._photos[key] = photo
            self._photos.move_to_end(key)
            while len(self._photos) > 2 and self._held_bytes() > self._max_bytes:
                self._photos.popitem(last=False)
        return photo

    def add_demo(self) -> tuple[HeldPhoto, HeldPhoto]:
        """Hold the stereo pair of a motorcycle, which comes with scikit-image.

        Raises:
            MissingExtra: If scikit-image is not installed.
        """
        folder = Path(require("skimage.data", extra="demo").__file__ or "").parent
        first, second = (self.add((folder / name).read_bytes(), name, str(folder / name)) for name in DEMO)
        return first, second

    def get(self, key: str) -> HeldPhoto:
        """The photo with a key.

        Raises:
            PhotoGone: If it is not held.
        """
        with self._lock:
            if key not in self._photos:
                raise PhotoGone("That photo is not held here (any more); send it again.")
            self._photos.move_to_end(key)
            return self._photos[key]

    def _held_bytes(self) -> int:
        return sum(len(photo.content) + len(photo.preview) for photo in self._photos.values())


def plain_name(name: str) -> str:
    """A name as a person would write it: without folders and control characters, of at most 120 characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(each for each in last if unicodedata.category(each)[0] != "C").strip()
    short = kept if len(kept) <= 120 else kept[:80] + "…" + kept[-39:]
    return short if short.strip(".") else "photo"


def _read(content: bytes, name: str, key: str) -> HeldPhoto:
    with opened_content(content, name, FORMATS) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise ImageError(f"it has {width} × {height} pixels; at most {MAX_PIXELS // 10**6} million are taken here")
        kind = picture.format or ""
        size = (height, width) if orientation_of(picture) in SIDEWAYS else (width, height)
        if picture.format in ("JPEG", "MPO") and picture.mode in ("RGB", "L"):  # read at about the size that is shown
            picture.draft("RGB", (PREVIEW_SIDE, PREVIEW_SIDE))
            small = PIL.ImageOps.exif_transpose(picture).convert("RGB")
        else:
            pixels = to_rgb(photo_of_pil(picture, len(content)).image).mul(255).round().byte()
            small = PIL.Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=PREVIEW_QUALITY)
    preview = buffer.getvalue()
    return HeldPhoto(key=key, name=name, path=name, content=content, format=kind, image_size=size, preview=preview)
