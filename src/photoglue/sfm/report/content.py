"""What a page about a model says, gathered: numbers, rows, pictures, and the data that its script reads."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from photoglue.errors import ImageError, MissingExtra
from photoglue.machine import version_line
from photoglue.sfm.report.links import CountedPair, Link, shared_links, weakest_links
from photoglue.sfm.report.scene import Scene, encoded, scene_of
from photoglue.sfm.report.thumbnails import Thumbnail, side_for, thumbnail
from photoglue.solvers.colmap_model import Model, ModelImage
from photoglue.viz.small import compressed, matched_picture

LINKS_SHOWN = 6
"""Pictures of the weakest links."""
LINES = 80
"""Matches drawn on each."""
LINK_SIZE, LINK_BYTES = (960, 400), 70_000
"""Largest size of such a picture, pixels and bytes."""
SHARED = "shared points"
"""The geometry of pairs that are counted from the model itself."""


Places: TypeAlias = tuple[Path, Mapping[str, Path]]
"""The folder that names of photos are paths below, and where those photos are that are elsewhere."""


@dataclass(frozen=True, kw_only=True)
class PhotoRow:
    """A photo in the table."""

    name: str
    placed: bool
    points: int
    """Points of the model that it sees."""
    track: float
    """Mean number of photos that see them, itself included."""
    partners: int
    """Pairs with it."""
    error: float
    """Mean distance from its keypoints to where their points are projected, pixels."""
    reason: str
    """Why it was not placed, or what is wrong with it."""
    thumbnail: str
    """JPEG as base64; empty if it cannot be read."""


@dataclass(frozen=True, kw_only=True)
class LinkPicture:
    """Two photos that hold a model together with few matches."""

    name0: str
    name1: str
    inliers: int
    kind: str
    jpeg: str
    """As base64; empty if there is none."""
    problem: str
    """Why there is none."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A number at the top of the page."""

    value: str
    words: str


@dataclass(frozen=True, kw_only=True)
class MapPage:
    """All that the page shows."""

    title: str
    facts: tuple[Fact, ...]
    rows: tuple[PhotoRow, ...]
    scene: Scene
    links: tuple[LinkPicture, ...]
    verified: bool
    """Whether pairs were given; False: they are counted from the model."""
    kinds: tuple[str, ...]
    """Geometries of pairs, the most frequent first."""
    pairs: dict[str, str]
    """Columns of the pairs as base64: ``i`` and ``j`` are rows of ``rows`` (uint32), ``n`` inliers (uint32), ``k`` the
    kind (uint8)."""
    settings: tuple[tuple[str, str], ...]
    seconds: tuple[tuple[str, float], ...]
    marked: frozenset[str] = frozenset()
    """Photos whose cameras are drawn in another colour, because they were placed in a model that was there."""

    @property
    def unplaced(self) -> int:
        """How many photos have no place in the model."""
        return sum(not row.placed for row in self.rows)


def gather(
    model: Model,
    photos: Places,
    verified: Sequence[CountedPair] | None,
    unplaced: Mapping[str, str],
    links: Sequence[Link] | None,
) -> tuple[tuple[PhotoRow, ...], Scene, tuple[LinkPicture, ...], list[CountedPair]]:
    """The photos, the scene, the weakest links and the pairs of a page."""
    shared = [(first, second, count, SHARED) for (first, second), count in model.shared_points().items()]
    pairs = shared if verified is None else list(verified)
    placed = [image.name for image in model.images]
    others = {name for pair in pairs for name in pair[:2]} | unplaced.keys()
    names = sorted({*placed, *others})
    side = side_for(len(names))
    small = {name: thumbnail(_path(photos, name), side) for name in names}
    small |= {image.name: _checked(model, image, small[image.name]) for image in model.images}
    scene = scene_of(model, [small[name].frame for name in placed])
    inside = set(placed)
    weakest = weakest_links([pair for pair in pairs if pair[0] in inside and pair[1] in inside], LINKS_SHOWN)
    if links is None:
        frames = {name: None if small[name].problem else small[name].frame for name in inside}
        links = shared_links(model, weakest, frames, LINES)
    pictures = tuple(_picture(photos, pair, links) for pair in weakest)
    return _rows(model, names, pairs, unplaced, small), scene, pictures, pairs


def _path(photos: Places, name: str) -> Path:
    folder, elsewhere = photos
    return elsewhere.get(name, folder / name)


