"""Scenes with known poses: every fourth photo is placed in a map of the others, and compared with its true pose."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float64
from torch import Tensor

from photoglue.datasets.cameras import read_cameras
from photoglue.datasets.photos import photos_of
from photoglue.errors import ConfigError, OutputError, PhotoGlueError
from photoglue.evaluation.maps.colmap import Progress
from photoglue.evaluation.maps.run import Intrinsics, MapScene, read_map_scene, scenes_in
from photoglue.evaluation.maps.score import TruePhoto
from photoglue.evaluation.methods import Method
from photoglue.evaluation.run import safe_name
from photoglue.export import load_matcher
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import named_extractor
from photoglue.files import digest_of, digest_of_file, from_json, to_json, write_whole
from photoglue.geometry.frames import colmap_pinhole
from photoglue.geometry.pose import rotation_error_deg
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.pipeline import create_matcher
from photoglue.sfm.localize import Localizer
from photoglue.sfm.locating.adopt import AdoptOptions, adopt_model
from photoglue.solvers.colmap_files import CameraRecord
from photoglue.solvers.colmap_triangulation import write_posed
from photoglue.version import __version__

EVERY, FIRST = 4, 2
"""Photos sorted by name whose numbers are 2, 6, 10, … are queries."""
METRES, RELATIVE = (0.05, 0.25, 1.0), (0.005, 0.025, 0.1)
"""Largest errors of position that are counted: metres; or, where the unit is unknown, shares of the median distance
between the cameras of the map and the points that they see."""
DEGREES = (0.5, 2.0, 5.0)
"""Largest errors of direction that are counted with them."""
POINTS, SIDE = 4096, 1024
COLUMNS = (
    "scene", "method", "queries", "placed", "fine", "middle", "coarse", "wrong", "position", "angle °", "strangers",
    "CPU s",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """One photo that was placed, or not."""

    name: str
    position: float
    """Distance from its true place, in the unit of the data; inf: not placed."""
    rotation_deg: float
    """Angle between its direction and the true one; inf: not placed."""
    inliers: int
    reason: str | None
    """Why it was not placed."""
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class LocalisationResult:
    """What one method made of one scene."""

    scene: str
    method: str
    intrinsics: Intrinsics
    queries: tuple[QueryResult, ...]
    limits: tuple[float, ...]
    """Largest errors of position that are counted, fine, middle and coarse, in the unit of the data."""
    metres: bool
    """Whether that unit is the metre."""
    strangers: int
    """Photos of other places that were asked for."""
    accepted: int
    """Those of them that got a place."""
    map_cpu_seconds: float
    made_from: str
    """Digest of photos, truth and method."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What a folder has one result of."""
        return self.scene, self.intrinsics, self.method

    def share(self, level: int) -> float:
        """Share of the queries within the limits of a level: 0 (fine), 1 or 2 (coarse)."""
        good = [q.position <= self.limits[level] and q.rotation_deg <= DEGREES[level] for q in self.queries]
        return sum(good) / len(good)

    @property
    def placed(self) -> int:
        """Queries that got a place."""
        return sum(math.isfinite(query.position) for query in self.queries)

    @property
    def wrong(self) -> int:
        """Queries that got a place beyond the coarse limits."""
        return self.placed - round(self.share(2) * len(self.queries))

    @property
    def position(self) -> float:
        """Median error of position over all queries."""
        return statistics.median(query.position for query in self.queries)

    @property
    def rotation_deg(self) -> float:
        """Median error of direction over all queries, degrees."""
        return statistics.median(query.rotation_deg for query in self.queries)


@dataclass(frozen=True, kw_only=True)
class LocalisationResults:
    """The results of a folder, as ``localisation.json`` has them."""

    results: tuple[LocalisationResult, ...]


@dataclass(frozen=True, kw_only=True)
class LocalisationOptions:
    """What is measured."""

    intrinsics: tuple[Intrinsics, ...] = ("known",)
    """Whether the cameras of the queries are told."""
    max_photos: int | None = None
    """At most so many photos of each scene, evenly taken; None: all."""
    metres: bool | None = None
    """Whether the unit of the truth is the metre; None: if ``cameras.json`` says so."""
    strangers: tuple[Path, ...] = ()
    """Photos of other places, or folders of them: none should get a place."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially."""


