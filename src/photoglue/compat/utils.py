"""``lightglue.utils``: reading and resizing images, the base class of extractors, and helpers for dicts of tensors."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped, UInt8
from torch import Tensor, nn
from torch.nn import functional

from photoglue import image as images
from photoglue.compat.options import known
from photoglue.errors import ConfigError, PhotoGlueWarning, ShapeError, require


class ImagePreprocessor:
    """Resizes image tensors as the official package does: ``resized, scale = ImagePreprocessor(resize=1024)(image)``.

    Options, which may change at any time through ``conf``:

    - resize: Length of one side in pixels, or (height, width), or None to keep the size.
    - side: Which side an int means: "long", "short", "vert" (the height) or "horz" (the width).
    - antialias: Blur with a Gaussian before an image is made smaller.
    - align_corners: As for ``torch.nn.functional.interpolate``.
    - interpolation: Only "bilinear", which is what the official code does whatever it is told.
    """

    default_conf: ClassVar[dict[str, Any]] = {
        "resize": None,
        "side": "long",
        "interpolation": "bilinear",
        "align_corners": None,
        "antialias": True,
    }

    def __init__(self, **conf: Any) -> None:
        # "grayscale" stands in DISK's preprocess_conf; nothing reads it, officially either.
        known(conf, {**self.default_conf, "grayscale": False}, "preprocessing")
        self.conf = SimpleNamespace(**{**self.default_conf, **conf})

    def __call__(self, img: Float[Tensor, "*b h w"]) -> tuple[Float[Tensor, "*b h2 w2"], Float[Tensor, "2"]]:
        """The resized image, and its scale (x, y): new size over old.

        Raises:
            ConfigError: If ``resize``, ``side`` or ``interpolation`` is not one of the values above.
        """
        height, width = img.shape[-2:]
        size = self._size(height, width)
        scale = img.new_tensor([size[1] / width, size[0] / height])
        if size == (height, width):
            return img, scale
        blurs = self.conf.antialias and max(height / size[0], width / size[1]) > 1
        planes = img.reshape(-1, 1, height, width)
        for axis, (old, new) in enumerate(((height, size[0]), (width, size[1])), start=2):  # both filters are separable
            if blurs:
                planes = _blurred(planes, axis, sigma=max((old / new - 1) / 2, 1e-3))
            to = (new, planes.shape[3]) if axis == 2 else size
            planes = functional.interpolate(planes, to, mode="bilinear", align_corners=self.conf.align_corners)
        return planes.reshape(*img.shape[:-2], *size), scale

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that an image of that size is to have."""
        resize, side = self.conf.resize, self.conf.side
        if self.conf.interpolation != "bilinear":
            raise ConfigError(f'interpolation is {self.conf.interpolation!r}; only "bilinear" is supported.')
        if side not in ("long", "short", "vert", "horz"):
            raise ConfigError(f'side is {side!r}; it must be "long", "short", "vert" or "horz".')
        if resize is None:
            return height, width
        if isinstance(resize, Sequence) and len(resize) == 2:
            return _length(resize[0]), _length(resize[1])
        length, aspect = _length(resize), width / height
        # Rounded down, and with these very divisions: both packages see the same size.
        if side == "vert" or (side != "horz" and (side == "short") == (aspect >= 1)):
            return length, max(1, int(length * aspect))
        return max(1, int(length / aspect)), length


