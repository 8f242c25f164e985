"""What an evaluation leaves behind: records of pairs, the protocol card, the result, and their files.

A number without its protocol is worth nothing: the same matches move from 49.9 to 66.8 AUC@5° with the estimator alone.
So every result carries its card, and results with different cards do not share a table unless they are told to.
"""

import json
import math
import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, TypeAlias

from photoglue.errors import ConfigError, PhotoGlueWarning
from photoglue.files import from_json, to_json, write_whole

FORMAT = "photoglue.result"
VERSION = 1
"""Version of the JSON files."""

ResizeSide: TypeAlias = Literal["long", "short"]


@dataclass(frozen=True, kw_only=True)
class PairRecord:
    """What was measured on one pair of images with one method."""

    scene: str
    """The scene or sequence that the pair belongs to."""
    name0: str
    """Path of image 0 in the folder of images (``Result.images``)."""
    name1: str
    """Path of image 1 in that folder."""
    values: Mapping[str, float]
    """Measured values under the names of the benchmark, such as ``pose_error_deg`` (inf: no pose was found),
    ``num_matches``, ``num_inliers``, ``precision_3px`` (a share in [0, 1]; nan: nothing to measure it on)."""

    def error(self, name: str) -> float:
        """The error of that name; infinite where it was not measured or is nan: such a pair failed."""
        value = self.values.get(name, math.inf)
        return math.inf if math.isnan(value) else value


@dataclass(frozen=True, kw_only=True)
class ProtocolCard:
    """All that a number depends on besides the method and the images."""

    protocol: str
    """Name of the protocol that the rest comes from, but for what was overridden."""
    resize: int | None
    """Length in pixels of the side that images are shrunk to before extraction; None: as they are."""
    resize_side: ResizeSide = "long"
    """Which side ``resize`` means."""
    max_keypoints: int | None
    """Largest number of points an image; None: all are kept."""
    nms_radius: int | None = None
    """Non-maximum suppression of the detector, pixels; None: the detector's own."""
    detection_threshold: float | None = None
    """Least detection score; None: the detector's own."""
    estimator: str
    """Who estimates geometry from matches: ``poselib``, ``opencv``; ``none`` where no geometry is estimated."""
    threshold_px: float
    """Inlier threshold of the estimator, pixels of the image as read (of the resized one in ``resized_frame``)."""
    resized_frame: bool = False
    """Whether errors and thresholds in pixels are measured in the resized image; else in the image as read."""
    seed: int = 0
    """First seed of the estimator."""
    seeds: int = 1
    """Over how many seeds the values are averaged: ``seed``, ``seed + 1``, …"""
    image_set: str = "all"
    """Which images and pairs of the data set were used."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the packages that the numbers depend on: photoglue, torch, poselib, opencv."""

    @property
    def geometry(self) -> str:
        """Estimator and threshold, such as "poselib at 1 px"; "no geometry" where none is estimated."""
        return "no geometry" if self.estimator == "none" else f"{self.estimator} at {self.threshold_px:g} px"

    def differences(self, other: "ProtocolCard") -> tuple[str, ...]:
        """One short sentence for each field that differs; none if the cards are the same."""
        found = []
        for name in (item.name for item in fields(self)):
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Mapping):
                for key in sorted(mine.keys() | theirs.keys()):
                    if mine.get(key) != theirs.get(key):
                        found.append(f"{key} {mine.get(key, 'absent')} and {theirs.get(key, 'absent')}")
            elif mine != theirs:
                found.append(f"{name} {mine} and {theirs}")
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One method on one data set."""

    benchmark: str
    """Kind of benchmark: ``relative_pose``, ``homography``, ``correspondences``, ``overlap``, ``retrieval``."""
    dataset: str
    """Name of the data set."""
    method: str
    """Name of the method, such as ``aliked+lightglue``."""
    card: ProtocolCard
    """How it was measured."""
    values: Mapping[str, float]
    """Aggregated values, such as ``AUC@5``: 0.751; shares are in [0, 1]. Means over the seeds of the card."""
    spread: Mapping[str, float] = field(default_factory=dict)
    """Standard deviation of each value over the seeds; empty if there was one seed."""
    scenes: Mapping[str, Mapping[str, float]]
    """Values under the same names for each scene or group of scenes alone."""
    records: tuple[PairRecord, ...]
    """What was measured on each pair with the first seed, in the order of the data set; in searches on each query and
    the photo that it found first."""
    images: str
    """Folder that the image names of the records are relative to."""
    warning: str | None = None
    """What speaks against the numbers, such as poses that the matches contradict; None: nothing does."""


def write_result(result: Result, path: Path) -> None:
    """Write a result to a JSON file, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    content = {"format": FORMAT, "version": VERSION, **vars(result)}
    write_whole(path, (to_json(content, indent=1) + "\n").encode())


def read_result(path: Path) -> Result:
    """Read what ``write_result`` wrote.

    Raises:
        ConfigError: If the file is no result, is damaged, or is newer than this version of PhotoGlue.
    """
    try:
        content = json.loads(path.read_bytes())
        if content.pop("format") != FORMAT:
            raise KeyError("format")
        version = content.pop("version")
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{str(path)!r} is not a result of photoglue evaluate ({type(error).__name__}: {error})."
        ) from error
    if version != VERSION:
        raise ConfigError(f"{str(path)!r} has another version than {VERSION}: update PhotoGlue, or evaluate anew.")
    return from_json(Result, content, origin=repr(str(path)))


def earlier_results(folder: Path, new: Set[tuple[str, str]] = frozenset()) -> list[Result]:
    """The results in a folder. One that cannot be read is left out, with a warning.

    Args:
        folder: Where ``write_result`` wrote ``.json`` files.
        new: (data set, method) of results to leave out, because they are measured again.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(read_result(path))
        except ConfigError as error:
            warnings.warn(f"{error} It is left out: remove it, or measure it again.", PhotoGlueWarning, stacklevel=2)
    return [result for result in found if (result.dataset, result.method) not in new]


def check_comparable(results: Sequence[Result]) -> None:
    """Refuse results that must not share a table, because their protocol cards differ.

    ``image_set`` may differ between data sets, and nothing else may.

    Raises:
        ConfigError: If cards differ; the message says in what.
    """
    firsts: dict[str, Result] = {}
    notes: dict[str, None] = {}
    for result in results:
        same_data = firsts.setdefault(result.dataset, result)
        differences = list(same_data.card.differences(result.card))
        differences += [text for text in results[0].card.differences(result.card) if not text.startswith("image_set ")]
        for difference in dict.fromkeys(differences):
            notes[f"{result.method} on {result.dataset}: {difference}"] = None
    if notes:
        raise ConfigError(
            f"Results of different protocols are not comparable: {'; '.join(notes)}. Evaluate them with one protocol, "
            "or allow the mixture (--allow-mixed)."
        )