def measure_localisation(
    data: Sequence[Path],
    methods: Sequence[str],
    out: Path,
    options: LocalisationOptions | None = None,
    *,
    progress: Progress = lambda what, done, total: None,  # noqa: ARG005
) -> list[LocalisationResult]:
    """Place every fourth photo of scenes in maps of the others, and measure the poses against the known ones.

    The maps have the true poses and cameras, and points that are triangulated from the method's own matches: what is
    measured is the placing, not the mapping. Each result is kept as soon as it is there.

    Args:
        data: Folders with ``images/`` and ``cameras.json``, or folders of such folders.
        methods: EXTRACTOR+MATCHER, such as ``aliked+lightglue`` and ``sift+ratio``.
        out: A folder: ``SCENE.METHOD/`` has the map, ``localisation.json`` and ``localisation.md`` all results.
        options: What is measured; None: the defaults.
        progress: Called with how far the work is.

    Returns:
        For each scene, intrinsics and method the result, in order.

    Raises:
        ConfigError: If a method does not exist, or a folder holds no scene with known poses.
        OutputError: If a file cannot be written.
        MissingExtra: If pycolmap, PoseLib or h5py is not installed.
    """
    options = options or LocalisationOptions()
    parsed = {name: Method.parse(name) for name in methods}
    folders = [scene for folder in data for scene in scenes_in(folder)]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(out)!r} cannot be made: {error.strerror}.") from error
    path = out / "localisation.json"
    found = {}
    if path.is_file():
        earlier = from_json(LocalisationResults, path.read_bytes(), origin=str(path)).results
        found = {result.key: result for result in earlier}
    others = photos_of(options.strangers) if options.strangers else None
    strangers = [] if others is None else [others.path(i) for i in range(len(others.names))]
    results = []
    for folder in folders:
        scene = read_map_scene(folder, options.max_photos)
        if len(scene.truth) <= EVERY:
            raise ConfigError(
                f"{str(folder)!r} has {len(scene.truth)} photos with known poses; {EVERY + 1} are wanted."
            )
        for intrinsics in options.intrinsics:
            for name, method in parsed.items():
                run = _Run(folder, scene, (name, method), (out, options, strangers), progress)
                result = found.get((scene.name, intrinsics, name))
                if result is None or result.made_from != run.made_from:
                    result = run.result(intrinsics)
                    found[result.key] = result
                    content = LocalisationResults(results=tuple(found.values()))
                    write_whole(path, to_json(content, indent=1).encode())
                    write_whole(out / "localisation.md", table_of(list(found.values())).encode())
                results.append(result)
    return results


