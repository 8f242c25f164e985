"""What is known of a matched pair of photos, and its file: JSON, NPZ or CSV, written whole or not at all."""

import csv
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.files import check_output, write_whole
from photoglue.geometry.camera import PinholeCamera
from photoglue.solvers import poselib
from photoglue.solvers.verification import Model, Verification
from photoglue.structs import Features, Matches, TensorStruct
from photoglue.version import __version__
from photoglue.viz import draw_matches, draw_pruning

FORMATS = (".json", ".npz", ".csv")
"""Endings of the files that matches can be written to."""


@dataclass
class Clock:
    """Seconds of each stage of some work: ``with clock("match"): …``."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what happens inside, under the name of the stage."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start

    def __str__(self) -> str:
        readable = {name: f"{s:.1f} s" if s >= 1 else f"{1000 * s:.0f} ms" for name, s in self.seconds.items()}
        return ", ".join(f"{stage} {seconds}" for stage, seconds in readable.items())


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PairResult(TensorStruct):
    """Everything that is known of two photos once they are matched."""

    image0: Float[Tensor, "c0 h0 w0"]
    """The first photo as read, in [0, 1], in main memory."""
    image1: Float[Tensor, "c1 h1 w1"]
    """The second photo as read, in [0, 1], in main memory."""
    paths: tuple[str | None, str | None]
    """Files that the photos were read from; None for a photo that was no file."""
    features0: Features
    """Features of the first photo."""
    features1: Features
    """Features of the second photo."""
    matches: Matches
    """Which features show the same point."""
    overlap_probability: float | None
    """How likely the photos overlap, 0…1; None if the meaning of the matcher's scores is not known."""
    verification: Verification | None
    """The geometric model and the matches that agree with it; None if it was not asked for."""
    partnered_share: float | None = None
    """How many of the points among the inliers are inliers themselves, 0…1, see ``limits.partnered_share``: less than
    one half is what look-alikes give. None: without geometry, with fewer than eight inliers, or of tiles."""
    seconds: Mapping[str, float]
    """Seconds that each stage took: "read", "extract", "match", "limits" where one pass was not enough, and, if asked
    for, "refine", "also" and "verify"."""

    @property
    def inliers(self) -> Bool[Tensor, " k"] | None:
        """For each match whether it agrees with the geometric model; None if that was not asked for."""
        return None if self.verification is None else self.verification.inliers

    def __repr__(self) -> str:
        checked = "" if self.verification is None else f", {len(self.verification)} verified"
        return f"<PairResult: {len(self.matches)} matches{checked}>"

    def facts(self, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What ``save`` writes beside the matches, as JSON can hold it.

        Args:
            options: How the matches were made, to be kept with them; None: nothing.
        """
        features = (self.features0, self.features1)
        return {
            "format": "photoglue-matches",
            "format_version": 1,
            "versions": {"photoglue": __version__, "torch": torch.__version__},
            "convention": "(x, y) in pixels, EXIF orientation applied, centre of the top-left pixel at (0, 0)",
            "frame": "upright",
            "features": self.features0.kind,
            "options": dict(options or {}),
            "images": [
                {
                    "path": path,
                    "width": each.image_size[0],
                    "height": each.image_size[1],
                    "exif_orientation": each.exif_orientation,
                    "keypoints": len(each),
                }
                for path, each in zip(self.paths, features, strict=True)
            ],
            "precision": self.matches.precision,
            "exit_layer": self.matches.stop,
            "n_layers": self.matches.n_layers,
            "refine": self.matches.refine,
            "remedies": None if self.matches.remedies is None else asdict(self.matches.remedies),
            "overlap_probability": self.overlap_probability,
            "partnered_share": self.partnered_share,
            "verification": None if self.verification is None else self.verification.facts(),
        }

    def save(self, path: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> None:
        """Write the matches, with inliers and all facts, as `photoglue match --out` does.

        Args:
            path: The file; .json, .npz or .csv (without facts) chooses the format.
            options: How the matches were made, to be kept with them; None: nothing.

        Raises:
            ConfigError: If the format is unknown.
            OutputError: If the file cannot be written.
        """
        save_matches(self.matches, path, inliers=self.inliers, facts=self.facts(options))

    def to_json(self, options: Mapping[str, Any] | None = None) -> str:
        """What ``save`` writes into a .json file.

        Args:
            options: How the matches were made, to be kept with them; None: nothing.
        """
        return _json(_columns(self.matches, self.inliers), self.facts(options)).decode()

    def draw(self) -> Any:
        """Both photos with a line for each match as a matplotlib figure; see ``viz.draw_matches``."""
        return draw_matches(self.image0, self.image1, self.matches, inliers=self.inliers)

    def draw_pruning(self) -> Any:
        """Both photos with the layer at which each point was dropped; see ``viz.draw_pruning``."""
        return draw_pruning(self.image0, self.image1, self.matches)


def verify_pair(
    matches: Matches,
    model: Model,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    cameras: tuple[PinholeCamera | str | None, PinholeCamera | str | None],
    threshold_px: float,
) -> Verification:
    """The geometry that most matches agree with, by PoseLib.

    Args:
        matches: Of two photos.
        model: "homography", "fundamental" or "essential".
        sizes: (width, height) of the photos, pixels.
        cameras: For "essential": cameras, or texts as ``PinholeCamera.parse`` reads them.
        threshold_px: Largest error of a match that agrees, pixels.

    Raises:
        ConfigError: If there is no such model, or a camera is missing or makes no sense.
        MissingExtra: If PoseLib is not installed.
    """
    camera0, camera1 = (
        PinholeCamera.parse(camera, size) if isinstance(camera, str) else camera
        for camera, size in zip(cameras, sizes, strict=True)
    )
    points = matches.points0, matches.points1
    return poselib.verify(*points, model, camera0=camera0, camera1=camera1, threshold_px=threshold_px)


def save_matches(
    matches: Matches,
    path: str | os.PathLike[str],
    *,
    inliers: Bool[Tensor, " k"] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write matched points (pixels of the photos as read), their indices and their scores.

    Args:
        matches: The matches of one pair.
        path: The file; .json, .npz or .csv chooses the format. A file that is there is replaced once the new one is
            complete.
        inliers: For each match whether geometry accepted it, such as ``Verification.inliers``; None: not written.
        facts: What else to keep, such as names of the photos and options: anything that JSON can hold. CSV leaves it
            out.

    Raises:
        ConfigError: If the format is unknown.
        OutputError: If the file cannot be written.
    """
    path = Path(path)
    check_output(path, FORMATS)
    encode = {".json": _json, ".npz": _npz, ".csv": _csv}[path.suffix.lower()]
    write_whole(path, encode(_columns(matches, inliers), facts or {}))


def _columns(matches: Matches, inliers: Bool[Tensor, " k"] | None) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {
        "points0": matches.points0.cpu().numpy(),
        "points1": matches.points1.cpu().numpy(),
        "indices": matches.indices.cpu().numpy(),
        "scores": matches.scores.float().cpu().numpy(),
    }
    if inliers is not None:
        columns["inliers"] = inliers.cpu().numpy()
    return columns


def _json(columns: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:
    digits = {"points0": 4, "points1": 4, "scores": 6}
    lists = {
        name: np.round(values.astype(np.float64), digits[name]).tolist() if name in digits else values.tolist()
        for name, values in columns.items()
    }
    return (json.dumps({**facts, **lists}, indent=None) + "\n").encode()


def _npz(columns: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **columns, facts=np.array(json.dumps(facts)))
    return buffer.getvalue()


def _csv(columns: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:  # noqa: ARG001
    text = io.StringIO()
    writer = csv.writer(text)
    inliers = columns.get("inliers")
    header = ["x0", "y0", "x1", "y1", "index0", "index1", "score"]
    writer.writerow(header if inliers is None else [*header, "inlier"])
    for row, ((x0, y0), (x1, y1), (i, j), score) in enumerate(
        zip(columns["points0"], columns["points1"], columns["indices"], columns["scores"], strict=True)
    ):
        values = [f"{x0:.4f}", f"{y0:.4f}", f"{x1:.4f}", f"{y1:.4f}", int(i), int(j), f"{score:.6f}"]
        writer.writerow(values if inliers is None else [*values, int(inliers[row])])
    return text.getvalue().encode()