def facts_of(model: Model, rows: Sequence[PhotoRow]) -> tuple[Fact, ...]:
    """The numbers at the top of the page."""
    seen = sum(row.points for row in rows)
    error = sum(row.error * row.points for row in rows if row.points) / seen if seen else 0.0
    track = float(model.track_lengths.double().mean()) if len(model.points) else 0.0
    cameras = len({image.camera_id for image in model.images})
    return (
        Fact(value=f"{len(model.images):,} of {len(rows):,}", words="photos placed"),
        Fact(value=f"{len(model.points):,}", words="points"),
        Fact(value=f"{track:.1f}", words="photos see a point, on average"),
        Fact(value=f"{error:.2f} px", words="mean reprojection error"),
        Fact(value=f"{cameras:,}", words="camera" if cameras == 1 else "cameras"),
    )


def columns_of(pairs: Sequence[CountedPair], rows: Sequence[PhotoRow]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The kinds of the pairs, and the pairs as columns for the script."""
    kinds = tuple(kind for kind, _ in Counter(pair[3] for pair in pairs).most_common(255))
    number = {row.name: i for i, row in enumerate(rows)}
    code = {kind: i for i, kind in enumerate(kinds)}
    columns = {
        "i": np.array([number[pair[0]] for pair in pairs], dtype="<u4"),
        "j": np.array([number[pair[1]] for pair in pairs], dtype="<u4"),
        "n": np.array([pair[2] for pair in pairs], dtype="<u4"),
        "k": np.array([code.get(pair[3], 255) for pair in pairs], dtype="u1"),
    }
    return kinds, {name: encoded(values) for name, values in columns.items()}


def settings_of(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Settings as text, with the versions that made the page."""
    rows = [(str(name), "–" if value is None else str(value)) for name, value in settings.items()]
    with suppress(PackageNotFoundError):
        rows.append(("pycolmap", version("pycolmap")))
    return (*rows, ("made by", version_line()))


def _error(model: Model, image: ModelImage) -> float:
    """Mean over the points that lie before the camera, pixels."""
    return float(model.reprojection_errors(image).nanmean().nan_to_num())


def _checked(model: Model, image: ModelImage, small: Thumbnail) -> Thumbnail:
    """A small photo, with what is wrong if the photo is not of the size that the model says."""
    wanted = model.cameras[image.camera_id].image_size
    if small.frame is None or small.frame.size == wanted:
        return small
    (width, height), size = wanted, small.frame.size
    return replace(small, problem=f"the photo has {size[0]} × {size[1]} pixels, its camera {width} × {height}")


def _rows(
    model: Model,
    names: Sequence[str],
    pairs: Sequence[CountedPair],
    unplaced: Mapping[str, str],
    small: Mapping[str, Thumbnail],
) -> tuple[PhotoRow, ...]:
    images = {image.name: image for image in model.images}
    partners = Counter(name for pair in pairs for name in pair[:2])
    rows = []
    for name in names:
        image, jpeg = images.get(name), small[name].jpeg
        count = 0 if image is None else len(image.points)
        reason = unplaced.get(name, "not in this model") if image is None else ""
        row = PhotoRow(
            name=name,
            placed=image is not None,
            points=count,
            track=float(model.track_lengths[image.points].double().mean()) if image is not None and count else 0.0,
            partners=partners[name],
            error=_error(model, image) if image is not None and count else 0.0,
            reason=" ".join(part for part in (reason, small[name].problem) if part),
            thumbnail="" if jpeg is None else encoded(np.frombuffer(jpeg, np.uint8)),
        )
        rows.append(row)
    return tuple(rows)


def _picture(photos: Places, pair: CountedPair, links: Sequence[Link]) -> LinkPicture:
    name0, name1, inliers, kind = pair
    jpeg, problem = "", "no picture: its matches are not at hand"
    for first, second, points0, points1 in links:
        if {first, second} != {name0, name1}:
            continue
        points = (points0, points1) if first == name0 else (points1, points0)
        step = max(1, -(-len(points0) // LINES))
        lines = (points[0][::step], points[1][::step], "#4cc2ff")
        try:
            picture = matched_picture([_path(photos, name0), _path(photos, name1)], lines, size=LINK_SIZE)
        except (ImageError, MissingExtra) as error:
            problem = str(error)
        else:
            jpeg, problem = encoded(np.frombuffer(compressed(picture, LINK_BYTES), np.uint8)), ""
        break
    return LinkPicture(name0=name0, name1=name1, inliers=inliers, kind=kind, jpeg=jpeg, problem=problem)
