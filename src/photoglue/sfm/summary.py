"""What became of a folder of photos, and what is made of the model for people and other programs."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from photoglue.errors import PhotoGlueError
from photoglue.sfm.cameras import Cameras
from photoglue.sfm.deliver import undistort, write_ply, write_text
from photoglue.sfm.nerfstudio import write_nerfstudio
from photoglue.sfm.reconstruct import RECORD
from photoglue.sfm.report.content import LINKS_SHOWN
from photoglue.sfm.report.links import Link, weakest_links
from photoglue.sfm.report.page import write_map_report
from photoglue.sfm.unplaced import PairRow
from photoglue.sfm.verified import VerifiedStore
from photoglue.solvers.colmap_facts import ColmapModel
from photoglue.store import FeatureStore

Delivery: TypeAlias = Literal["report", "undistort", "nerfstudio", "ply", "text"]


@dataclass(frozen=True, kw_only=True)
class MapSummary:
    """What became of the photos."""

    out: Path
    """The folder with all files."""
    photos: Path
    """The folder that names of photos are relative to."""
    names: tuple[str, ...]
    """All photos, sorted, those that cannot be read among them."""
    cameras: Cameras
    """The cameras as they were found, before the mapping improved them."""
    models: tuple[ColmapModel, ...]
    """The models, the largest first; none if nothing could be placed."""
    pairs: tuple[PairRow, ...]
    """Each pair that was matched: matches, inliers, and what its geometry is."""
    unplaced: Mapping[str, str]
    """Photos without a place in the first model → why."""
    notes: tuple[str, ...]
    """What each stage says of itself, for people."""
    seconds: Mapping[str, float]
    """Seconds of each stage."""
    cpu_seconds: Mapping[str, float]
    """CPU seconds of each stage, of all threads of this process and of those that it started, together."""
    settings: Mapping[str, Any]
    """All options, as JSON can hold them."""
    delivered: tuple[Path, ...] = ()
    """What was made of the largest model: files and folders."""
    undelivered: Mapping[str, str] = field(default_factory=dict)
    """What was wanted of it and could not be made → why; the model itself is fine."""

    @property
    def model(self) -> ColmapModel | None:
        """The largest model, in sparse/0."""
        return self.models[0] if self.models else None

    def lines(self) -> list[str]:
        """Sentences for people."""
        lines = [f"{self.cameras}"]
        if self.model is None:
            return [*lines, f"0 of {len(self.names)} photos placed"]
        for model in self.models:
            lines.append(
                f"{len(model.placed)} of {len(self.names)} photos placed, {model.points} points, mean track "
                f"{model.mean_track:.2f}, reprojection error {model.error_px:.2f} px → {model.path}"
            )
        return lines


def deliver(summary: MapSummary, wanted: Collection[Delivery]) -> MapSummary:
    """Makes what is wanted of the largest model, in the folder of the map; nothing if there is no model.

    One that cannot be made keeps none of the others.

    Returns:
        The summary with what was made, what could not be and why, and notes of what an older model has left there.
    """
    made, failed, old = [], {}, []
    out, mapped = summary.out, summary.out / "sparse" / RECORD
    for name, (file, make) in _makers(summary).items():
        path = out / file
        if name in wanted and summary.model is not None:
            try:
                make(path)
                made.append(path)
            except PhotoGlueError as error:
                failed[file] = str(error)
        elif path.exists() and mapped.exists() and path.stat().st_mtime_ns < mapped.stat().st_mtime_ns:
            old.append(f"{path} is of an older model")
    return replace(summary, delivered=tuple(made), undelivered=failed, notes=(*summary.notes, *old))


def _makers(summary: MapSummary) -> dict[Delivery, tuple[str, Callable[[Path], object]]]:
    """The file or folder of each delivery, and what makes it."""
    model, photos = summary.out / "sparse" / "0", summary.photos
    return {
        "undistort": ("undistorted", lambda path: undistort(model, photos, path)),
        "nerfstudio": ("nerfstudio", lambda path: write_nerfstudio(model, photos, path)),
        "ply": ("points.ply", lambda path: write_ply(model, path)),
        "text": ("text", lambda path: write_text(model, path)),
        "report": ("report.html", lambda path: _report(summary, path)),
    }


def _report(summary: MapSummary, path: Path) -> None:
    """The page about the largest model."""
    pairs = [(row.name0, row.name1, row.inliers, row.kind) for row in summary.pairs if row.good]
    inside = [pair for pair in pairs if summary.unplaced.keys().isdisjoint(pair[:2])]
    write_map_report(
        path,
        model=summary.models[0].path,
        photos=summary.photos,
        verified=pairs,
        unplaced=summary.unplaced,
        links=[_link(summary.out, name0, name1) for name0, name1, *_ in weakest_links(inside, LINKS_SHOWN)],
        settings=summary.settings,
        seconds=summary.seconds,
    )


def _link(out: Path, name0: str, name1: str) -> Link:
    """The matches of a pair that geometry accepts, in pixels of the upright photos."""
    with VerifiedStore.open(out / "verified.h5") as verified, FeatureStore.open(out / "features.h5") as features:
        rows = torch.from_numpy(verified.read(name0, name1).inliers.astype("int64"))
        points0, points1 = (features[name].keypoints for name in (name0, name1))
    return name0, name1, points0[rows[:, 0]], points1[rows[:, 1]]
