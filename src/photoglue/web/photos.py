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
from photoglue.extractors.base import upright_mask
from photoglue.geometry.frames import StoredFrame
from photoglue.image import SIDEWAYS, opened_content, to_rgb

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""What is read, as PIL names it. Others run programs or follow paths to other files."""
PREVIEW_SIDE, PREVIEW_QUALITY = 2048, 85
"""Longer side of what the page shows of a photo, pixels, and its quality as JPEG."""
MAX_PIXELS = 100_000_000
"""Larger photos are refused: reading one takes more than 2 GB of memory."""
FEWEST = 4
"""Two photos and their masks always stay."""
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
    orientation: int = 1
    """Its EXIF orientation, 1 to 8."""

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
        key = _key(os.fsencode(path), content)
        photo = self._photos.get(key)
        if photo is None:
            with self._decoding:
                photo = replace(_read(content, name, key), path=path)
        return self._hold(photo)

    def add_mask(self, content: bytes, name: str, photo: HeldPhoto) -> HeldPhoto:
        """Hold a mask of a photo, in the stored pixels of that; its preview is upright, white where points are wanted.

        Args:
            content: All bytes of its file.
            name: What the file is called, as the browser says.
            photo: The photo.

        Raises:
            ImageError: If it cannot be read, is of another size than its photo, or black everywhere.
        """
        name = plain_name(name)
        frame = StoredFrame(orientation=photo.orientation, upright_size=photo.image_size)
        with self._decoding:
            mask = _read(content, name, _key(os.fsencode(name), photo.key.encode(), content))
            white = upright_mask(mask.opened(), photo.name, frame)
        if not white.any():
            raise ImageError(f"The mask {mask.name!r} is black everywhere, so that its photo would have no point.")
        shown = _jpeg(PIL.Image.fromarray((white * 255).byte().numpy()))
        return self._hold(replace(mask, preview=shown, image_size=photo.image_size))

    def _hold(self, photo: HeldPhoto) -> HeldPhoto:
        with self._lock:
            self._photos[photo.key] = photo
            self._photos.move_to_end(photo.key)
            while len(self._photos) > FEWEST and self._held_bytes() > self._max_bytes:
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
        orientation = orientation_of(picture)
        size = (height, width) if orientation in SIDEWAYS else (width, height)
        if picture.format in ("JPEG", "MPO") and picture.mode in ("RGB", "L"):  # read at about the size that is shown
            picture.draft("RGB", (PREVIEW_SIDE, PREVIEW_SIDE))
            small = PIL.ImageOps.exif_transpose(picture).convert("RGB")
        else:
            pixels = to_rgb(photo_of_pil(picture, len(content)).image).mul(255).round().byte()
            small = PIL.Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        preview = _jpeg(small)
    return HeldPhoto(
        key=key,
        name=name,
        path=name,
        content=content,
        format=kind,
        image_size=size,
        preview=preview,
        orientation=orientation,
    )


def _jpeg(picture: PIL.Image.Image) -> bytes:
    """A picture as the page shows it."""
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=PREVIEW_QUALITY)
    return buffer.getvalue()


def _key(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
