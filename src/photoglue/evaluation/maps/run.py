"""Scenes with known poses, mapped by several mappers in turn, and what came of it as a table."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import PIL.Image
import torch

from photoglue.datasets.cameras import read_cameras
from photoglue.datasets.images import Images
from photoglue.datasets.photos import photos_of
from photoglue.datasets.scenes import find_scenes
from photoglue.decode import orientation_of
from photoglue.errors import ConfigError, OutputError
from photoglue.evaluation.maps.colmap import Mapper, Progress
from photoglue.evaluation.maps.mappers import mapper_named
from photoglue.evaluation.maps.score import MapScore, TruePhoto, score_map
from photoglue.files import digest_of, digest_of_file, from_json, to_json, write_whole
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame
from photoglue.solvers.colmap_model import read_model
from photoglue.version import __version__

Intrinsics: TypeAlias = Literal["known", "unknown"]
COLUMNS = ("scene", "mapper", "placed", "position", "worst", "angle °", "points", "track", "error px", "CPU s")


@dataclass(frozen=True, kw_only=True)
class MapResult:
    """What one mapper made of one scene."""

    scene: str
    mapper: str
    intrinsics: Intrinsics
    score: MapScore
    cpu_seconds: Mapping[str, float]
    """Stage → CPU seconds."""
    unplaced: Mapping[str, str] = field(default_factory=dict)
    """Photos without a place → why, if the mapper says so."""
    made_from: str | None = None
    """Digest of photos, truth and mapper; None: the mapper is a function, of which nothing is known."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What a folder has one result of."""
        return self.scene, self.intrinsics, self.mapper


@dataclass(frozen=True, kw_only=True)
class MapResults:
    """The results of a folder, as ``maps.json`` has them."""

    results: tuple[MapResult, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class MapScene:
    """Photos to map, and what is known of them."""

    name: str
    photos: Path
    """The folder of the photos."""
    names: tuple[str, ...]
    """Photos to map, by their paths in that folder."""
    truth: Mapping[str, TruePhoto]
    """Their true poses, as far as they are known."""
    cameras: Mapping[str, PinholeCamera]
    """The cameras of the stored photos, as far as they are known."""

    def digest(self) -> str:
        """Changes with photos, poses and cameras."""
        photos = {name: digest_of_file(self.photos / name) for name in self.names}
        poses = {name: photo.cam_from_world.tolist() for name, photo in self.truth.items()}
        return digest_of([photos, poses, {name: str(camera) for name, camera in self.cameras.items()}])

    def folder(self, place: Path) -> Path:
        """A folder with these photos and no others: theirs, or copies in a place."""
        if self.names == photos_of([self.photos]).names:
            return self.photos
        shutil.rmtree(place, ignore_errors=True)
        for name in self.names:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.photos / name, place / name)
        return place


def measure_maps(
    data: Sequence[Path],
    mappers: Mapping[str, Mapper] | Sequence[str],
    out: Path,
    *,
    intrinsics: Sequence[Intrinsics] = ("unknown",),
    max_photos: int | None = None,
    progress: Progress = lambda what, done, total: None,  # noqa: ARG005
) -> list[MapResult]:
    """Map scenes by all mappers, and measure the models against the known poses.

    Each result is kept as soon as it is there: the same call goes on after an interruption, and repeats only what has
    other photos, poses or options since. Mappers that are mere functions always run.

    Args:
        data: Folders with ``images/`` and ``cameras.json``, or folders of such folders. Without ``cameras.json`` only
            photos are counted.
        mappers: Names as ``mapper_named`` takes them, such as ``["default", "colmap"]``, or name → mapper, such as
            ``{"colmap": ColmapSift(threads=4)}``.
        out: A folder: ``SCENE.K.MAPPER/`` has the mapper's files, which are made anew, and ``maps.json`` and
            ``maps.md`` all results, those that the folder had before among them.
        intrinsics: Whether mappers are told the true cameras: each scene is mapped once for each. Scenes that have
            photos without a known camera are mapped with unknown ones only.
        max_photos: At most so many photos of each scene, evenly taken; None: all.
        progress: Called with how far the work is.

    Returns:
        For each scene, intrinsics and mapper the result, in order.

    Raises:
        ConfigError: If a mapper does not exist, a folder holds no scene, two have one name, or the truth of one
            makes no sense.
        ImageError: If a photo is missing or cannot be read.
        OutputError: If a file cannot be written.
        MissingExtra: If pycolmap is not installed.
    """
    named = mappers if isinstance(mappers, Mapping) else {name: mapper_named(name) for name in mappers}
    scenes = [read_map_scene(scene, max_photos) for folder in data for scene in scenes_in(folder)]
    twice = {scene.name for scene in scenes if [each.name for each in scenes].count(scene.name) > 1}
    if twice:
        raise ConfigError(f"Two scenes are called {min(twice)!r}; map them with another --out each.")
    jobs = [
        (scene, known, name)
        for scene in scenes
        for known in intrinsics
        if known == "unknown" or scene.cameras.keys() >= set(scene.names)
        for name in named
    ]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(out)!r} cannot be made: {error.strerror}.") from error
    found = {result.key: result for result in _earlier(out)}
    results = []
    for number, (scene, known, name) in enumerate(jobs):
        progress("models", number, len(jobs))
        made_from = _made_from(scene, named[name])
        result = found.get((scene.name, known, name))
        if result is None or made_from is None or result.made_from != made_from:
            result = _mapped(scene, known, (name, named[name]), out, made_from, progress)
            found[result.key] = result
            write_whole(out / "maps.json", to_json(MapResults(results=tuple(found.values())), indent=1).encode())
            write_whole(out / "maps.md", table_of(list(found.values())).encode())
        results.append(result)
    progress("models", len(jobs), len(jobs))
    return results


