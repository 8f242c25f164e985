"""Scenes with known poses, mapped by several mappers in turn, and what came of it as a table."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import PIL.Image
import torch

from photoglue.datasets.cameras import read_cameras
from photoglue.datasets.images import Images
from photoglue.datasets.scenes import find_scenes
from photoglue.decode import orientation_of
from photoglue.errors import ConfigError
from photoglue.evaluation.maps.colmap import Mapper
from photoglue.evaluation.maps.score import MapScore, TruePhoto, score_map
from photoglue.files import to_json, write_whole
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame
from photoglue.sfm.model import read_model

Intrinsics: TypeAlias = Literal["known", "unknown"]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being done, how much of it is done, how much there is)."""
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


def measure_maps(
    data: Sequence[Path],
    mappers: Mapping[str, Mapper],
    out: Path,
    *,
    intrinsics: Intrinsics = "unknown",
    progress: Progress = lambda what, done, total: None,  # noqa: ARG005
) -> list[MapResult]:
    """Map scenes with known poses by all mappers, and measure the models against these.

    Args:
        data: Folders with ``images/`` and ``cameras.json``, or folders of such folders.
        mappers: Name → mapper, such as ``{"colmap": ColmapSift()}``.
        out: A folder: ``SCENE.MAPPER/`` has the mapper's files, which are made anew, and ``maps.json`` and ``maps.md``
            all results.
        intrinsics: Whether mappers are told the true cameras.
        progress: Called with how far the work is.

    Returns:
        For each scene the results of the mappers, in order.

    Raises:
        ConfigError: If a folder holds no scene, or its truth makes no sense.
        ImageError: If a photo is missing or cannot be read.
        OutputError: If a file cannot be written.
        MissingExtra: If pycolmap is not installed.
    """
    scenes = [scene for folder in data for scene in find_scenes(folder)]
    results: list[MapResult] = []
    out.mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        truth, cameras = read_truth(scene)
        for name, mapper in mappers.items():
            progress(f"{scene.name}, {name}", len(results), len(scenes) * len(mappers))
            place = out / f"{scene.name}.{name}"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            run = mapper(scene / "images", place, cameras if intrinsics == "known" else None)
            model = None if run.model is None else read_model(run.model)
            score = score_map(model, truth)
            results.append(
                MapResult(
                    scene=scene.name, mapper=name, intrinsics=intrinsics, score=score, cpu_seconds=run.cpu_seconds
                )
            )
            write_whole(out / "maps.json", to_json(results, indent=1).encode())
            write_whole(out / "maps.md", table_of(results).encode())
    return results


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


def table_of(results: Sequence[MapResult]) -> str:
    """The results as a table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---" + "|---:" * (len(COLUMNS) - 2) + "|"]
    for result in results:
        score, seconds = result.score, result.cpu_seconds
        stages = ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items())
        cells = (
            f"{result.scene} (K {result.intrinsics})",
            result.mapper,
            f"{score.placed}/{score.photos}",
            f"{score.position:.4g}",
            f"{score.position_worst:.4g}",
            f"{score.rotation_deg:.3f}",
            f"{score.points:,}",
            f"{score.track:.2f}",
            f"{score.error_px:.2f}",
            f"{sum(seconds.values()):.1f} ({stages})",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