class Extractor(nn.Module):
    """The official base of extractors. One of your own defines ``default_conf`` and ``forward``.

    ``forward`` takes a dict with "image" (b × c × h × w) and returns one with "keypoints" (b × n × 2, pixels of that
    image), "keypoint_scores" and "descriptors".
    """

    default_conf: ClassVar[dict[str, Any]] = {}
    preprocess_conf: ClassVar[dict[str, Any]] = {"resize": 1024}
    """Options of ImagePreprocessor for ``extract``; read at each call."""

    def __init__(self, **conf: Any) -> None:
        super().__init__()
        self.conf = SimpleNamespace(**{**self.default_conf, **conf})

    @torch.no_grad()
    def extract(self, img: Float[Tensor, "*c h w"], **conf: Any) -> dict[str, Tensor]:
        """Features of one image in its own pixels, with a batch axis of 1.

        Scales, where there are any, are in pixels of the resized image, as officially.

        Args:
            img: RGB or gray in [0, 1], with or without a batch axis of length 1.
            **conf: Options of ImagePreprocessor instead of those in ``preprocess_conf``, such as ``resize=None``.

        Raises:
            ImageError: If it is no image in [0, 1].
            ShapeError: If it is a batch of several.
            ConfigError: If an option does not exist or does not fit.
        """
        if img.ndim == 4 and len(img) != 1:
            raise ShapeError(
                f'extract() takes one image, not {len(img)}; forward({{"image": b × c × h × w}}) takes more.'
            )
        image = images.load_image(img)
        resized, scales = self._preprocessor(conf)(image)
        features: dict[str, Tensor] = self.forward({"image": resized[None]})
        keypoints = features["keypoints"]
        features["image_size"] = keypoints.new_tensor([[image.shape[2], image.shape[1]]])
        features["keypoints"] = (keypoints + 0.5) / scales.to(keypoints) - 0.5
        return features

    def _preprocessor(self, conf: Mapping[str, Any]) -> ImagePreprocessor:
        return ImagePreprocessor(**{**self.preprocess_conf, **conf})


def read_image(path: str | os.PathLike[str], grayscale: bool = False) -> UInt8[np.ndarray, "h w *c"]:
    """The pixels of a file, upright as its EXIF tag says: h × w × 3 RGB, or h × w.

    Raises:
        ImageError: If there is no such file, or it cannot be read as an image.
    """
    image = images.read_image(path)
    channels = images.to_gray(image)[0] if grayscale else images.to_rgb(image).permute(1, 2, 0)
    pixels: np.ndarray = (channels * 255).round().to(torch.uint8).contiguous().numpy()
    return pixels


def numpy_image_to_torch(image: Shaped[np.ndarray, "..."]) -> Float32[Tensor, "c h w"]:
    """The image over 255 with the channels first.

    Args:
        image: h × w × c or h × w, values from 0 to 255.

    Raises:
        ShapeError: If it has not two or three axes.
    """
    if image.ndim not in (2, 3):
        raise ShapeError(f"The array has shape {image.shape}; an image is h × w × c or h × w.")
    if image.dtype.kind == "f" and 0 < image.max(initial=0) <= 1:
        warnings.warn(
            f"The image is {image.dtype} with values up to {image.max():.3g}, and is divided by 255: it will be black. "
            "If white is 1, use torch.from_numpy(image).permute(2, 0, 1).float() instead.",
            PhotoGlueWarning,
            stacklevel=2,
        )
    first = image.transpose(2, 0, 1) if image.ndim == 3 else image[None]
    return torch.from_numpy(np.ascontiguousarray(first / 255.0)).float()


def resize_image(
    image: Shaped[np.ndarray, "h w *c"], size: int | Sequence[int], fn: str = "max", interp: str | None = "area"
) -> tuple[Shaped[np.ndarray, "h2 w2 *c"], tuple[float, float]]:
    """The resized image, and its scale (x, y): new size over old.

    Args:
        image: h × w × c or h × w.
        size: (height, width), or the length of one side, in pixels.
        fn: Which side that is: "max", the longer, or "min", the shorter.
        interp: "area", "linear", "cubic" or "nearest", by OpenCV.

    Raises:
        ConfigError: If an argument is none of these.
        MissingExtra: If no OpenCV is installed.
    """
    cv2 = require("cv2", extra="sift")
    modes = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}
    sides: dict[str, Callable[[int, int], int]] = {"max": max, "min": min}
    for name, value, allowed in (("interp", interp, modes), ("fn", fn, sides)):
        if value not in allowed:
            raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}.")
    height, width = image.shape[:2]
    if isinstance(size, Sequence):
        if len(size) != 2:
            raise ConfigError(f"size is {size!r}; it must be (height, width), or the length of one side.")
        new = _length(size[0]), _length(size[1])
    else:
        factor = _length(size) / sides[fn](height, width)
        new = max(1, round(height * factor)), max(1, round(width * factor))
    resized = cv2.resize(image, (new[1], new[0]), interpolation=modes[str(interp)])
    return resized, (new[1] / width, new[0] / height)


