"""LightGlue's options."""

from dataclasses import dataclass
from typing import Any

from photoglue.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LightGlueConfig:
    """Shape of the network, and how hard it tries. The defaults are the official ones.

    Reference: LightGlue (arXiv 2306.13643), Sec. 3.3 for the two confidences.
    """

    input_dim: int = 256
    """Length of the descriptors; if it is not ``descriptor_dim``, a linear projection comes first."""
    descriptor_dim: int = 256
    """Width of the network."""
    n_layers: int = 9
    """Layers of self- and cross-attention."""
    num_heads: int = 4
    """Attention heads; they share ``descriptor_dim``."""
    add_scale_ori: bool = False
    """Whether scale and orientation of each point enter the positional encoding (SIFT, DoG-HardNet)."""
    depth_confidence: float | None = 0.95
    """A pair exits after a layer at which more than this share of its points is confident. Lower is faster; None:
    every pair runs all layers."""
    width_confidence: float | None = 0.99
    """A confident point is dropped when its matchability is at most 1 minus this. Lower drops more and is faster;
    None: no point is dropped."""
    pruning_min_keypoints: int | None = None
    """An image is pruned only while it has more points than this; None: as measured for the device."""
    filter_threshold: float = 0.1
    """Matches with a score above it are kept, in [0, 1]."""
    kinds: tuple[str, ...] | None = None
    """Features that the weights were trained for; None: any of the right width."""

    def __post_init__(self) -> None:
        for name in ("input_dim", "descriptor_dim", "n_layers", "num_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.descriptor_dim % (2 * self.num_heads):
            raise ConfigError(
                f"descriptor_dim {self.descriptor_dim} cannot be shared by {self.num_heads} heads: "
                f"it must be a multiple of {2 * self.num_heads}, since rotary encoding turns pairs of channels."
            )
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
    def edge(cls, **changes: Any) -> "LightGlueConfig":
        """A small network, to be trained: 5 layers of width 128 with 2 heads. No released weights have this shape."""
        return cls(**{"descriptor_dim": 128, "n_layers": 5, "num_heads": 2, **changes})
