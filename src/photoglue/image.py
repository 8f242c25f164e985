"""From whatever a user holds to an image tensor, and the one place where a resize is undone.

Inside the package an image is ``Float[Tensor, "c h w"]``, RGB or gray (c = 3 or 1), in [0, 1].
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.errors import ConfigError, ImageError, MissingExtra, require

HEIC_SUFFIXES = (".heic", ".heif")
"""What iPhones write; Pillow needs a plugin to read it."""
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

ImageSource: TypeAlias = str | os.PathLike[str] | PIL.Image.Image | np.ndarray | Tensor
"""A path, a PIL image, a numpy array (h × w or h × w × c) or a tensor (c × h × w or h × w)."""


def read_image(path: str | os.PathLike[str]) -> Float[Tensor, "c h w"]:
    """The image in a file, upright as its EXIF tag says, RGB or gray in [0, 1].

    Raises:
        ImageError: If there is no such file, it is no image, it is damaged, or it is HEIC and pillow-heif is missing.
    """
    with _opened(Path(path)) as picture:
        return _from_pil(picture)


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
        return (height, width) if upright and picture.getexif().get(0x0112) in SIDEWAYS else (width, height)


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
    if path.suffix.lower() in HEIC_SUFFIXES:
        try:
            require("pillow_heif", extra="heic").register_heif_opener()
        except MissingExtra as error:
            raise ImageError(f"{str(path)!r} is a HEIC photo. {error}, or make a JPEG of it.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(path) as picture:
                yield picture
    except ImageError as error:
        raise ImageError(f"{str(path)!r}: {error}") from None
    except PIL.UnidentifiedImageError:
        hint = " AVIF needs Pillow 11.3 or newer." if path.suffix.lower() == ".avif" else ""
        raise ImageError(f"{str(path)!r} is not an image that can be read (JPEG, PNG, TIFF, WebP, …).{hint}") from None
    except PIL.Image.DecompressionBombError as error:
        raise ImageError(
            f"{str(path)!r} is too large to read safely: {error}. Make it smaller first, or, if you trust it, set "
            "PIL.Image.MAX_IMAGE_PIXELS = None."
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # each format's decoder has its own ways to fail
        raise ImageError(f"{str(path)!r} is damaged or cut off and cannot be read whole: {error}.") from error


def load_image(source: ImageSource) -> Float[Tensor, "c h w"]:
    """An image tensor from anything that a user may hold.

    uint8 and uint16 are divided by their largest value; other integers, which do not say what is white, are refused.
    Floating arrays must already be in [0, 1]. An alpha channel is dropped. Numpy arrays have the channels last, tensors
    first.

    Raises:
        ImageError: If it is not an image: wrong shape or type, no pixels, values out of range, or an unreadable file.
    """
    if isinstance(source, str | os.PathLike):
        return read_image(source)
    if isinstance(source, PIL.Image.Image):
        try:
            return _from_pil(source)
        except (OSError, ValueError, SyntaxError, RuntimeError) as error:  # read from its file only now
            raise ImageError(f"The PIL image cannot be read: {error}") from error
    if isinstance(source, np.ndarray):
        return _from_numpy(source)
    if isinstance(source, Tensor):
        return _from_tensor(source)
    raise ImageError(
        f"An image cannot be made of a {type(source).__name__}; pass a path, a PIL image, a numpy array "
        "(height × width × channels) or a tensor (channels × height × width)."
    )


def load_mask(source: ImageSource, image_size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """True where keypoints are wanted: every pixel of the mask image that is not black.

    Args:
        source: A mask of the size of its image, in any form that an image may have, or booleans.
        image_size: (width, height) of the image that it belongs to, pixels.

    Raises:
        ImageError: If the mask has another size than the image.
    """
    if isinstance(source, np.ndarray | Tensor) and "float" not in str(source.dtype):
        source = source != 0  # labels of any integer type
    mask = load_image(source).amax(dim=0) > 0
    if (mask.shape[1], mask.shape[0]) != image_size:
        raise ImageError(
            f"The mask is {mask.shape[1]} × {mask.shape[0]} pixels, its image {image_size[0]} × {image_size[1]}; "
            "they must have the same size."
        )
    return mask


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


def _from_pil(picture: PIL.Image.Image) -> Tensor:
    upright = PIL.ImageOps.exif_transpose(picture)
    if upright.mode in ("1", "LA"):
        upright = upright.convert("L")
    elif upright.mode not in ("L", "RGB", "F") and not upright.mode.startswith("I"):
        upright = upright.convert("RGB")
    array = np.asarray(upright)
    if upright.mode == "I":  # PIL widens 16-bit files to 32 bits
        if array.min(initial=0) < 0 or array.max(initial=0) > 65535:
            raise ImageError(f"The 32-bit pixels go from {array.min()} to {array.max()}; they must be in 0 to 65535.")
        array = array.astype(np.uint16)
    return _from_numpy(array)


def _from_numpy(array: np.ndarray) -> Tensor:
    if array.ndim not in (2, 3):
        raise ImageError(f"The array has shape {array.shape}; an image is height × width or height × width × channels.")
    if array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4):
        hint = " Are the channels first? Then pass a tensor." if array.shape[0] in (1, 3) else ""
        raise ImageError(f"The array has {array.shape[2]} channels; an image has 1 (gray), 3 (RGB) or 4 (RGBA).{hint}")
    channels_first = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return _to_unit_range(channels_first)


def _from_tensor(tensor: Tensor) -> Tensor:
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
    if tensor.is_floating_point():
        return _checked(_without_alpha(tensor).detach().float())
    return _to_unit_range(tensor.cpu().numpy()).to(tensor.device)


def _to_unit_range(array: np.ndarray) -> Tensor:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype.kind != "f" and not (array.dtype.kind == "u" and array.dtype.itemsize <= 2):
        raise ImageError(
            f"The values are {array.dtype}, which does not say what is white; pass uint8 (if white is 255: "
            "image.astype(np.uint8)), uint16, or floating values in [0, 1]."
        )
    kept: Any = _without_alpha(array)
    if kept.dtype.kind == "u":
        values = torch.from_numpy(np.ascontiguousarray(kept, dtype=np.float32))
        return _checked(values.div_(float(np.iinfo(kept.dtype).max)))
    return _checked(torch.from_numpy(np.array(kept, dtype=np.float32, order="C")))


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