class _Run:
    """One method on one scene."""

    def __init__(
        self,
        folder: Path,
        scene: MapScene,
        named: tuple[str, Method],
        common: tuple[Path, LocalisationOptions, Sequence[Path]],
        progress: Progress,
    ) -> None:
        self.scene, (self.name, self.method), self.progress = scene, named, progress
        out, self.options, self.strangers = common
        self.place = out / f"{scene.name}.{safe_name(self.name)}"
        names = sorted(scene.truth)
        self.queries = names[FIRST::EVERY]
        self.references = [name for name in names if name not in self.queries]
        unit = read_cameras(folder).unit
        self.metres = unit.lower().startswith("met") if self.options.metres is None else self.options.metres
        digests = [digest_of_file(path) for path in self.strangers]
        self.made_from = digest_of([scene.digest(), self.name, self.metres, digests, __version__])

    def result(self, intrinsics: Intrinsics) -> LocalisationResult:
        """What came of it."""
        extractor, matcher = self._tools()
        label = f"{self.scene.name}, {self.name}"
        start = time.process_time()
        self._map(extractor, matcher, label)
        mapped = time.process_time() - start
        with Localizer(self.place / "map", extractor=extractor, matcher=matcher) as localizer:
            depths = [
                (localizer.map.model.points[image.points] - image.centre).norm(dim=1).median().item()
                for image in localizer.map.model.images
                if len(image.points)
            ]
            size = 1.0 if self.metres else statistics.median(depths or [1.0])
            queries = []
            for done, name in enumerate(self.queries, start=1):
                queries.append(self._query(localizer, name, intrinsics))
                self.progress(f"{label}: queries", done, len(self.queries))
            accepted = 0
            for done, path in enumerate(self.strangers, start=1):
                try:
                    accepted += localizer.localize(path).localised
                except PhotoGlueError:  # what cannot be read gets no place
                    continue
                self.progress(f"{label}: strangers", done, len(self.strangers))
        return LocalisationResult(
            scene=self.scene.name,
            method=self.name,
            intrinsics=intrinsics,
            queries=tuple(queries),
            limits=tuple(limit * size for limit in (METRES if self.metres else RELATIVE)),
            metres=self.metres,
            strangers=len(self.strangers),
            accepted=accepted,
            map_cpu_seconds=mapped,
            made_from=self.made_from,
        )

    def _tools(self) -> tuple[Extractor, Matcher]:
        method = self.method
        extractor = named_extractor(
            method.extractor,
            max_keypoints=POINTS,
            resize=SIDE,
            allow_noncommercial=self.options.allow_noncommercial,
        )
        if method.matcher == "nn":
            return extractor, NearestNeighbor(method.ratio)
        if method.matcher == "exported" and method.weights is not None:
            return extractor, load_matcher(method.weights)
        return extractor, create_matcher(extractor.kind, None, method.weights, None, method.precision)

    def _map(self, extractor: Extractor, matcher: Matcher, label: str) -> None:
        """The map of the references, with their true poses."""
        (self.place / "known").mkdir(parents=True, exist_ok=True)
        cameras = [
            CameraRecord(
                camera_id=i,
                model="PINHOLE",
                image_size=self.scene.cameras[name].image_size,
                parameters=colmap_pinhole(self.scene.cameras[name]),
            )
            for i, name in enumerate(self.references, start=1)
        ]
        images = [(i, i, name, _stored(self.scene.truth[name])) for i, name in enumerate(self.references, start=1)]
        write_posed(self.place / "known", cameras, images)
        adopt_model(
            self.place / "known",
            self.scene.photos,
            self.place / "map",
            AdoptOptions(features=self.method.extractor, max_keypoints=POINTS, resize=SIDE, partners=10),
            extractor=extractor,
            matcher=matcher,
            progress=lambda stage, done, total: self.progress(f"{label}: {stage}", done, total),
        )

    def _query(self, localizer: Localizer, name: str, intrinsics: Intrinsics) -> QueryResult:
        true, stored = self.scene.truth[name], self.scene.cameras[name]
        camera = true.frame.camera_to_upright(stored) if intrinsics == "known" else None
        start = time.process_time()
        answer = localizer.localize(self.scene.photos / name, camera=camera)
        seconds = time.process_time() - start
        position = rotation = math.inf
        if answer.cam_from_world is not None and answer.centre is not None:
            pose = true.cam_from_world
            position = float((answer.centre + pose[:3, :3].T @ pose[:3, 3]).norm())
            rotation = rotation_error_deg(answer.cam_from_world[:3, :3], pose[:3, :3])
        return QueryResult(
            name=name,
            position=position,
            rotation_deg=rotation,
            inliers=answer.inliers,
            reason=answer.reason,
            cpu_seconds=seconds,
        )


def _stored(photo: TruePhoto) -> Float64[Tensor, "4 4"]:
    pose = photo.cam_from_world.clone()
    pose[:3] = photo.frame.upright_cam_from_stored_cam().T @ pose[:3]
    return pose


def row_of(result: LocalisationResult) -> tuple[str, ...]:
    """A result as a row of the table, under ``COLUMNS``."""
    unit = " m" * result.metres
    limits = [f"{result.share(level):.0%} ≤ {limit:.3g}{unit}" for level, limit in enumerate(result.limits)]
    strangers = f"{result.accepted} of {result.strangers}" if result.strangers else "–"
    return (
        f"{result.scene} (K {result.intrinsics})",
        result.method,
        str(len(result.queries)),
        str(result.placed),
        *limits,
        str(result.wrong),
        f"{result.position:.4g}{unit}",
        f"{result.rotation_deg:.3f}",
        strangers,
        f"{statistics.median(query.cpu_seconds for query in result.queries):.2f}",
    )


def table_of(results: Sequence[LocalisationResult]) -> str:
    """The results as a table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---" + "|---:" * (len(COLUMNS) - 2) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row_of(result)) + " |" for result in results]) + "\n"