def load_image(
    path: str | os.PathLike[str],
    resize: int | Sequence[int] | None = None,
    fn: str = "max",
    interp: str | None = "area",
    grayscale: bool = False,
) -> Float32[Tensor, "c h w"]:
    """An image file as a tensor in [0, 1]: RGB, or one channel if ``grayscale``.

    Args:
        path: The file.
        resize: (height, width), or the length of one side, in pixels; None: the size that it has.
        fn: Which side an int means: "max", the longer, or "min", the shorter.
        interp: See ``resize_image``.
        grayscale: Read it as one channel.

    Raises:
        ImageError: If there is no such file, or it cannot be read as an image.
        ConfigError: If an argument does not fit.
        MissingExtra: If it is to be resized, and no OpenCV is installed.
    """
    pixels = read_image(path, grayscale)
    return numpy_image_to_torch(pixels if resize is None else resize_image(pixels, resize, fn, interp)[0])


def map_tensor(input_: Any, func: Callable[[Tensor], Any]) -> Any:
    """A copy of a nest of dicts and lists, with ``func`` applied to each tensor in it."""
    if isinstance(input_, Tensor):
        return func(input_)
    if isinstance(input_, Mapping):
        return {name: map_tensor(value, func) for name, value in input_.items()}
    if isinstance(input_, Sequence) and not isinstance(input_, str | bytes):
        return [map_tensor(value, func) for value in input_]
    return input_


def batch_to_device(batch: Any, device: torch.device | str = "cpu", non_blocking: bool = True) -> Any:
    """A copy of a nest of dicts and lists, with its tensors on ``device``, detached.

    ``non_blocking`` acts on copies to a GPU only: to the main memory, a result could be read before it has arrived.
    """
    waits = torch.device(device).type == "cpu"
    return map_tensor(batch, lambda x: x.to(device=device, non_blocking=non_blocking and not waits).detach())


def rbd(data: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the batch dimension: the first of each tensor, array or list; other values as they are."""
    return {name: value[0] if isinstance(value, Tensor | np.ndarray | list) else value for name, value in data.items()}


def match_pair(
    extractor: Extractor,
    matcher: nn.Module,
    image0: Float[Tensor, "*c h w"],
    image1: Float[Tensor, "*c2 h2 w2"],
    device: torch.device | str = "cpu",
    **preprocess: Any,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(features of image 0, features of image 1, matches), without batch axis, on ``device``.

    Args:
        extractor: Its ``extract`` is called for each image.
        matcher: Called with the dict of both.
        image0: RGB or gray in [0, 1].
        image1: RGB or gray in [0, 1].
        device: Where the results are to be.
        **preprocess: Options for ``extract``, such as ``resize=None``.
    """
    features0, features1 = extractor.extract(image0, **preprocess), extractor.extract(image1, **preprocess)
    matches = matcher({"image0": features0, "image1": features1})
    features0, features1, matches = (batch_to_device(rbd(data), device) for data in (features0, features1, matches))
    return features0, features1, matches


def _length(value: Any) -> int:
    if not hasattr(value, "__index__") or int(value) < 1:
        raise ConfigError(f"resize is {value!r}; it must be a length in pixels, or (height, width), or None.")
    return int(value)


def _blurred(planes: Float[Tensor, "n 1 h w"], axis: int, sigma: float) -> Float[Tensor, "n 1 h w"]:
    """A Gaussian along one axis, as long as kornia makes it: 4 sigma, odd, at least 3; mirrored at the edges."""
    if planes.shape[axis] == 1:
        return planes
    reach = int(max(4 * sigma, 3)) // 2
    steps = torch.arange(-reach, reach + 1, device=planes.device, dtype=planes.dtype)
    weights = torch.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    padding = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
    padded = functional.pad(planes, padding, mode="reflect")
    blurred = torch.zeros_like(planes)
    for i, weight in enumerate(weights.tolist()):  # a convolution of single planes is ten times slower on CPUs
        blurred.add_(padded.narrow(axis, i, planes.shape[axis]), alpha=weight)
    return blurred
