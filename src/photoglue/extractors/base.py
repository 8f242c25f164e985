"""What every extractor shares: reading, resizing, batching, masks, and undoing the scale in one place."""

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, TypeVar, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from photoglue.decode import Photo
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning, ShapeError
from photoglue.geometry.frames import StoredFrame
from photoglue.image import ImageSource, Resize, load_mask, load_photo
from photoglue.precision import Precision, check_precision, choose_precision, require_float32, without_autocast
from photoglue.structs import Features
from photoglue.weights import WeightsRecord, digest_of_weights, load_state, load_strictly, resolve

Released = TypeVar("Released", bound="ReleasedExtractor")


@dataclass(frozen=True, kw_only=True)
class ExtractorConfig:
    """Options that every extractor has; each method's own config adds to them and sets its defaults."""

    max_keypoints: int | None = 2048
    """Most points of an image, those with the highest scores; None: all."""
    resize: int | None = 1024
    """Length of the longer side, in pixels, that the detector sees; None: the image as it is."""
    detection_threshold: float = 0.0
    """Score above which a point counts."""
    nms_radius: int = 0
    """Distance, in pixels of the resized image, within which only the best point stays; 0: no suppression."""
    ignore_alpha: bool = False
    """Keypoints also where the photo's own alpha channel is 0, that is fully transparent."""
    precision: Precision = "auto"
    """Number format of the network's larger products. Scores, positions and the length of descriptors always are in
    single precision, and so is all of SIFT and DoG-HardNet."""

    def __post_init__(self) -> None:
        for name in ("max_keypoints", "resize", "nms_radius"):
            value = getattr(self, name)
            if not hasattr(value, "__index__") and not (value is None and name != "nms_radius"):
                raise ConfigError(f"{name} is {value!r}; it must be a whole number.")
        if self.max_keypoints is not None and self.max_keypoints < 1:
            raise ConfigError(f"max_keypoints is {self.max_keypoints}; it must be at least 1, or None for all.")
        if self.resize is not None and self.resize < 1:
            raise ConfigError(f"resize is {self.resize}; it must be a length in pixels, or None to keep the size.")
        if self.nms_radius < 0:
            raise ConfigError(f"nms_radius is {self.nms_radius}; it must be 0 or more pixels.")
        check_precision(self.precision)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A photo as the detector sees it."""

    image: Float[Tensor, "c h w"]
    """Resized, on the extractor's device."""
    mask: Bool[Tensor, "h w"] | None
    """Where keypoints are wanted, at the same size; None: everywhere."""
    resize: Resize
    """From the photo as read to ``image``."""
    orientation: int = 1
    """The EXIF orientation that was applied to the photo."""


