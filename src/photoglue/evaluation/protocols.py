"""The field's protocols by name: one table, a row for each protocol and kind of benchmark, each with its source.

Published thresholds are often tuned on the test set, for each method; here a protocol has one, and its source says so.
"""

import importlib.metadata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch

from photoglue.errors import ConfigError
from photoglue.evaluation.benchmarks.estimators import estimator_named
from photoglue.evaluation.results import ProtocolCard, ResizeSide
from photoglue.version import __version__

HPATCHES_TOO_LARGE = frozenset(
    {
        "i_contruction",  # spelt so in HPatches
        "i_crownnight",
        "i_dc",
        "i_pencils",
        "i_whitebuilding",
        "v_artisans",
        "v_astronautis",
        "v_talent",
    }
)
"""The eight of 116 sequences that D2-Net, and everybody after it, left out for their size."""


NO_ESTIMATOR = "none"
"""The estimator of benchmarks that estimate no geometry."""
OPENCV_FLAVOURS = ("python-headless", "python", "contrib-python-headless", "contrib-python")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How one kind of benchmark is run."""

    name: str
    """Name of the protocol, as on the command line."""
    benchmark: str
    """A key of ``BENCHMARKS``."""
    resize: int | None = 1024
    """Side that images are resized to, pixels, up or down; None: as they are."""
    resize_side: ResizeSide = "long"
    """Which side that is."""
    max_keypoints: int | None = 2048
    """Largest number of points an image; None: all are kept."""
    nms_radius: int | None = None
    """Radius of SuperPoint's suppression, pixels; None: its default. That of other extractors is part of them."""
    detection_threshold: float | None = None
    """Detection threshold of SuperPoint; None: its default."""
    estimator: str = "poselib"
    """The estimator unless another one is asked for."""
    thresholds_px: Mapping[str, float]
    """Inlier threshold of each estimator, pixels."""
    resized_frame: bool = False
    """Whether pixels mean those of the resized images."""
    dropped_scenes: frozenset[str] = frozenset()
    """Scenes that are left out."""
    source: str
    """Where this is from."""

    def card(
        self, image_set: str, *, estimator: str | None = None, threshold_px: float | None = None, seeds: int = 1
    ) -> ProtocolCard:
        """The card of a run.

        Args:
            image_set: Which pairs are measured.
            estimator: Instead of the protocol's.
            threshold_px: Instead of the protocol's.
            seeds: Over how many seeds of the estimator.

        Raises:
            ConfigError: If there is no such estimator, or a number makes no sense.
        """
        chosen = estimator or self.estimator
        if chosen != NO_ESTIMATOR:
            estimator_named(chosen)
        threshold = self.thresholds_px.get(chosen, 0.0) if threshold_px is None else float(threshold_px)
        if chosen != NO_ESTIMATOR and not 0 < threshold < float("inf"):
            raise ConfigError(f"threshold_px is {threshold}; it must be a positive number of pixels.")
        if seeds < 1:
            raise ConfigError(f"seeds is {seeds}; it must be at least 1.")
        return ProtocolCard(
            protocol=self.name,
            resize=self.resize,
            resize_side=self.resize_side,
            max_keypoints=self.max_keypoints,
            nms_radius=self.nms_radius,
            detection_threshold=self.detection_threshold,
            estimator=chosen,
            threshold_px=threshold,
            resized_frame=self.resized_frame,
            seeds=seeds,
            image_set=image_set,
            versions=versions(),
        )


_PAPER_POSE = (
    "LightGlue, Sec. 5.2 and glue-factory's README: 2.0 px for PoseLib, 0.5 px for OpenCV, tuned on the test set"
)
_PAPER_HOMOGRAPHY = "LightGlue, Sec. 5.1; 0.5 px is in glue-factory's configs, published numbers are tuned per method"
_POSE_PX = MappingProxyType({"poselib": 2.0, "opencv": 0.5, "magsac": 0.5})
_HOMOGRAPHY_PX = MappingProxyType({"poselib": 0.5, "opencv": 0.5, "magsac": 0.5})


