"""LightGlue's two dataclasses: the shape of a network, which its weights fix, and the options of a match."""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from photoglue.errors import ConfigError
from photoglue.files import from_json, to_json


@dataclass(frozen=True, kw_only=True)
class LightGlueShape:
    """The shape of a network, and the features that it is for. The defaults are those of the official code."""

    input_dim: int = 256
    """Length of the descriptors; if it is not ``descriptor_dim``, a linear projection comes first."""
    descriptor_dim: int = 256
    """Width of the network: the length of a point's state."""
    n_layers: int = 9
    """Number of layers, each of one self- and one cross-attention."""
    num_heads: int = 4
    """Number of attention heads; they share ``descriptor_dim``."""
    add_scale_ori: bool = False
    """Whether scale and orientation of each point enter the positional encoding (SIFT, DoG-HardNet)."""
    kinds: tuple[str, ...] | None = None
    """Kinds of features that the weights were trained for; None: any of the right width."""

    def __post_init__(self) -> None:
        for name in ("input_dim", "descriptor_dim", "n_layers", "num_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.descriptor_dim % (2 * self.num_heads):
            raise ConfigError(
                f"descriptor_dim {self.descriptor_dim} cannot be shared by {self.num_heads} heads: "
                f"it must be a multiple of {2 * self.num_heads}, since rotary encoding turns pairs of channels."
            )

    @classmethod
    def edge(cls, **changes: Any) -> "LightGlueShape":
        """A small network: 5 layers of width 128 with 2 heads, the shape of our `aliked-t16-edge`."""
        return cls(**{"descriptor_dim": 128, "n_layers": 5, "num_heads": 2, **changes})

    def shortened(self, n_layers: int | None) -> "LightGlueShape":
        """The shape of a network of only the first so many layers; None: this shape.

        Raises:
            ConfigError: If the network has not so many.
        """
        if n_layers is None:
            return self
        if n_layers > self.n_layers:
            raise ConfigError(
                f"n_layers is {n_layers}; the network has {self.n_layers} layers. Ask for at most {self.n_layers}, or "
                "leave it out to use all."
            )
        return replace(self, n_layers=n_layers)


@dataclass(frozen=True, kw_only=True)
class LightGlueConfig:
    """How hard the network tries, and which matches are kept. The defaults are those of the official code.

    Reference: LightGlue (arXiv 2306.13643), Sec. 3.3 for the two confidences.
    """

    depth_confidence: float | None = 0.95
    """A pair exits after a layer at which more than this share of its points is confident. Lower is faster; None:
    every pair runs all layers."""
    width_confidence: float | None = 0.99
    """A confident point is dropped when its matchability is at most 1 minus this. Lower drops more and is faster;
    None: no point is dropped."""
    pruning_min_keypoints: int | None = None
    """An image is pruned only while it has more points than this; None: as measured for the device."""
    filter_threshold: float = 0.1
    """Matches with a score above it are kept, in [0, 1)."""
    n_layers: int | None = None
    """Use only the first so many layers; None: all. It counts when the network is made, and not after that."""

    def __post_init__(self) -> None:
        if self.n_layers is not None and self.n_layers < 1:
            raise ConfigError(f"n_layers is {self.n_layers}; it must be at least 1, or None for all layers.")
        for name in ("depth_confidence", "width_confidence"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ConfigError(f"{name} is {value}; it must be in (0, 1], or None to switch it off.")
        if not 0 <= self.filter_threshold < 1:
            raise ConfigError(f"filter_threshold is {self.filter_threshold}; it must be in [0, 1).")

    @classmethod
    def accurate(cls, **changes: Any) -> "LightGlueConfig":
        """Every pair runs all layers with all points."""
        return cls(**{"depth_confidence": None, "width_confidence": None, **changes})

    @classmethod
    def realtime(cls, **changes: Any) -> "LightGlueConfig":
        """Exits and prunes early, for a little accuracy: for video."""
        return cls(**{"depth_confidence": 0.9, "width_confidence": 0.95, **changes})

    @classmethod
    def slam(cls, **changes: Any) -> "LightGlueConfig":
        """For tracking and mapping as the camera moves: exits at 0.95 and prunes at 0.99, the official defaults."""
        return cls(**{"depth_confidence": 0.95, "width_confidence": 0.99, **changes})

    @classmethod
    def sfm(cls, **changes: Any) -> "LightGlueConfig":
        """For models of many photos, where each match counts: neither exit nor pruning, as ``accurate``."""
        return cls.accurate(**changes)

    @classmethod
    def edge(cls, **changes: Any) -> "LightGlueConfig":
        """For small processors: the first 5 layers of released weights with the fifth layer's own head, early exits.

        Nothing is known of how likely photos overlap from the scores of so short a network. For "aliked-t16" there is a
        whole network of 5 layers, whose scores are known.
        """
        return cls.realtime(**{"n_layers": 5, **changes})


def options_to_json(shape: LightGlueShape, config: LightGlueConfig) -> str:
    """Shape and options as one JSON object, which is stored with weights; its ``n_layers`` is the shape's."""
    return to_json({**asdict(config), **asdict(shape)})


def options_from_json(text: str, origin: str) -> tuple[LightGlueShape, LightGlueConfig]:
    """The shape and the options in what ``options_to_json`` wrote.

    Args:
        text: A JSON object with fields of both; what is left out has its default.
        origin: Name of the file, for the error message.

    Raises:
        ConfigError: If it is anything else, or has fields that are unknown.
    """
    try:
        options = dict(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{origin} holds no options of LightGlue, but {text[:60]!r}.") from error
    shape = {field.name: options.pop(field.name) for field in fields(LightGlueShape) if field.name in options}
    return from_json(LightGlueShape, shape, origin=origin), from_json(LightGlueConfig, options, origin=origin)
