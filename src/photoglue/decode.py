"""Pixels as a library or a user has them → an image tensor, upright, with what was lost by that beside it."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.errors import ImageError, PhotoGlueWarning

ORIENTATION, GPS = 0x0112, 0x8825
"""The EXIF tags."""
NARROW = 16384
"""16-bit values that span no more than this, a quarter of what they could, are stretched (12- and 14-bit cameras)."""
OUTLIERS = 0.001
"""The share of pixels at either end that may lie outside the span: dead and hot pixels of thermal cameras."""
LARGE = 100_000_000
"""Pixels above which a notice says how much memory a photo takes."""
LEAST_JPEG_BYTES = 0.001
"""A JPEG has at least so many bytes a pixel, however empty it is: a block of 64 pixels takes some bits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """An image as the package sees it, and what is known of the file or array that it comes from."""

    image: Float[Tensor, "c h w"]
    """RGB or gray (c = 3 or 1), upright, in [0, 1]."""
    orientation: int = 1
    """The EXIF orientation, 1 to 8, that was applied: the stored pixels are turned against the image."""
    opaque: Bool[Tensor, "h w"] | None = None
    """Where the alpha channel is not 0; None: everywhere, or there is none."""
    path: str | None = None
    """The file that it was read from; None: it was no file."""


@dataclass(frozen=True, kw_only=True)
class GpsPosition:
    """Where a photo was taken, as its EXIF data say (WGS84)."""

    latitude_deg: float
    """To the north, in [-90, 90]."""
    longitude_deg: float
    """To the east, in [-180, 180]."""
    altitude_m: float | None = None
    """Above the sea, as the receiver defines it; None: unknown."""


def photo_of_pil(picture: PIL.Image.Image, size_bytes: int | None = None) -> Photo:
    """The photo in a PIL image, turned as its EXIF orientation says.

    Args:
        picture: Of any mode; it need not have been loaded.
        size_bytes: Size of its file, if it is known.

    Raises:
        ImageError: If its values do not say what is white, or its file cannot hold what its header claims.
    """
    _check_claims(picture, size_bytes)
    orientation = orientation_of(picture)
    upright = PIL.ImageOps.exif_transpose(picture) if orientation != 1 else picture
    if upright.mode == "I" and _is_int32_tiff(picture):
        low, high = upright.getextrema()
        raise ImageError(
            f"The values are int32, from {low} to {high}, which does not say what is white; save it with 8 or 16 bits."
        )
    array = _array_of(upright)
    del upright
    photo = photo_of_array(array)
    return Photo(image=photo.image, orientation=orientation, opaque=photo.opaque)


def orientation_of(picture: PIL.Image.Image) -> int:
    """The EXIF orientation of a picture, 1 to 8; 1 where there is none, or none that exists.

    In a PNG without a tag in front, one may stand behind the pixels: they are read for it, and where they are cut off,
    there is none.
    """
    try:
        orientation = picture.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError):
        if picture.format != "PNG" or "exif" in picture.info:
            raise
        return 1
    return orientation if orientation in range(1, 9) else 1


def gps_of(picture: PIL.Image.Image) -> GpsPosition | None:
    """Where a picture was taken; None if it does not say, or says what cannot be (0° N, 0° E is "none")."""
    try:
        tags = picture.getexif().get_ifd(GPS)
        latitude, longitude = (
            sum(float(part) / 60**i for i, part in enumerate(tags[tag])) * (-1 if tags[tag - 1] in ("S", "W") else 1)
            for tag in (2, 4)
        )
        altitude = float(tags[6]) * (-1 if tags.get(5) in (1, b"\x01") else 1) if 6 in tags else math.nan
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OSError, SyntaxError):
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude, longitude) != (0, 0)):  # also false for NaN
        return None
    known = altitude if math.isfinite(altitude) else None
    return GpsPosition(latitude_deg=latitude, longitude_deg=longitude, altitude_m=known)


def white_of_pil(picture: PIL.Image.Image) -> Bool[Tensor, "h w"]:
    """Where a mask is white, turned as its own EXIF orientation says.

    That is brighter than half of its brightest pixel and, with an alpha channel, at least half opaque; if it has only
    one color, its alpha channel alone decides.
    """
    upright = PIL.ImageOps.exif_transpose(picture) if orientation_of(picture) != 1 else picture
    array = _array_of(upright)
    channels = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    bright = np.asarray(_without_alpha(channels)).max(axis=0)
    white = bright > bright.max(initial=0) / 2
    if channels.shape[0] in (2, 4):
        opaque = channels[-1] >= 128
        one_color = bright.min(initial=255) >= bright.max(initial=0)
        white = opaque if one_color and not opaque.all() else white & opaque
    return torch.from_numpy(white)


