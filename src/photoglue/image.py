"""From whatever a user holds to an image tensor, and the one place where a resize is undone.

Inside the package an image is ``Float[Tensor, "c h w"]``, RGB or gray (c = 3 or 1), in [0, 1].
"""

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.decode import (
    GpsPosition,
    Photo,
    gps_of,
    orientation_of,
    photo_of_array,
    photo_of_pil,
    photo_of_tensor,
    white_of_pil,
)
from photoglue.errors import ConfigError, ImageError, MissingExtra, require

HEIC_SUFFIXES = (".heic", ".heif")
"""What iPhones write; Pillow needs a plugin to read it."""
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

CAMERA_TAGS = 0x8769
"""EXIF tag of the directory with what the camera says."""

ImageSource: TypeAlias = str | os.PathLike[str] | PIL.Image.Image | np.ndarray | Tensor
"""A path, a PIL image, a numpy array (h × w or h × w × c) or a tensor (c × h × w or h × w)."""


def read_image(path: str | os.PathLike[str]) -> Float[Tensor, "c h w"]:
    """The image in a file, upright as its EXIF tag says, RGB or gray in [0, 1].

    Raises:
        ImageError: If there is no such file, it is no image, it is damaged, or it is HEIC and pillow-heif is missing.
    """
    return _photo_in(Path(path)).image


def read_image_size(path: str | os.PathLike[str], *, upright: bool = True) -> tuple[int, int]:
    """(width, height) of the image in a file, pixels.

    Args:
        path: The file; only its header is read, unless it is a PNG whose EXIF tag may stand after the pixels.
        upright: As its EXIF tag says; False: as stored.

    Raises:
        ImageError: If there is no such file, it is no image, or its header is damaged.
    """
    with _opened(Path(path)) as picture:
        width, height = picture.size
        return (height, width) if upright and orientation_of(picture) in SIDEWAYS else (width, height)


def read_gps(path: str | os.PathLike[str]) -> GpsPosition | None:
    """Where the photo in a file was taken, by its EXIF data; None if they do not say. Only its header is read.

    Raises:
        ImageError: If there is no such file, it is no image, or its header is damaged.
    """
    with _opened(Path(path)) as picture:
        return gps_of(picture)


def read_exif(path: str | os.PathLike[str]) -> dict[int, Any]:
    """The EXIF tags of the photo in a file, those of the camera among them; empty if it has none that can be read.

    Raises:
        ImageError: If there is no such file, it is no image, or its header is damaged.
    """
    with _opened(Path(path)) as picture:
        try:
            tags = picture.getexif()
            return {**tags, **tags.get_ifd(CAMERA_TAGS)}
        except Exception:  # noqa: BLE001  (whatever editors wrote there must stop nobody)
            return {}


def _photo_in(path: Path) -> Photo:
    with _opened(path) as picture:
        return replace(photo_of_pil(picture, path.stat().st_size), path=str(path))


@contextmanager
def _opened(path: Path) -> Iterator[PIL.Image.Image]:
    """The picture in a file; whatever goes wrong, here or while it is used, is an ImageError."""
    if not path.is_file():  # a pipe would be waited for
        what = "a folder" if path.is_dir() else "a pipe or device"
        raise ImageError(
            f"{str(path)!r} is {what}; an image file was expected."
            if path.exists()
            else f"There is no file {str(path)!r}."
        )
    with _decoded(path, str(path)) as picture:
        yield picture


@contextmanager
def opened_content(content: bytes, name: str, formats: Sequence[str] | None = None) -> Iterator[PIL.Image.Image]:
    """The picture in what a file holds, not yet loaded; whatever goes wrong while it is used is an ``ImageError``.

    Args:
        content: All bytes of the file.
        name: What the file is called; its ending says whether it may be HEIC.
        formats: Names of the formats that are accepted, as PIL has them, those that it lacks left out; None: all.

    Raises:
        ImageError: If it is no image, it is damaged, or it is HEIC and pillow-heif is missing.
    """
    with _decoded(io.BytesIO(content), name, formats) as picture:
        yield picture