def _same(threshold_px: float) -> Mapping[str, float]:
    return MappingProxyType(dict.fromkeys(("poselib", "opencv", "magsac"), threshold_px))


_PAPER = (
    Protocol(
        name="lightglue-paper",
        benchmark="relative_pose",
        resize=1600,
        thresholds_px=_POSE_PX,
        resized_frame=True,
        source=_PAPER_POSE,
    ),
    Protocol(
        name="lightglue-paper",
        benchmark="homography",
        resize=480,
        resize_side="short",
        max_keypoints=1024,
        thresholds_px=_HOMOGRAPHY_PX,
        resized_frame=True,
        dropped_scenes=HPATCHES_TOO_LARGE,
        source=_PAPER_HOMOGRAPHY,
    ),
)
PROTOCOLS: tuple[Protocol, ...] = (
    *(
        Protocol(name="photoglue", benchmark=benchmark, thresholds_px=_same(threshold_px), source="our default")
        for benchmark, threshold_px in (
            ("relative_pose", 1.0), ("homography", 3.0), ("correspondences", 1.0), ("overlap", 1.0),
            ("look_alikes", 3.0),
        )
    ),
    Protocol(
        name="photoglue",
        benchmark="retrieval",
        resize=640,
        max_keypoints=1024,
        estimator=NO_ESTIMATOR,
        thresholds_px=MappingProxyType({}),
        source="our default: enough for one vector a photo",
    ),
    *_PAPER,
    *(
        replace(row, name="glue-factory", nms_radius=3, detection_threshold=0.0, source=source)
        for row, source in zip(
            _PAPER, ("glue-factory, megadepth1500 configs and README", "glue-factory, hpatches configs"), strict=True
        )
    ),
    Protocol(
        name="loftr",
        benchmark="relative_pose",
        resize=840,
        estimator="opencv",
        thresholds_px=_same(0.5),
        source="LoFTR, MegaDepth-1500: long side 840, RANSAC of OpenCV with 0.5 px of the images as they are",
    ),
    Protocol(
        name="superglue",
        benchmark="relative_pose",
        resize=640,
        max_keypoints=1024,
        nms_radius=4,
        detection_threshold=0.005,
        estimator="opencv",
        thresholds_px=_same(1.0),
        resized_frame=True,
        source="SuperGlue, ScanNet-1500: defaults of match_pairs.py (which makes any image 640 × 480, wider or not)",
    ),
)  # fmt: skip
"""The first row of a name and benchmark counts."""


def protocol_named(name: str, benchmark: str) -> Protocol:
    """The protocol of that name for a kind of benchmark.

    Raises:
        ConfigError: If there is none; the message lists those that there are.
    """
    for protocol in PROTOCOLS:
        if (protocol.name, protocol.benchmark) == (name, benchmark):
            return protocol
    names = dict.fromkeys(protocol.name for protocol in PROTOCOLS)
    if name not in names:
        raise ConfigError(f"There is no protocol {name!r}. There are: {', '.join(names)}.")
    fitting = [protocol.name for protocol in PROTOCOLS if protocol.benchmark == benchmark]
    raise ConfigError(f"The protocol {name!r} says nothing of {benchmark}; choose one of {', '.join(fitting)}.")


def versions() -> dict[str, str]:
    """Versions of all packages that a number depends on."""
    found = {"photoglue": __version__, "torch": str(torch.__version__)}
    opencv = [f"opencv-{flavour}" for flavour in OPENCV_FLAVOURS]
    for package, distributions in (("poselib", ["poselib"]), ("opencv", opencv)):
        for distribution in distributions:
            with suppress(importlib.metadata.PackageNotFoundError):
                found[package] = importlib.metadata.version(distribution)
                break
    return found
