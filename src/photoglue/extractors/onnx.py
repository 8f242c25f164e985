"""An extractor that `photoglue export extractor` wrote, run by onnxruntime."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.errors import ConfigError
from photoglue.exported import OnnxFile
from photoglue.extractors.base import Extractor, ExtractorConfig
from photoglue.extractors.keypoints import best
from photoglue.files import from_json
from photoglue.image import to_gray, to_rgb
from photoglue.structs import Features
from photoglue.weights import sha256_of


@dataclass(frozen=True, kw_only=True)
class ExportedOptions:
    """What the graph of an exported extractor depends on, besides its weights."""

    count: int
    """Number of points that it gives."""
    channels: int
    """3 for RGB, 1 for gray images."""
    multiple: int
    """Sides of the image are multiples of it, in pixels."""
    descriptor_dim: int
    """Length of a descriptor."""
    resize: int | None
    """Longer side that photos are brought to, if nothing else is said."""
    detection_threshold: float
    """Score above which a point counts."""
    nms_radius: int
    """Reach of the suppression, pixels."""


class OnnxExtractor(Extractor):
    """ALIKED, DISK or SuperPoint from an exported file.

    PyTorch reads and resizes photos and holds the arrays; the network is onnxruntime's. With a mask, the best points of
    the whole photo are found first, and those outside the mask are dropped then.

    Args:
        file: The file, open.
        options: Fields of ``ExtractorConfig`` to change: ``max_keypoints``, up to what the file gives, ``resize`` and
            ``ignore_alpha``.

    Raises:
        ConfigError: If an option is fixed in the file and differs, or does not exist, or the file is made for another
            program.
    """

    def __init__(self, file: OnnxFile, **options: Any) -> None:
        file.require_role("extractor")
        if file.certificate.flavour != "photoglue":
            raise ConfigError(
                f"{str(file.path)!r} is made for {file.certificate.flavour}; export it again with --flavour photoglue."
            )
        fixed = from_json(ExportedOptions, file.certificate.options, origin=repr(str(file.path)))
        config = ExtractorConfig(
            max_keypoints=fixed.count,
            resize=fixed.resize,
            detection_threshold=fixed.detection_threshold,
            nms_radius=fixed.nms_radius,
        )
        try:
            super().__init__(replace(config, **options))
        except TypeError as error:
            raise ConfigError(f"An exported extractor has no such option: {error}.") from error
        for name in ("detection_threshold", "nms_radius"):
            if (asked := getattr(self.config, name)) != (came := getattr(fixed, name)):
                raise ConfigError(f"{name} is {came} in {str(file.path)!r}, not {asked}; export it anew to change it.")
        self.file, self.fixed = file, fixed
        self.kind, self.descriptor_dim = file.certificate.features, fixed.descriptor_dim
        # Features are kept with a digest of what made them, which is that of the state.
        self.register_buffer("sha256", torch.tensor(list(bytes.fromhex(sha256_of(file.path))), dtype=torch.uint8))

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        allow_noncommercial: bool = False,
        **options: Any,
    ) -> "OnnxExtractor":
        """The extractor in an exported file.

        Args:
            path: The file.
            providers: Providers of onnxruntime, such as "CUDAExecutionProvider"; None: the fastest that are there.
            threads: Threads on a CPU; None: as many as PyTorch takes.
            allow_noncommercial: Accept weights whose licence forbids commercial use.
            **options: ``max_keypoints``, ``resize`` and ``ignore_alpha``.

        Raises:
            WeightsError: If it is missing, cut off, no ONNX file, none of ours, or no extractor.
            LicenceError: If the weights are non-commercial and that was not accepted.
            ConfigError: If a provider is not there, or an option is fixed in the file.
            MissingExtra: If onnxruntime is not installed.
        """
        threads = torch.get_num_threads() if threads is None else threads
        file = OnnxFile(path, providers=providers, threads=threads, allow_noncommercial=allow_noncommercial)
        return cls(file, **options).eval()

    def __reduce__(self) -> tuple[Any, ...]:
        config = self.config
        options = {"max_keypoints": config.max_keypoints, "resize": config.resize, "ignore_alpha": config.ignore_alpha}
        return _again, (self.file.path, self.file.providers, options)

    def detect(self, images: Float[Tensor, "b c h w"], masks: Bool[Tensor, "b h w"] | None = None) -> list[Features]:
        """Features of a batch of images of one size, in pixels of these tensors.

        Args:
            images: RGB or gray, in [0, 1].
            masks: True where keypoints are wanted.
        """
        return [self._detect_one(image, None if masks is None else masks[i]) for i, image in enumerate(images)]

    def _detect_one(self, image: Float[Tensor, "c h w"], mask: Bool[Tensor, "h w"] | None) -> Features:
        height, width = image.shape[1:]
        seen = network_input(image, self.fixed.channels, self.fixed.multiple)
        empty = {"keypoints": np.zeros((1, 0, 2)), "scores": np.zeros((1, 0))}
        empty["descriptors"] = np.zeros((1, 0, self.descriptor_dim))
        found = self.file.run(image=seen[None].numpy()) if seen.numel() else empty
        points, scores, descriptors = (
            torch.from_numpy(found[name][0]).float() for name in ("keypoints", "scores", "descriptors")
        )
        wanted = scores > 0
        if mask is not None:
            x, y = points.round().long().unbind(dim=1)
            wanted &= mask[y.clamp(0, height - 1), x.clamp(0, width - 1)]
        kept = wanted.nonzero()[: self.config.max_keypoints, 0]
        kept = kept[best(scores[kept], None)]
        return Features(
            keypoints=points[kept],
            descriptors=descriptors[kept],
            scores=scores[kept],
            image_size=(width, height),
            kind=self.kind,
        )


def network_input(image: Float[Tensor, "c h w"], channels: int, multiple: int) -> Float[Tensor, "k h2 w2"]:
    """An image as an exported network wants it: gray or RGB, cut to multiples of a length at the right and bottom."""
    height, width = (side // multiple * multiple for side in image.shape[1:])
    seen: Tensor = (to_gray(image) if channels == 1 else to_rgb(image)).cpu()[:, :height, :width]
    return seen.contiguous()


def _again(path: Path, providers: tuple[str, ...], options: dict[str, Any]) -> OnnxExtractor:
    """For other processes, to which a user who has accepted a licence here sends it."""
    return OnnxExtractor.from_file(path, providers=providers, allow_noncommercial=True, **options)