@contextmanager
def _decoded(source: Path | io.BytesIO, name: str, formats: Sequence[str] | None = None) -> Iterator[PIL.Image.Image]:
    suffix = Path(name).suffix.lower()
    if suffix in HEIC_SUFFIXES:
        try:
            require("pillow_heif", extra="heic").register_heif_opener()
        except MissingExtra as error:
            raise ImageError(f"{name!r} is a HEIC photo. {error}, or make a JPEG of it.") from error
    if formats is not None:
        PIL.Image.init()
        formats = [each for each in formats if each in PIL.Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(source, formats=formats) as picture:
                yield picture
    except ImageError as error:
        raise ImageError(f"{name!r}: {error}") from None
    except PIL.UnidentifiedImageError:
        hint = " AVIF needs Pillow 11.3 or newer." if suffix == ".avif" else ""
        raise ImageError(f"{name!r} is not an image that can be read (JPEG, PNG, TIFF, WebP, …).{hint}") from None
    except PIL.Image.DecompressionBombError as error:
        raise ImageError(
            f"{name!r} is too large to read safely: {error}. Make it smaller first, or, if you trust it, set "
            "PIL.Image.MAX_IMAGE_PIXELS = None."
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # each format's decoder has its own ways to fail
        raise ImageError(f"{name!r} is damaged or cut off and cannot be read whole: {error}.") from error


def load_image(source: ImageSource | Photo) -> Float[Tensor, "c h w"]:
    """An image tensor from anything that a user may hold, RGB or gray, in [0, 1], upright.

    uint8 and uint16 are divided by their largest value; 16-bit values that span less than a quarter of that are
    stretched, with a notice; other integers, which do not say what is white, are refused. Floating arrays must already
    be in [0, 1]. An alpha channel is dropped. Numpy arrays have the channels last, tensors first.

    Raises:
        ImageError: If it is not an image: wrong shape or type, no pixels, values out of range, or an unreadable file.
    """
    return load_photo(source).image


def load_photo(source: ImageSource | Photo) -> Photo:
    """As ``load_image``, with the EXIF orientation that was applied, and where the alpha channel is not 0.

    A ``Photo`` that was read before is returned as it is.

    Raises:
        ImageError: If it is not an image: wrong shape or type, no pixels, values out of range, or an unreadable file.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, str | os.PathLike):
        return _photo_in(Path(source))
    if isinstance(source, PIL.Image.Image):
        try:
            return photo_of_pil(source)
        except ImageError:
            raise
        except (OSError, ValueError, SyntaxError, RuntimeError) as error:  # read from its file only now
            raise ImageError(f"The PIL image cannot be read: {error}") from error
    if isinstance(source, np.ndarray):
        return photo_of_array(source)
    if isinstance(source, Tensor):
        return photo_of_tensor(source)
    raise ImageError(
        f"An image cannot be made of a {type(source).__name__}; pass a path, a PIL image, a numpy array "
        "(height × width × channels) or a tensor (channels × height × width)."
    )


def load_mask(source: ImageSource) -> Bool[Tensor, "h w"]:
    """True where keypoints are wanted: the white part of a mask.

    Args:
        source: A path or PIL image: white is what is brighter than half of the brightest pixel (the noise of a JPEG's
            black is black) and, if there is an alpha channel, at least half opaque. An array or tensor of booleans or
            integers: white is what is not 0, so that label maps can be used. Of floating values: above one half.

    Raises:
        ImageError: If it is not an image.
    """
    if isinstance(source, np.ndarray | Tensor):
        if "float" not in str(source.dtype):
            source = source != 0
        return load_photo(source).image.amax(dim=0) > 0.5
    picture = source if isinstance(source, PIL.Image.Image) else None
    with nullcontext(picture) if picture is not None else _opened(Path(source)) as opened:  # type: ignore[arg-type]
        return white_of_pil(opened)


def to_gray(images: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b 1 h w"]:
    """Luma of RGB images with the weights of ITU-R BT.601; gray images as they are."""
    if images.shape[-3] == 1:
        return images
    red, green, blue = images.unbind(dim=-3)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(-3)


def to_rgb(images: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Gray images repeated over three channels; RGB images as they are."""
    return images.expand(*images.shape[:-3], 3, *images.shape[-2:]) if images.shape[-3] == 1 else images


@dataclass(frozen=True, kw_only=True)
class Resize:
    """The exact scale between an image as read and the tensor that a detector sees."""

    original_size: tuple[int, int]
    """(width, height), pixels."""
    resized_size: tuple[int, int]
    """(width, height), pixels."""

    @classmethod
    def long_side(cls, image_size: tuple[int, int], length: int | None) -> "Resize":
        """The resize that makes the longer side ``length`` pixels, up or down, keeping the aspect; None: none.

        Raises:
            ConfigError: If ``length`` is not positive.
        """
        if length is None:
            return cls(original_size=image_size, resized_size=image_size)
        if length < 1:
            raise ConfigError(f"resize is {length}; it must be a length in pixels, or None to keep the size.")
        width, height = image_size
        # Rounded down, as the official code does it, so that both see the same size (the filter differs: see apply).
        resized = (
            (length, int(length / (width / height))) if width >= height else (int(length * (width / height)), length)
        )
        return cls(original_size=image_size, resized_size=(max(1, resized[0]), max(1, resized[1])))

    @property
    def scale(self) -> tuple[float, float]:
        """Resized over original, per axis; the two differ by the rounding to whole pixels."""
        return self.resized_size[0] / self.original_size[0], self.resized_size[1] / self.original_size[1]

    def apply(self, image: Float[Tensor, "c h w"]) -> Float[Tensor, "c h2 w2"]:
        """The image at the new size, antialiased bilinear (a triangle as wide as the scale).

        The official code blurs with a Gaussian and then samples: a photo made smaller differs by some 0.006 on average.
        """
        if self.resized_size == self.original_size:
            return image
        width, height = self.resized_size
        resized = torch.nn.functional.interpolate(
            image[None], (height, width), mode="bilinear", align_corners=False, antialias=True
        )
        return resized[0]

    def apply_mask(self, mask: Bool[Tensor, "h w"]) -> Bool[Tensor, "h2 w2"]:
        """The mask at the new size, nearest pixel."""
        if self.resized_size == self.original_size:
            return mask
        width, height = self.resized_size
        resized = torch.nn.functional.interpolate(mask[None, None].float(), (height, width), mode="nearest-exact")
        return resized[0, 0] > 0.5

    def undo(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Points of the resized tensor as pixels of the original; pixel centres are whole numbers in both."""
        return (points + 0.5) / points.new_tensor(self.scale) - 0.5

    def redo(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Points of the original as pixels of the resized tensor."""
        return (points + 0.5) * points.new_tensor(self.scale) - 0.5

    @property
    def mean_scale(self) -> float:
        """Resized over original, for lengths."""
        return float((self.scale[0] * self.scale[1]) ** 0.5)
