"""COLMAP's mappers through pycolmap: from a database to models."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Literal, TypeAlias

from photoglue.errors import ConfigError, OutputError, PhotoGlueError
from photoglue.solvers.colmap import pycolmap
from photoglue.solvers.colmap_adjust import adjust_robustly
from photoglue.solvers.colmap_facts import has_depth, opened, photos_placed
from photoglue.solvers.colmap_principal import shift_principal_points

PAIR_BASE = 2**31 - 1
"""The number of a pair in a database is this times that of its first image, and that of its second one."""

ROOM = 64 << 10
"""Bytes: with less free, what COLMAP fails at is writing; it seldom says so, and never says it of models."""

FEW = 0.8
"""Share of the photos with verified pairs: if the largest model has fewer, they are mapped anew, beginning with two of
which one may lie ahead of the other."""
AHEAD: Mapping[str, float] = MappingProxyType({"init_max_forward_motion": 1.0, "init_min_tri_angle": 4.0})
"""What COLMAP then asks of the first two photos; else at most 0.95 of the way between them is forward, and 16
degrees."""

MapperName: TypeAlias = Literal["incremental", "global"]
Progress: TypeAlias = Callable[[int], None]
"""Is told how many photos are placed."""


@dataclass(frozen=True, kw_only=True)
class MapperOptions:
    """How COLMAP places photos."""

    mapper: MapperName = "incremental"
    """Photo by photo, or all at once (GLOMAP, in pycolmap 4 or newer), which is faster for thousands of photos."""
    seed: int = 0
    """Seed of all random choices: with one thread, the same photos give the same bytes."""
    refine_focal_length: bool = True
    """Improve focal lengths; those of cameras that the user gave are kept."""
    refine_distortion: bool = True
    """Improve the distortion of cameras that the user did not give."""
    refine_principal_point: bool = False
    """Improve principal points, too, from the beginning on; for many photos from all around only."""
    shift_principal_point: bool = True
    """Move principal points from the middle in the end, as far as the photos tell where they are; those of cameras that
    the user gave are kept. It needs ``robust``."""
    robust: bool = True
    """Adjust each model once more at the end, with a loss in which gross errors weigh little (COLMAP has none)."""
    min_model_photos: int = 3
    """A model of fewer photos is none."""
    snapshot_photos: int = 0
    """Keep the model each time so many photos were added, and go on from there after an interruption; 0: never."""
    threads: int = 1
    """Threads; -1: all. More than one are faster for hundreds of photos, but bytes may differ each time."""


def map_photos(
    database: Path,
    photos: Path,
    out: Path,
    options: MapperOptions,
    *,
    start: Path | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Maps the photos of a COLMAP database; each model is in a folder of its own, out/0, out/1, ….

    If focal lengths are guessed, and photos with verified pairs find no place, they are mapped once more with the
    guesses held until the end, because a focal length may run away in a model of few photos; the larger model counts.
    If many still find none, the model may begin with two photos of which one was taken ahead of the other, as in a walk
    along a street, where COLMAP finds no other first pair.

    If this is interrupted by Ctrl-C, the models as they are then are written, and the exception goes on. The database
    is changed: newer versions of COLMAP upgrade it.

    Args:
        database: The database.
        photos: The folder that names of photos are relative to; colors are read there.
        out: An existing folder.
        options: How photos are placed.
        start: A model to extend, whose photos have the same numbers in the database; None: begin anew.
        progress: Called with the number of photos that are placed.

    Returns:
        Folders of the models, in the order in which they were found. Those without depth, whose photos a camera took
        that only turned, are none.

    Raises:
        ConfigError: If this pycolmap cannot do it.
        OutputError: If a file cannot be written, as when the disk is full.
        PhotoGlueError: If COLMAP fails.
        MissingExtra: If pycolmap is not installed.
    """
    try:
        return _mapped(pycolmap(), (database, photos, out), options, start, progress)
    except PhotoGlueError:
        raise
    except (RuntimeError, ValueError, OSError, sqlite3.Error) as error:
        if shutil.disk_usage(out).free < ROOM or "disk is full" in str(error):
            room = "Make room and run the same again: it goes on from here."
            raise OutputError(f"COLMAP cannot write to {str(out)!r}: the disk is full. {room}") from error
        raise PhotoGlueError(f"COLMAP could not map the photos: {error}") from error


