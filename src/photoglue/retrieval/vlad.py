"""One vector for a whole photo from its local descriptors: VLAD.

VLAD is of Jégou et al. (CVPR 2010), the normalisation of each centre of Arandjelović and Zisserman (CVPR 2013), that of
each residual of Delhumeau et al. (ACM MM 2013).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from photoglue.errors import ConfigError, ShapeError
from photoglue.weights import WeightsRecord, digest_of_weights, load_state, resolve

VOCABULARIES = WeightsRecord(
    name="vlad-photoglue",
    file="vlad-photoglue.safetensors",
    url="",
    sha256="e80752988ed1b1d7262030011f712703eac184495646c3328ec624533fab4628",
    size=202_032,
    licence="Apache-2.0",
    commercial=True,
    source="PhotoGlue; see pretrained/vlad-photoglue.md",
    package="photoglue/pretrained",
)
"""Our centres for three kinds of features, 64 KB each, and the mean of EfficientNet-lite0's vectors."""
VOCABULARY_OF_KIND: Mapping[str, str] = MappingProxyType(
    {
        "aliked-n16": "aliked",
        "aliked-n16rot": "aliked",
        "aliked-n32": "aliked",
        "disk": "disk",
        "sift-opencv": "sift",
    }
)
"""Kind of features → the tensor in that file. ALIKED's three share a space of descriptors."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """Centres of local descriptors of one kind: what VLAD vectors are made with."""

    kind: str | None
    """The kind of features that it is for; None: unknown, and only the length of descriptors is checked."""
    centres: Float[Tensor, "k d"]
    """Means of unit-length descriptors."""

    @classmethod
    def pretrained(cls, kind: str) -> "Vocabulary":
        """The vocabulary that comes with this package for a kind of features: ALIKED's, DISK's or OpenCV's SIFT.

        Raises:
            ConfigError: If there is none for that kind.
            WeightsError: If its file is missing or damaged.
        """
        if kind not in VOCABULARY_OF_KIND:
            raise ConfigError(
                f"There is no vocabulary for features {kind!r}; there are some for {', '.join(VOCABULARY_OF_KIND)}. "
                "Train one with Vocabulary.trained(descriptors, kind), or use other features."
            )
        centres = load_state(resolve(VOCABULARIES))[VOCABULARY_OF_KIND[kind]]
        assert isinstance(centres, Tensor)
        return cls(kind=kind, centres=centres.float())

    @classmethod
    def trained(
        cls,
        descriptors: Float[Tensor, "n d"],
        kind: str | None,
        *,
        size: int = 128,
        iterations: int = 25,
        seed: int = 0,
    ) -> "Vocabulary":
        """A vocabulary by k-means of descriptors of unit length.

        Args:
            descriptors: Local descriptors of many photos, such as 100,000 of them.
            kind: The kind of features that they are.
            size: How many centres; a photo's vector is so many times longer than a descriptor.
            iterations: Rounds of assigning and averaging.
            seed: Which descriptors are the first centres.

        Raises:
            ConfigError: If there are fewer descriptors than centres.
        """
        if len(descriptors) < size:
            raise ConfigError(f"{len(descriptors)} descriptors are too few for {size} centres.")
        points = normalize(descriptors.float(), dim=1)
        generator = torch.Generator().manual_seed(seed)
        centres = points[torch.randperm(len(points), generator=generator)[:size]]
        for _ in range(iterations):
            nearest = _nearest(points, centres)
            counts = nearest.bincount(minlength=size)
            centres = torch.zeros_like(centres).index_add_(0, nearest, points) / counts.clamp(min=1)[:, None]
            empty = counts == 0
            centres[empty] = points[torch.randint(len(points), (int(empty.sum()),), generator=generator)]
        return cls(kind=kind, centres=centres)

    @property
    def name(self) -> str:
        """Kind, size and a digest of the centres: vectors of two names must not be compared."""
        return f"vlad{len(self.centres)}/{self.kind}/{digest_of_weights({'centres': self.centres})[:8]}"

    @property
    def dim(self) -> int:
        """Length of a photo's vector."""
        return self.centres.numel()

    @torch.no_grad()
    def describe(self, descriptors: Float[Tensor, "n d"], kind: str | None = None) -> Float[Tensor, " f"]:
        """The VLAD vector of a photo, of unit length; all zeros without a point.

        Args:
            descriptors: The local descriptors of the photo, in any order.
            kind: Their kind, to be checked; None: it is not.

        Raises:
            ConfigError: If they are of another kind than the vocabulary.
            ShapeError: If they are of another length.
        """
        if None not in (kind, self.kind) and VOCABULARY_OF_KIND.get(kind or "", kind) != VOCABULARY_OF_KIND.get(
            self.kind or "", self.kind
        ):
            raise ConfigError(f"The vocabulary is for {self.kind!r}, and these features are {kind!r}: take its own.")
        if descriptors.shape[1] != self.centres.shape[1]:
            raise ShapeError(
                f"The descriptors have {descriptors.shape[1]} channels, and the vocabulary {self.centres.shape[1]}."
            )
        centres = self.centres.to(descriptors.device)
        points = normalize(descriptors.float(), dim=1)
        nearest = _nearest(points, centres)
        residuals = normalize(points - centres[nearest], dim=1)
        sums = normalize(torch.zeros_like(centres).index_add_(0, nearest, residuals), dim=1)
        return normalize((sums.sign() * sums.abs().sqrt()).flatten(), dim=0)


def _nearest(points: Float[Tensor, "n d"], centres: Float[Tensor, "k d"]) -> Int64[Tensor, " n"]:
    blocks = [
        (block @ centres.T - centres.square().sum(dim=1) / 2).argmax(dim=1) for block in torch.split(points, 65536)
    ]
    return torch.cat(blocks) if blocks else torch.zeros(0, dtype=torch.int64, device=points.device)
