"""What a server is started with, and what its page may choose."""

import importlib.util
from dataclasses import dataclass
from typing import Any

from photoglue.errors import ConfigError
from photoglue.extractors import EXTRACTORS
from photoglue.precision import Precision
from photoglue.presets import EXTRACTION, PRESETS

NONCOMMERCIAL = ("superpoint", "doghardnet")
"""Features whose licence must be accepted first."""
SYNONYMS = ("aliked-n16",)
"""Features that are another name of others."""
REMEDIES, WHEN = ("rotation", "zoom", "tiles"), ("auto", "off", "always")
"""What is done where one pass is not enough, and when."""
MAX_KEYPOINTS = (256, 512, 1024, 2048, 4096, 8192)
RESIZE = (320, 480, 640, 1024, 1600, 2048, 3072)
VERIFY = ("fundamental", "homography")
REFINE = ("subpixel",)


@dataclass(frozen=True, kw_only=True)
class WebOptions:
    """What holds for all that a server does."""

    max_upload_mb: int = 64
    """Largest file of a photo that is taken, megabytes."""
    device: str | None = None
    """Where to compute, such as "cuda:0"; None: on a GPU if there is one."""
    precision: Precision = "auto"
    """What to compute in; see ``Precision``."""
    allow_noncommercial: bool = False
    """Offer features whose weights may not be used commercially (SuperPoint, DoG-HardNet)."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_upload_mb <= 1000:
            raise ConfigError(f"max_upload_mb is {self.max_upload_mb}; it must be 1 to 1000 megabytes.")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the page offers."""
        left_out = SYNONYMS + (() if self.allow_noncommercial else NONCOMMERCIAL)
        return tuple(name for name in EXTRACTORS if name not in left_out)

    def choices(self) -> dict[str, Any]:
        """What the page may choose from: values of each field of ``MatchRequest``, and what they are at first."""
        verify = VERIFY if importlib.util.find_spec("poselib") is not None else ()
        return {
            "features": self.features,
            "max_keypoints": MAX_KEYPOINTS,
            "resize": RESIZE,
            "preset": tuple(PRESETS),
            "verify": verify,
            "refine": REFINE,
            **dict.fromkeys(REMEDIES, WHEN),
            "implied": {name: dict(options) for name, options in EXTRACTION.items()},
        }


@dataclass(frozen=True, kw_only=True)
class MatchRequest:
    """Two photos to match, and how."""

    photo0: str
    """Key of the first photo."""
    photo1: str
    """Key of the second photo."""
    mask0: str | None = None
    """Key of a mask of the first photo: no points where it is black."""
    mask1: str | None = None
    """Key of a mask of the second photo."""
    features: str = "aliked"
    max_keypoints: int = 2048
    resize: int = 1024
    preset: str = "default"
    verify: str | None = None
    refine: str | None = None
    rotation: str = "auto"
    zoom: str = "auto"
    tiles: str = "auto"

    def check(self, options: WebOptions) -> None:
        """Refuse what the page does not offer.

        Raises:
            ConfigError: If a value is none of the choices.
        """
        choices = options.choices()
        for name in ("features", "max_keypoints", "resize", "preset", *REMEDIES):
            if (value := getattr(self, name)) not in choices[name]:
                raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(str, choices[name]))}.")
        for name, offered in (("verify", VERIFY), ("refine", REFINE)):
            if (value := getattr(self, name)) is not None and value not in choices[name]:
                raise ConfigError(f"{name} is {value!r}; it must be null or one of {', '.join(offered)}.")


@dataclass(frozen=True, kw_only=True)
class PlaceRequest:
    """A photo to place in the map."""

    photo: str
    """Its key."""