def read_map_scene(folder: Path, max_photos: int | None = None) -> MapScene:
    """A scene to map: its photos are those in ``images/``.

    Raises:
        ConfigError: If ``cameras.json`` makes no sense, a photo of it does not lie in ``images``, or ``max_photos`` is
            less than 1.
        ImageError: If a photo of it is missing or cannot be read.
    """
    if max_photos is not None and max_photos < 1:
        raise ConfigError(f"max_photos is {max_photos}; at least 1 was wanted.")
    names = photos_of([folder / "images"]).names
    count = len(names) if max_photos is None else min(max_photos, len(names))
    taken = tuple(names[i * len(names) // count] for i in range(count))
    truth, cameras = read_truth(folder) if (folder / "cameras.json").is_file() else ({}, {})
    return MapScene(
        name=folder.resolve().name,
        photos=folder / "images",
        names=taken,
        truth={name: truth[name] for name in taken if name in truth},
        cameras={name: cameras[name] for name in taken if name in cameras},
    )


def read_truth(scene: Path) -> tuple[dict[str, TruePhoto], dict[str, PinholeCamera]]:
    """The true poses and the cameras of the stored photos of a scene, by the photos' paths below ``images``.

    Raises:
        ConfigError: If ``cameras.json`` makes no sense, or a photo does not lie in ``images``.
        ImageError: If a photo is missing or cannot be read.
    """
    images, file = Images(folder=scene), read_cameras(scene)
    truth, cameras = {}, {}
    for name in sorted(file.frames):
        photo = file.photo(name, images)
        parts = PurePosixPath(photo.name).parts
        if parts[0] != "images":
            raise ConfigError(f"{photo.name!r} of {str(file.path)!r} does not lie in images/, which is mapped.")
        with PIL.Image.open(scene / photo.name) as picture:
            frame = StoredFrame(orientation=orientation_of(picture), upright_size=photo.camera.image_size)
        key = "/".join(parts[1:])
        truth[key] = TruePhoto(frame=frame, cam_from_world=torch.from_numpy(photo.cam_from_world).double())
        cameras[key] = frame.camera_from_upright(photo.camera)
    return truth, cameras


def row_of(result: MapResult) -> tuple[str, ...]:
    """A result as a row of the table, under ``COLUMNS``."""
    score, seconds = result.score, result.cpu_seconds
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items() if value >= 0.05)
    position, worst, angle = (
        "–" if math.isnan(value) else format(value, form)
        for value, form in ((score.position, ".4g"), (score.position_worst, ".4g"), (score.rotation_deg, ".3f"))
    )
    return (
        f"{result.scene} (K {result.intrinsics})",
        result.mapper,
        f"{score.placed}/{score.photos}",
        position,
        worst,
        angle,
        f"{score.points:,}",
        f"{score.track:.2f}",
        f"{score.error_px:.2f}",
        f"{sum(seconds.values()):.1f} ({stages})",
    )


def table_of(results: Sequence[MapResult]) -> str:
    """The results as a table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---" + "|---:" * (len(COLUMNS) - 2) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row_of(result)) + " |" for result in results]) + "\n"


def scenes_in(folder: Path) -> list[Path]:
    """The folder itself if it has images/, else those in it that have."""
    if (folder / "images").is_dir():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/images") if path.is_dir()) or find_scenes(folder)


def _earlier(out: Path) -> tuple[MapResult, ...]:
    path = out / "maps.json"
    return from_json(MapResults, path.read_bytes(), origin=str(path)).results if path.is_file() else ()


def _made_from(scene: MapScene, mapper: Mapper) -> str | None:
    """What a result depends on, if the mapper says what it is."""
    if not is_dataclass(mapper):
        return None
    return digest_of([scene.digest(), type(mapper).__qualname__, repr(mapper), __version__])


def _mapped(
    scene: MapScene,
    intrinsics: Intrinsics,
    named: tuple[str, Mapper],
    out: Path,
    made_from: str | None,
    progress: Progress,
) -> MapResult:
    name, mapper = named
    place = out / f"{scene.name}.{intrinsics}.{name}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    photos = scene.folder(out / f"{scene.name}.photos")
    cameras = {each: scene.cameras[each] for each in scene.names} if intrinsics == "known" else None
    label = f"{scene.name}, K {intrinsics}, {name}"
    run = mapper(photos, place, cameras, lambda stage, done, total: progress(f"{label}: {stage}", done, total))
    model = None if run.model is None else read_model(run.model)
    return MapResult(
        scene=scene.name,
        mapper=name,
        intrinsics=intrinsics,
        score=score_map(model, scene.truth, scene.names),
        cpu_seconds=run.cpu_seconds,
        unplaced=run.unplaced,
        made_from=made_from,
    )
