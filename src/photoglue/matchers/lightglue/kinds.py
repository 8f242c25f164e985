"""Which released LightGlue belongs to which kind of features."""

from collections.abc import Mapping
from types import MappingProxyType

MODEL_OF_KIND: Mapping[str, str] = MappingProxyType(
    {
        "aliked-n16": "aliked",
        "aliked-n16rot": "aliked",
        "aliked-n32": "aliked",
        "aliked-t16": "aliked-t16-photoglue",
        "disk": "disk",
        "superpoint": "superpoint",
        "sift-opencv": "sift-photoglue",
        "sift-colmap": "sift-official",
        "doghardnet": "doghardnet",
    }
)
"""The model to take for each kind of features. The ALIKED model was trained on n16; n16rot and n32 share its
descriptor space closely enough that COLMAP ships them with it. aliked-t16 (64 channels) has our own, which changes
that model. OpenCV's SIFT has our own, which needs no download; the official one takes it too."""

SMALL: Mapping[str, tuple[int, str]] = MappingProxyType({"aliked-t16": (5, "aliked-t16-edge")})
"""Kind of features → layers and name of a small model, to take where no more layers than these are wanted."""

ALSO_FITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"sift-official": ("sift-opencv",), "aliked-t16-edge": ("aliked-t16",)}
)
"""Kinds that a model takes although another one is preferred."""
PREFERRED: Mapping[str, str] = MappingProxyType({"sift": "sift-photoglue"})
"""The model that a name of features means where there are several."""


def kinds_of(model: str) -> tuple[str, ...]:
    """The kinds of features that a released model is for."""
    return tuple(kind for kind, name in MODEL_OF_KIND.items() if name == model) + ALSO_FITS.get(model, ())


def model_of(features: str, n_layers: int | None = None) -> str:
    """The model for a kind of features, or for "sift"; any other name stands for the model itself.

    Args:
        features: The name.
        n_layers: So many layers are wanted; None: all that there are.
    """
    if n_layers is not None and features in SMALL and n_layers <= SMALL[features][0]:
        return SMALL[features][1]
    return MODEL_OF_KIND.get(features) or PREFERRED.get(features, features)