def photo_of_array(array: np.ndarray) -> Photo:
    """The photo in an array h × w or h × w × c of 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA) channels.

    Raises:
        ImageError: If it has another shape or type, or values out of range.
    """
    if array.ndim not in (2, 3):
        raise ImageError(f"The array has shape {array.shape}; an image is height × width or height × width × channels.")
    if array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4):
        hint = " Are the channels first? Then pass a tensor." if array.shape[0] in (1, 3) else ""
        raise ImageError(f"The array has {array.shape[2]} channels; an image has 1 (gray), 3 (RGB) or 4 (RGBA).{hint}")
    return _photo_of_channels(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def photo_of_tensor(tensor: Tensor) -> Photo:
    """The photo in a tensor h × w or c × h × w, on the device that it is on.

    Raises:
        ImageError: If it has another shape or type, or values out of range.
    """
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim == 2:
        tensor = tensor[None]
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 2, 3, 4):
        hint = "Are the channels last? Use permute(2, 0, 1)." if tensor.shape[-1:] in ((1,), (3,), (4,)) else ""
        raise ImageError(
            f"The tensor has shape {tuple(tensor.shape)}; an image is channels × height × width with 1 or 3 channels. "
            f"{hint or 'Pass several images as a list.'}"
        )
    if tensor.layout is not torch.strided:
        raise ImageError(f"The tensor is {tensor.layout}; an image is a dense tensor: tensor.to_dense().")
    if tensor.is_floating_point():
        opaque = _opaque(tensor[-1] > 0) if tensor.shape[0] in (2, 4) else None
        return Photo(image=_checked(_without_alpha(tensor).detach().float()), opaque=opaque)
    photo = _photo_of_channels(tensor.cpu().numpy())
    opaque = None if photo.opaque is None else photo.opaque.to(tensor.device)
    return Photo(image=photo.image.to(tensor.device), opaque=opaque)


def _check_claims(picture: PIL.Image.Image, size_bytes: int | None) -> None:
    """Refuses a small file that claims to be a huge photo; says how much memory a huge one takes."""
    width, height = picture.size
    pixels = width * height
    least = LEAST_JPEG_BYTES * pixels if picture.format in ("JPEG", "MPO") and pixels > 1_000_000 else 0
    if size_bytes is not None and size_bytes < least:
        raise ImageError(
            f"it claims {width} × {height} pixels, which {size_bytes:,} bytes of JPEG cannot hold: it is cut off or "
            "made up."
        )
    if pixels > LARGE:
        warnings.warn(
            f"A photo has {width} × {height} pixels; reading it takes about {pixels * 22 / 1e9:.0f} GB of memory.",
            PhotoGlueWarning,
            stacklevel=5,
        )


def _is_int32_tiff(picture: PIL.Image.Image) -> bool:
    """PIL opens 16-bit and 32-bit files in one mode; the tag BitsPerSample of a TIFF tells them apart."""
    return picture.format == "TIFF" and getattr(picture, "tag_v2", {}).get(258) in (32, (32,))


def _array_of(picture: PIL.Image.Image) -> np.ndarray:
    if "transparency" in picture.info and picture.mode in ("P", "L", "RGB", "1"):
        picture = picture.convert("RGBA")
    elif picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode in ("PA", "La", "RGBa"):
        picture = picture.convert("RGBA")
    elif picture.mode not in ("L", "LA", "RGB", "RGBA", "F") and not picture.mode.startswith("I"):
        picture = picture.convert("RGB")
    array = np.asarray(picture)
    if picture.mode == "I":  # PIL widens 16-bit files to 32 bits
        if array.min(initial=0) < 0 or array.max(initial=0) > 65535:
            raise ImageError(f"The 32-bit pixels go from {array.min()} to {array.max()}; they must be in 0 to 65535.")
        array = array.astype(np.uint16)
    return array


def _photo_of_channels(array: np.ndarray) -> Photo:
    """The photo in an array c × h × w."""
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype.kind != "f" and not (array.dtype.kind == "u" and array.dtype.itemsize <= 2):
        raise ImageError(
            f"The values are {array.dtype}, which does not say what is white; pass uint8 (if white is 255: "
            "image.astype(np.uint8)), uint16, or floating values in [0, 1]."
        )
    opaque = _opaque(torch.from_numpy(array[-1] > 0)) if array.shape[0] in (2, 4) else None
    colors: Any = _without_alpha(array)
    if colors.dtype.kind == "f":
        return Photo(image=_checked(torch.from_numpy(np.array(colors, dtype=np.float32, order="C"))), opaque=opaque)
    values = torch.from_numpy(np.ascontiguousarray(colors, dtype=np.float32))
    span = _narrow_span(colors) if colors.dtype.itemsize == 2 else None
    if span is None:
        return Photo(image=_checked(values.div_(float(np.iinfo(colors.dtype).max))), opaque=opaque)
    low, high = span
    return Photo(image=_checked(values.sub_(low).div_(high - low).clamp_(0, 1)), opaque=opaque)


def _narrow_span(values: np.ndarray) -> tuple[float, float] | None:
    """Where nearly all 16-bit values lie, if that is clearly less than what 16 bits hold; then it is said."""
    if values.size == 0:
        return None
    shares = np.bincount(np.ascontiguousarray(values).ravel(), minlength=65536).cumsum() / values.size
    low, high = (int(np.searchsorted(shares, share)) for share in (OUTLIERS, 1 - OUTLIERS))
    if not 0 < high - low <= NARROW:
        return None
    warnings.warn(
        f"16-bit values from {low} to {high} are less than a quarter of what 16 bits hold: they were stretched to "
        "black and white.",
        PhotoGlueWarning,
        stacklevel=6,
    )
    return float(low), float(high)


def _opaque(where: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"] | None:
    return None if where.all() else where


def _without_alpha(image: Any) -> Any:
    return image[: 1 if image.shape[0] == 2 else 3]


def _checked(image: Tensor) -> Tensor:
    if image.numel() == 0:
        raise ImageError(f"The image has no pixels: {image.shape[2]} × {image.shape[1]}.")
    low, high = (float(value) for value in image.aminmax())
    if not (low >= -1e-3 and high <= 1.001):  # also false for NaN
        raise ImageError(
            f"The image has values from {low:.3g} to {high:.3g}; floating images must be in [0, 1]. "
            "Divide by 255, or pass 8-bit integers."
        )
    return image