def _mapped(
    module: ModuleType,
    places: tuple[Path, Path, Path],
    options: MapperOptions,
    start: Path | None,
    progress: Progress | None,
) -> list[Path]:
    database, photos, out = places
    guessed = options.refine_focal_length and start is None and _guessed(database)
    held = out / "held"
    if guessed and options.mapper == "incremental":
        held.mkdir()
        shutil.copyfile(database, held / "database.db")
    if guessed and hasattr(module, "calibrate_view_graph"):
        _calibrate(module, database, options)
    if options.mapper == "global":
        return _global(module, database, photos, out, options)
    found = _incremental(module, places, options, (start, progress))
    if guessed and _size(found)[0] < _linked(database):
        calm = replace(options, refine_focal_length=False, refine_distortion=False, robust=False, snapshot_photos=0)
        again = _incremental(module, (held / "database.db", photos, held), calm, (None, progress))
        models = {path: opened(path) for path in again}
        for model in models.values():
            _adjust(module, model, replace(options, robust=True))
        again = [_written(model, path) for path, model in models.items() if has_depth(model)]
        found = max(found, again, key=_size)
    if start is None and _size(found)[0] < FEW * _linked(database):
        ahead = out / "ahead"
        ahead.mkdir()
        quiet = replace(options, snapshot_photos=0)
        again = _incremental(module, (database, photos, ahead), quiet, (None, progress), first=AHEAD)
        found = max(found, again, key=_size)
    return found


def _guessed(database: Path) -> bool:
    """Whether the focal length of a camera is a mere guess."""
    return database.is_file() and _count(database, "cameras WHERE prior_focal_length = 0") > 0


def _size(models: Sequence[Path]) -> tuple[int, int]:
    """Photos and points of the largest of some models."""
    sizes = [(photos_placed(model), int(model.num_points3D())) for model in map(opened, models)]
    return max(sizes, default=(0, 0))


def _linked(database: Path) -> int:
    """Photos that have a verified pair."""
    with closing(sqlite3.connect(database)) as base:
        pairs = base.execute("SELECT pair_id FROM two_view_geometries WHERE rows > 0").fetchall()
    return len({number for (pair,) in pairs for number in divmod(pair, PAIR_BASE)})


def _calibrate(module: ModuleType, database: Path, options: MapperOptions) -> None:
    """Replaces guessed focal lengths by those that the fundamental matrices tell (pycolmap 4).

    From a focal length that is a third off, COLMAP often finds no first pair, or a wrong one.
    """
    settings = module.ViewGraphCalibrationOptions()
    _set(settings, {"random_seed": options.seed})
    module.calibrate_view_graph(os.fspath(database), settings)


def _count(database: Path, rows: str) -> int:
    with closing(sqlite3.connect(database)) as base:
        return int(base.execute(f"SELECT count(*) FROM {rows}").fetchone()[0])