class Extractor(nn.Module, ABC):
    """Turns images into Features.

    A new method defines ``kind``, ``descriptor_dim`` and ``detect``; all else is final. A user's own extractor needs no
    registration: pass the object.
    """

    descriptor_dim: int
    """Length of a descriptor."""
    kind: str
    """Name of its features, such as "aliked-n16": matchers are trained for it."""

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def detect(self, images: Float[Tensor, "b c h w"], masks: Bool[Tensor, "b h w"] | None = None) -> list[Features]:
        """Features of a batch of images of one size, in pixels of these tensors.

        Args:
            images: RGB or gray (c = 3 or 1), in [0, 1], at the size that the detector sees.
            masks: True where keypoints are wanted. Applied before the best ``max_keypoints`` are chosen.
        """

    def describe_in(
        self,
        image: Float[Tensor, "c h w"],  # noqa: ARG002
        points: Float[Tensor, "n 2"],  # noqa: ARG002
    ) -> Float[Tensor, "n d"]:
        """Descriptors at given points (x, y) in pixels of this tensor, for ``describe``.

        Raises:
            ConfigError: If the method cannot describe points that it did not detect, as here.
        """
        raise ConfigError(
            f"{self.kind} cannot describe points that it did not detect. ALIKED, DISK and SuperPoint can."
        )

    @final
    def extract(self, image: ImageSource, mask: ImageSource | None = None) -> Features:
        """Features of one image, in pixels of the image as read.

        Args:
            image: A path, PIL image, numpy array (h × w × c) or tensor (c × h × w).
            mask: No keypoints where it is black (False). An array or tensor has the size of the image as read; a file
                or PIL image is in the stored pixels of its photo, and is turned as the photo's EXIF orientation says.

        Raises:
            ImageError: If the image or mask cannot be read, or their sizes differ.
        """
        return self.extract_many([image], None if mask is None else [mask])[0]

    @final
    @torch.no_grad()
    def extract_many(
        self,
        images: Sequence[ImageSource | Photo],
        masks: Sequence[ImageSource | None] | None = None,
        *,
        batch_size: int = 8,
    ) -> list[Features]:
        """Features of several images, in their order. Images of one size and kind of colour share a forward pass.

        They are read as they are needed: at most twice ``batch_size`` are held at a time. ``torch.autocast`` has no
        effect on what is inside.

        Args:
            images: Anything that ``extract`` takes, and what ``image.load_photo`` returned.
            masks: A mask for each image, or None for an image without one; no keypoints where a mask is black.
            batch_size: Most images in one pass.

        Raises:
            ConfigError: If ``batch_size`` is not positive, or the weights were converted to another floating type.
            ImageError: If an image or mask cannot be read, or their sizes differ.
            ShapeError: If there are not as many masks as images.
        """
        if isinstance(images, str | os.PathLike):
            raise ImageError(f"extract_many takes a list of images; for {str(images)!r} alone use extract.")
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1.")
        if masks is not None and len(masks) != len(images):
            raise ShapeError(f"There are {len(images)} images and {len(masks)} masks; give one mask for each, or None.")
        found: dict[int, Features] = {}
        waiting: dict[tuple[int, ...], list[tuple[int, Prepared]]] = {}

        def detect(shape: tuple[int, ...]) -> None:
            numbers, batch = zip(*waiting.pop(shape), strict=True)
            found.update(zip(numbers, self._detect(batch), strict=True))

        with without_autocast(self.device):
            for i, image in enumerate(images):
                prepared = self._prepare(image, masks[i] if masks else None)
                shape = tuple(prepared.image.shape)
                waiting.setdefault(shape, []).append((i, prepared))
                if len(waiting[shape]) == batch_size:
                    detect(shape)
                elif sum(map(len, waiting.values())) == 2 * batch_size:  # many sizes: photos are large
                    detect(next(iter(waiting)))
            for shape in list(waiting):
                detect(shape)
        return [found[i] for i in range(len(images))]

    @final
    @torch.no_grad()
    def describe(self, image: ImageSource, points: Float[Tensor, "n 2"]) -> Features:
        """Features at points of your own.

        Args:
            image: Anything that ``extract`` takes.
            points: (x, y) in pixels of the image as read. Points outside it are described at its border.

        Raises:
            ConfigError: If the method cannot do that (SIFT, DoG-HardNet: a point alone has no scale or orientation).
            ShapeError: If ``points`` is not n × 2, or not finite.
        """
        if not isinstance(points, Tensor):
            raise ShapeError(f"points are a {type(points).__name__}; they must be a torch.Tensor: torch.as_tensor(…).")
        if points.ndim != 2 or points.shape[1] != 2:
            raise ShapeError(f"points have shape {tuple(points.shape)}; they must be n × 2, (x, y) in pixels.")
        if not points.isfinite().all():
            raise ShapeError("Some points are NaN or infinite; drop them: points[points.isfinite().all(dim=1)].")
        prepared = self._prepare(image, None)
        tensor, resize = prepared.image, prepared.resize
        points = points.to(self.device, torch.float32)
        width, height = resize.original_size
        outside = ((points < -0.5) | (points > points.new_tensor([width - 0.5, height - 0.5]))).any(dim=-1)
        if outside.any():
            warnings.warn(
                f"{int(outside.sum())} of {len(points)} points lie outside the image of {width} × {height} pixels.",
                PhotoGlueWarning,
                stacklevel=2,
            )
        limits = points.new_tensor([resize.resized_size[0] - 1, resize.resized_size[1] - 1])
        inside = torch.minimum(resize.redo(points).clamp(min=0), limits)
        with without_autocast(self.device):
            descriptors = self.describe_in(tensor, inside) if len(points) else points.new_zeros(0, self.descriptor_dim)
        return Features(
            keypoints=points,
            descriptors=descriptors,
            scores=points.new_ones(len(points)),
            image_size=resize.original_size,
            kind=self.kind,
            exif_orientation=prepared.orientation,
        )

    @property
    def device(self) -> torch.device:
        """Device that holds the weights; the CPU for methods without weights."""
        parameter = next(self.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def compute_dtype(self, device: torch.device) -> torch.dtype:
        """Number format of the network's larger products on a device.

        Raises:
            ConfigError: If the weights themselves were converted to another floating type.
        """
        require_float32(self)
        return choose_precision(self.config.precision, device, "extraction")

    def _prepare(self, source: ImageSource | Photo, mask: ImageSource | None) -> Prepared:
        photo = load_photo(source)
        image = photo.image.to(self.device)
        resize = Resize.long_side((image.shape[2], image.shape[1]), self.config.resize)
        frame = StoredFrame(orientation=photo.orientation, upright_size=resize.original_size)
        wanted = None if mask is None else upright_mask(mask, photo.path, frame)
        if photo.opaque is not None and not self.config.ignore_alpha:
            wanted = photo.opaque if wanted is None else wanted & photo.opaque
        small = None if wanted is None else resize.apply_mask(wanted.to(self.device))
        return Prepared(image=resize.apply(image), mask=small, resize=resize, orientation=photo.orientation)

    def _detect(self, prepared: Sequence[Prepared]) -> list[Features]:
        images = torch.stack([each.image for each in prepared])
        masks = None
        if any(each.mask is not None for each in prepared):
            everywhere = torch.ones(images.shape[2:], dtype=torch.bool, device=images.device)
            masks = torch.stack([everywhere if each.mask is None else each.mask for each in prepared])
        return [
            replace(
                features,
                keypoints=each.resize.undo(features.keypoints),
                scales=None if features.scales is None else features.scales / each.resize.mean_scale,
                image_size=each.resize.original_size,
                exif_orientation=each.orientation,
            )
            for features, each in zip(self.detect(images, masks), prepared, strict=True)
        ]


class ReleasedExtractor(Extractor):
    """An extractor of this package, whose weights, if it has any, are released."""

    records: ClassVar[Mapping[str, WeightsRecord]]
    """Records of the released weights, by kind; none for a method without weights."""

    @classmethod
    def pretrained(
        cls: type[Released],
        config: ExtractorConfig | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        allow_noncommercial: bool = False,
    ) -> Released:
        """The extractor with the released weights of its kind, in evaluation mode, frozen.

        Args:
            config: Options of this extractor; None: the defaults.
            path: File of the weights, if it is not to be searched for or downloaded.
            allow_noncommercial: Accept weights that may not be used commercially, or whose terms are not verified.

        Raises:
            LicenceError: If the weights have to be accepted and were not.
            WeightsError: If the weights cannot be had, are corrupt, or do not fit.
            ConfigError: If a file is given to a method that has no weights.
        """
        extractor = cls(config)  # type: ignore[arg-type]
        if cls.records:
            file = resolve(cls.records[extractor.kind], path, allow_noncommercial=allow_noncommercial)
            extractor.load_weights(load_state(file), repr(str(file)))
        elif path is not None:
            raise ConfigError(f"{cls.__name__} has no weights, but path is {str(path)!r}; leave it out.")
        return extractor.eval().requires_grad_(False)

    def load_weights(self, state: Mapping[str, object], origin: str) -> None:
        """Load what is in a file of weights.

        Args:
            state: Contents of the file.
            origin: Name of the file, for error messages.

        Raises:
            WeightsError: If a tensor is missing, left over or misshapen.
        """
        load_strictly(self, state, origin)  # type: ignore[arg-type]


def upright_mask(mask: ImageSource, photo: str | None, frame: StoredFrame) -> Bool[Tensor, "h w"]:
    """Where keypoints are wanted, in the pixels of the photo as read.

    A mask in a file or a PIL image is in the stored pixels of its photo, as COLMAP and hloc have it, and is turned with
    the photo; an array or tensor is in the pixels of the photo as read.
    """
    white = load_mask(mask)
    in_file = not isinstance(mask, np.ndarray | Tensor)
    size = frame.size if in_file else frame.upright_size
    if (white.shape[1], white.shape[0]) != size:
        turned = f"; its EXIF orientation {frame.orientation} turns the photo" if frame.orientation != 1 else ""
        stored = "stored pixels, " if in_file and turned else ""
        raise ImageError(
            f"The mask{_named(mask)} has {white.shape[1]} × {white.shape[0]} pixels, its photo{_named(photo)} "
            f"{size[0]} × {size[1]}{turned}. A mask has the size of its photo ({stored}width × height)."
        )
    return frame.image_to_upright(white) if in_file else white


def _named(source: ImageSource | None) -> str:
    return f" {os.fspath(source)!r}" if isinstance(source, str | os.PathLike) else ""


def extractor_options(extractor: Extractor) -> dict[str, Any]:
    """Everything that an extractor's features depend on, to be kept with them: kind, options, a hash of its weights."""
    return {
        "kind": extractor.kind,
        **asdict(extractor.config),
        "weights": digest_of_weights(extractor.state_dict()),
    }
