"""Presets: how hard PhotoGlue tries, by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from photoglue.errors import ConfigError
from photoglue.matchers.lightglue.config import LightGlueConfig

PRESETS: Mapping[str, LightGlueConfig] = MappingProxyType(
    {
        "best": LightGlueConfig.accurate(),
        "accurate": LightGlueConfig.accurate(),
        "sfm": LightGlueConfig.sfm(),
        "default": LightGlueConfig(),
        "slam": LightGlueConfig.slam(),
        "realtime": LightGlueConfig.realtime(),
        "edge": LightGlueConfig.edge(),
    }
)
"""Names of LightGlue's options for the command line, the most careful ones first."""
EXTRACTION: Mapping[str, Mapping[str, int | str]] = MappingProxyType(
    {
        "best": {"max_keypoints": 4096, "resize": 1600, "refine": "subpixel", "also": "disk,crop"},
        "edge": {"max_keypoints": 512, "resize": 640},
    }
)
"""What presets say of extraction and refinement, where it is not the default."""


def extraction_of(name: str, features: str = "aliked") -> dict[str, int | str]:
    """What a preset says of extraction and refinement. SIFT, which needs no weights of others, has none beside it."""
    options = EXTRACTION.get(name, {})
    return {option: value for option, value in options.items() if option != "also" or features != "sift"}


def preset(name: str, features: str = "aliked") -> dict[str, Any]:
    """The options of a preset, for ``Pipeline.pretrained`` and ``match_images``.

    ``Pipeline.pretrained("aliked", **preset("edge"))`` is small and fast; ``preset("edge") | {"resize": 800}`` changes
    one of its options.

    Args:
        name: "best": all layers and up to 4096 points of photos of 1600 pixels, refined to fractions of a pixel,
            and beside them DISK's matches and those of crops (not beside SIFT's, which need no other weights);
            "accurate" or "sfm": all layers and points; "default" or "slam": the official exits and pruning;
            "realtime": earlier ones; "edge": earlier ones in 5 layers, with 512 points of photos of 640 pixels.
        features: The features that the options are for.

    Raises:
        ConfigError: If there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"preset is {name!r}; it must be one of {', '.join(PRESETS)}.")
    return {"config": PRESETS[name], **extraction_of(name, features)}