def _incremental(
    module: ModuleType,
    places: tuple[Path, Path, Path],
    options: MapperOptions,
    run: tuple[Path | None, Progress | None],
    first: Mapping[str, float] | None = None,
) -> list[Path]:
    database, photos, out = places
    start, progress = run
    _need(module, "IncrementalPipeline", "incremental mapping that can be interrupted")
    settings = _settings(module, places, options)
    _set(settings.mapper, first or {})
    manager = module.ReconstructionManager()
    if start is not None:
        manager.read(os.fspath(start))

    def told() -> None:
        if progress is not None:
            progress(sum(photos_placed(manager.get(i)) for i in range(manager.size())))

    try:
        pipeline = module.IncrementalPipeline(settings, os.fspath(photos), os.fspath(database), manager)
    except TypeError:  # since 4.2
        pipeline = module.IncrementalPipeline(settings, module.Database.open(os.fspath(database)), manager)
    events = getattr(module, "IncrementalPipelineCallback", None) or module.IncrementalMapperCallback
    for event in ("INITIAL_IMAGE_PAIR_REG_CALLBACK", "NEXT_IMAGE_REG_CALLBACK"):
        pipeline.add_callback(getattr(events, event), told)
    try:
        pipeline.run()
        for i in range(manager.size()):
            _adjust(module, manager.get(i), options)
    finally:
        every = {out / str(i): manager.get(i) for i in range(manager.size())}
        models = [_written(model, path) for path, model in every.items() if has_depth(model)]
    return models


def _settings(module: ModuleType, places: tuple[Path, Path, Path], options: MapperOptions) -> Any:
    """COLMAP's own options of incremental mapping."""
    database, photos, out = places
    settings = module.IncrementalPipelineOptions()
    snapshots = out / "snapshots"
    if options.snapshot_photos:
        snapshots.mkdir(exist_ok=True)
    values = {
        "random_seed": options.seed,
        "num_threads": options.threads,
        "min_model_size": options.min_model_photos,
        **{f"ba_{name}": value for name, value in _refined(options).items()},
        "image_path": os.fspath(photos),
        "snapshot_path": os.fspath(snapshots),
        "snapshot_frames_freq": options.snapshot_photos,
        "snapshot_images_freq": options.snapshot_photos,
    }
    _set(settings, values)
    _set(settings.mapper, {**values, "abs_pose_refine_focal_length": options.refine_focal_length})
    _set(settings.mapper, {"abs_pose_refine_extra_params": options.refine_distortion})
    # Otherwise COLMAP makes no points of what only two photos see: none at all, if there are no more.
    _set(settings.triangulation, {**values, "ignore_two_view_tracks": _count(database, "images") > 2})
    return settings


def _refined(options: MapperOptions) -> dict[str, bool]:
    """What a bundle adjustment improves of cameras."""
    return {
        "refine_focal_length": options.refine_focal_length,
        "refine_principal_point": options.refine_principal_point,
        "refine_extra_params": options.refine_distortion,
    }


def _adjust(module: ModuleType, model: Any, options: MapperOptions) -> None:
    done = options.robust and adjust_robustly(module, model, _refined(options), options.threads)
    if done and options.shift_principal_point and options.refine_focal_length and not options.refine_principal_point:
        shift_principal_points(module, model, _refined(options), options.threads)


def _global(module: ModuleType, database: Path, photos: Path, out: Path, options: MapperOptions) -> list[Path]:
    _need(module, "global_mapping", "global mapping")
    settings = module.GlobalPipelineOptions()
    values = {"random_seed": options.seed, "num_threads": options.threads, "min_model_size": options.min_model_photos}
    _set(settings, values)
    for part in (settings.mapper, settings.mapper.rotation_averaging, settings.mapper.global_positioning):
        _set(part, values)
    _set(settings.mapper.retriangulation, values)
    _set(settings.mapper.bundle_adjustment, _refined(options))
    found = module.global_mapping(os.fspath(database), os.fspath(photos), os.fspath(out), settings)
    for model in found.values():
        _adjust(module, model, options)
    return [_written(model, out / str(number)) for number, model in sorted(found.items()) if has_depth(model)]


def _written(model: Any, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    model.write(os.fspath(folder))
    return folder


def _set(options: Any, values: Mapping[str, Any]) -> None:
    """Sets those values that this version of COLMAP has."""
    for name, value in values.items():
        if hasattr(options, name):
            setattr(options, name, value)


def _need(module: ModuleType, capability: str, what: str) -> None:
    if not hasattr(module, capability):
        raise ConfigError(
            f"This pycolmap ({module.__version__}) has no {capability}, which {what} needs. Update it: "
            "pip install --upgrade pycolmap"
        )
