"""How photos become a model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from photoglue.sfm.cameras import CameraOptions
from photoglue.sfm.pairs import PairOptions
from photoglue.sfm.summary import Delivery
from photoglue.sfm.verify import VerifyOptions
from photoglue.solvers.colmap_mapping import MapperOptions


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """How photos become a model."""

    features: str = "aliked"
    """Name of the local features, or a class of your own as path/file.py:Class."""
    max_keypoints: int | None = 4096
    """At most so many points in each photo, the best; None: all."""
    resize: int | None = 1024
    """Length of the longer side that the extractor sees, pixels; None: the photo as it is."""
    ignore_alpha: bool = False
    """Keypoints also where a photo's own alpha channel is fully transparent."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially."""
    masks: Path | None = None
    """A folder with masks of the photos, as ``batch.extract`` takes it."""
    rotation: Literal["auto", "off"] = "auto"
    """"auto": photos that nothing connects with the others are looked at in four turns, and extracted again turned if
    one of them fits (``sfm/turns.py``). "off": photos are taken as they are."""
    matcher: str = "lightglue"
    """"lightglue", "nearest" (mutual nearest neighbours), or a file that ``photoglue export matcher`` wrote."""
    preset: Literal["default", "fast", "best", "realtime"] = "default"
    """"default": LightGlue on all pairs. "fast": nearest neighbours where they are plainly enough, and LightGlue on the
    others. "best": as default, and keypoints are refined to fractions of a pixel. "realtime": LightGlue with earlier
    exits, as keyframes of a video were matched."""
    pairs: Path | None = None
    """A text file with the pairs to match, two names in each line; None: those that ``by`` finds."""
    by: tuple[str, ...] = ("auto",)
    """Rules that find the pairs, as ``find_pairs`` has them."""
    descriptors: Path | None = None
    """The HDF5 file of another program with vectors of the photos, for the rule retrieval; None: they are made here."""
    pair_options: PairOptions = field(default_factory=PairOptions)
    """How many pairs the rules find."""
    cameras: CameraOptions = field(default_factory=CameraOptions)
    """What is known of the cameras."""
    verify: VerifyOptions = field(default_factory=VerifyOptions)
    """Which matches geometry accepts."""
    check_loops: bool = False
    """Drop verified pairs that the rotations of many others contradict: look-alikes, as ``contradicted_pairs`` finds
    them."""
    mapper: MapperOptions | None = field(default_factory=MapperOptions)
    """How photos are placed; None: stop at the database."""
    extend: bool = False
    """Add photos to the model that is there, instead of beginning a new one."""
    jobs: int = 0
    """Processes that extract, match and verify, on CPUs; 0: this one, with all its threads."""
    device: str | None = None
    """Device to compute on, such as "cpu" or "cuda:0"; None: a GPU if there is one, and no ``jobs``."""
    deliver: tuple[Delivery, ...] = ("report",)
    """What is made of the largest model: "report": report.html; "undistort": undistorted/images and
    undistorted/sparse/0, for 3DGS and gsplat; "nerfstudio": nerfstudio/transforms.json; "ply": points.ply; "text":
    text/*.txt."""
