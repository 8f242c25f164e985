"""What an evaluation leaves behind: records of pairs, the protocol card, the result; their files and their table.

A number without its protocol is worth nothing: the same matches move from 49.9 to 66.8 AUC@5° with the estimator alone.
So every result carries its card, and results with different cards do not share a table unless they are told to.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from photoglue.errors import ConfigError, OutputError

FORMAT = "photoglue.result"
VERSION = 1
"""Of the JSON files."""

ResizeSide: TypeAlias = Literal["long", "short"]


@dataclass(frozen=True, kw_only=True)
class PairRecord:
    """What was measured on one pair of images with one method."""

    scene: str
    """The scene or sequence that the pair belongs to."""
    name0: str
    """Path of image 0 in the folder of images (``Result.images``)."""
    name1: str
    """The same for image 1."""
    values: Mapping[str, float]
    """Measured values under the names of the benchmark, such as ``pose_error_deg`` (inf: no pose was found),
    ``num_matches``, ``num_inliers``, ``precision_3px`` (a share in [0, 1]; nan: nothing to measure it on)."""


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
    """At most so many points an image; None: all."""
    nms_radius: int | None = None
    """Non-maximum suppression of the detector, pixels; None: the detector's own."""
    detection_threshold: float | None = None
    """Least detection score; None: the detector's own."""
    estimator: str
    """Who estimates geometry from matches: ``poselib``, ``opencv``."""
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
    """Of the packages that the number depends on: photoglue, torch, poselib, opencv."""

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
    """Kind of benchmark: ``relative_pose``, ``homography``, ``correspondences``, ``overlap``."""
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
    """The same values for each scene alone."""
    records: tuple[PairRecord, ...]
    """One for each pair, in the order of the benchmark; of the first seed."""
    images: str
    """Folder that the image names of the records are relative to."""

    def to_json(self, path: Path) -> None:
        """Write it to a file, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        write_whole(path, (json.dumps(as_json(content), indent=1, allow_nan=False) + "\n").encode())

    @classmethod
    def from_json(cls, path: Path) -> "Result":
        """Read what ``to_json`` wrote.

        Raises:
            ConfigError: If the file is no result, is damaged, or is newer than this version of PhotoGlue.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format") != FORMAT:
                raise KeyError("format")
            if content.pop("version") != VERSION:
                raise ConfigError(
                    f"{str(path)!r} has another version than {VERSION}: update PhotoGlue, or evaluate anew."
                )
            for name in ("values", "spread"):
                content[name] = numbers(content[name])
            content["scenes"] = {scene: numbers(values) for scene, values in content["scenes"].items()}
            content["records"] = tuple(
                PairRecord(**{**row, "values": numbers(row["values"])}) for row in content["records"]
            )
            content["card"] = ProtocolCard(**content["card"])
            return cls(**content)
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"{str(path)!r} is not a result of photoglue evaluate ({type(error).__name__}: {error})."
            ) from error


@dataclass(frozen=True, kw_only=True)
class Table:
    """Methods against data sets, of one benchmark."""

    benchmark: str
    """Kind of benchmark."""
    columns: tuple[tuple[str, str], ...]
    """(data set, value) of each column."""
    rows: Mapping[str, tuple[float | None, ...]]
    """For each method a value a column; None where it was not measured."""
    spreads: Mapping[str, tuple[float | None, ...]]
    """For each method the standard deviation over seeds a column; None where there was one seed."""
    notes: tuple[str, ...]
    """What differs between the cards, if they were allowed to."""


def table_of(results: Sequence[Result], allow_mixed: bool = False) -> Table:
    """Results of one benchmark side by side.

    ``image_set`` may differ between data sets, and nothing else may.

    Args:
        results: At least one.
        allow_mixed: Accept different protocol cards; the differences become notes of the table.

    Raises:
        ConfigError: If there is none, they are of several benchmarks, or their cards differ and that was not allowed.
    """
    if not results:
        raise ConfigError("There is no result to make a table of.")
    benchmarks = sorted({result.benchmark for result in results})
    if len(benchmarks) > 1:
        raise ConfigError(f"A table holds one benchmark, not {', '.join(benchmarks)}; make one table for each.")
    notes = _card_differences(results)
    if notes and not allow_mixed:
        raise ConfigError(
            "Results of different protocols are not comparable: "
            + "; ".join(notes)
            + ". Evaluate them with one protocol, or allow the mixture (--allow-mixed)."
        )
    columns = list(dict.fromkeys((result.dataset, name) for result in results for name in result.values))
    cells: dict[str, dict[tuple[str, str], tuple[float, float | None]]] = {}
    for result in results:
        row = cells.setdefault(result.method, {})
        for name, value in result.values.items():
            row[result.dataset, name] = (value, result.spread.get(name))
    return Table(
        benchmark=benchmarks[0],
        columns=tuple(columns),
        rows={method: tuple(row.get(column, (None, None))[0] for column in columns) for method, row in cells.items()},
        spreads={
            method: tuple(row.get(column, (None, None))[1] for column in columns) for method, row in cells.items()
        },
        notes=notes,
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and move it into place, so that nobody ever sees half of it.

    Raises:
        OutputError: If it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}.") from error


def _card_differences(results: Sequence[Result]) -> tuple[str, ...]:
    """What differs from the first result, and from the first of the same data set, each said once."""
    firsts: dict[str, Result] = {}
    notes: dict[str, None] = {}
    for result in results:
        same_data = firsts.setdefault(result.dataset, result)
        differences = list(same_data.card.differences(result.card))
        differences += [text for text in results[0].card.differences(result.card) if not text.startswith("image_set ")]
        for difference in dict.fromkeys(differences):
            notes[f"{result.method} on {result.dataset}: {difference}"] = None
    return tuple(notes)


def as_json(value: Any) -> Any:
    """The same for JSON, which knows no infinity: ``"inf"``, ``"nan"``. ``numbers`` takes it back."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Values as they were before ``as_json``."""
    return {name: float(value) for name, value in values.items()}
