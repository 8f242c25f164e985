"""What makes the vector of a photo: its local features, a small network, or both."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from photoglue.errors import ConfigError
from photoglue.retrieval.efficientnet import RECORD, EfficientNetLite0
from photoglue.retrieval.vlad import VOCABULARY_OF_KIND, Vocabulary
from photoglue.structs import Features

POINTS = 1024
"""The best points of a photo that VLAD looks at."""
NETWORK_WEIGHT = 0.7
"""Length of the network's vector beside VLAD's of length 1."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Describer:
    """Makes vectors of photos, which a ``PhotoIndex`` compares.

    Raises:
        ConfigError: If it has neither a vocabulary nor a network.
    """

    vocabulary: Vocabulary | None
    """VLAD's centres; None: local features are not looked at."""
    network: EfficientNetLite0 | None = None
    """The network whose vector is appended; None: photos are not looked at."""

    def __post_init__(self) -> None:
        if self.vocabulary is None and self.network is None:
            raise ConfigError("A describer needs a vocabulary, a network, or both.")

    @classmethod
    def pretrained(cls, kind: str, *, network: bool = False) -> "Describer":
        """VLAD with the vocabulary that comes with this package, and EfficientNet-lite0 if asked for.

        Args:
            kind: The kind of local features, such as "aliked-n16".
            network: Append the network's vector: a twentieth of a second a photo, and better.

        Raises:
            ConfigError: If there is no vocabulary for that kind.
            WeightsError: If weights are missing or damaged.
        """
        vocabulary = Vocabulary.pretrained(kind)
        return cls(vocabulary=vocabulary, network=EfficientNetLite0.pretrained() if network else None)

    @classmethod
    def of_name(cls, name: str) -> "Describer":
        """The describer that comes with this package under a ``name``, such as ``PhotoIndex.made_by``.

        Raises:
            ConfigError: If there is none, because its vocabulary is one of your own or of another version.
            WeightsError: If weights are missing or damaged.
        """
        kind = name.split("/")[1] if name.count("/") > 1 else ""
        found = cls.pretrained(kind, network=RECORD.name in name) if kind in VOCABULARY_OF_KIND else None
        if found is None or found.name != name:
            raise ConfigError(
                f"The index was made by {name!r}, and this version of PhotoGlue comes with "
                f"{'none for its features' if found is None else repr(found.name)}: make the index anew."
            )
        return found

    @property
    def kind(self) -> str:
        """The kind of features of its vocabulary; empty without one."""
        return "" if self.vocabulary is None else self.vocabulary.kind or ""

    @property
    def name(self) -> str:
        """What made the vectors: those of two names must not be compared."""
        parts = [part.name for part in (self.vocabulary, self.network) if part is not None]
        return f" + {NETWORK_WEIGHT} × ".join(parts)

    @torch.no_grad()
    def describe(self, features: Features | None, image: Float[Tensor, "c h w"] | None) -> Float[Tensor, " f"]:
        """The vector of a photo, of unit length; zeros if it has no points and nothing else is looked at.

        Args:
            features: Its local features; None only without a vocabulary.
            image: The photo, upright, in [0, 1]; None only without a network.

        Raises:
            ConfigError: If the features are of another kind than the vocabulary, or what is needed is None.
        """
        parts = []
        if self.vocabulary is not None:
            if features is None:
                raise ConfigError("This describer needs the local features of a photo.")
            best = features if len(features) <= POINTS else features[features.scores.topk(POINTS).indices]
            parts.append(self.vocabulary.describe(best.descriptors, features.kind).cpu())
        if self.network is not None:
            if image is None:
                raise ConfigError("This describer needs the photo itself.")
            parts.append(self.network.describe(image).cpu() * (NETWORK_WEIGHT if parts else 1.0))
        return normalize(torch.cat(parts), dim=0)
