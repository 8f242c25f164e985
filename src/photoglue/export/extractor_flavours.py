"""The forms of an exported extractor: ours, and those that other programs load.

Reference: the checks in COLMAP's aliked.cc (4.x), and ALIKED and DISK in OpenCV's features module (5.0).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from photoglue.errors import ConfigError
from photoglue.export.points import last_place

Arrays = Mapping[str, np.ndarray]


class OpenCVALIKEDForm(nn.Module):
    """``cv2.ALIKED``: positions as 2x / w - 1, which it multiplies by the photo's own size; no axis for the batch."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain

    def forward(
        self, image: Float[Tensor, "1 3 h w"]
    ) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n d"], Float[Tensor, " n"]]:
        """Keypoints, descriptors and scores of the points that were found."""
        points, scores, descriptors = self.plain(image)
        size = torch.cat([last_place(image.shape[3]), last_place(image.shape[2])]) + 1
        rows = (scores[0] > 0).nonzero()[:, 0]
        return (2 * points[0] / size - 1)[rows], descriptors[0][rows], scores[0][rows]


class OpenCVDISKForm(nn.Module):
    """``cv2.DISK``: whole pixels; points whose score is 0 are dropped by OpenCV."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain

    def forward(
        self, image: Float[Tensor, "1 3 h w"]
    ) -> tuple[Int64[Tensor, "1 k 2"], Float[Tensor, "1 k"], Float[Tensor, "1 k d"]]:
        """Keypoints, scores and descriptors."""
        points, scores, descriptors = self.plain(image)
        return points.long(), scores, descriptors


class ColmapALIKEDForm(nn.Module):
    """COLMAP's ALIKED: positions as 2x / (w - 1) - 1; number of points and lowest score are inputs."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain

    def forward(
        self, image: Float[Tensor, "1 3 h w"], max_keypoints: Int64[Tensor, ""], min_score: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, "1 n 2"], Float[Tensor, "1 n d"], Float[Tensor, "1 n"]]:
        """Keypoints, descriptors and scores of the best points, up to what was exported.

        Args:
            image: RGB in [0, 1].
            max_keypoints: Most points that are wanted.
            min_score: Lowest score that is wanted.
        """
        points, scores, descriptors = self.plain(image)
        last = torch.cat([last_place(image.shape[3]), last_place(image.shape[2])]).clamp(min=1)
        wanted = (scores[0] > 0) & (scores[0] >= min_score) & (torch.arange(scores.shape[1]) < max_keypoints)
        rows = wanted.nonzero()[:, 0]
        return (2 * points / last - 1)[:, rows], descriptors[:, rows], scores[:, rows]


def _of_width(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return (points + 1) / 2 * np.array(size, np.float32)


def _of_last(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return (points + 1) / 2 * (np.array(size, np.float32) - 1)


@dataclass(frozen=True, kw_only=True)
class ExtractorFlavour:
    """What a consumer of an extractor wants."""

    form: Callable[[nn.Module], nn.Module]
    """From the plain network to the module to export."""
    outputs: tuple[str, ...] = ("keypoints", "descriptors", "scores")
    """Outputs, in their order."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """Inputs besides the image, with values that change nothing."""
    native: bool = True
    """Whether the consumer has DeformConv."""
    pixels: Callable[[np.ndarray, tuple[int, int]], np.ndarray] | None = None
    """From keypoints and (width, height) to pixels, as the consumer computes them; None: they are pixels."""

    def general(self, outputs: Arrays, size: tuple[int, int]) -> dict[str, np.ndarray]:
        """The outputs for an image of so many pixels (width, height) in the general form, without the batch's axis."""
        found = {name: array[0] if array.ndim == _RANKS[name] + 1 else array for name, array in outputs.items()}
        points = found["keypoints"].astype(np.float32)
        return found | {"keypoints": points if self.pixels is None else self.pixels(points, size)}

    def inputs(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The inputs for an image."""
        return {"image": image} | {name: tensor.numpy() for name, tensor in self.extra.items()}


_RANKS = {"keypoints": 2, "descriptors": 2, "scores": 1}
_ALL = {"max_keypoints": torch.tensor(3840), "min_score": torch.tensor(0.0)}
EXTRACTOR_FLAVOURS: Mapping[tuple[str, str], ExtractorFlavour] = MappingProxyType(
    {
        ("photoglue", ""): ExtractorFlavour(form=lambda plain: plain, outputs=("keypoints", "scores", "descriptors")),
        ("opencv", "aliked"): ExtractorFlavour(form=OpenCVALIKEDForm, native=False, pixels=_of_width),
        ("opencv", "disk"): ExtractorFlavour(form=OpenCVDISKForm, outputs=("keypoints", "scores", "descriptors")),
        ("colmap", "aliked"): ExtractorFlavour(form=ColmapALIKEDForm, extra=_ALL, pixels=_of_last),
    }
)
"""Forms of an exported extractor by name and first word of the kind of features; "" for any."""


def extractor_flavour(name: str, kind: str) -> ExtractorFlavour:
    """The form of this name for a kind of features.

    Raises:
        ConfigError: If there is none.
    """
    family = kind.partition("-")[0]
    for key in ((name, family), (name, "")):
        if key in EXTRACTOR_FLAVOURS:
            return EXTRACTOR_FLAVOURS[key]
    there = [key[0] for key in EXTRACTOR_FLAVOURS if key[1] in ("", family)]
    raise ConfigError(f"There is no flavour {name!r} of an extractor of {kind}. There are: {', '.join(there)}.")
