"""From a folder of photos to a model, stage by stage; each goes on where it was interrupted."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from photoglue import batch
from photoglue.datasets.photos import photos_of
from photoglue.errors import ConfigError, require
from photoglue.extractors.base import Extractor
from photoglue.files import as_json
from photoglue.matchers.base import Matcher
from photoglue.sfm.cameras import Cameras
from photoglue.sfm.database import write_database
from photoglue.sfm.folder import FORMAT, RunRecord, beside, prepare, write_record
from photoglue.sfm.loops import contradicted_pairs
from photoglue.sfm.matching import tools_of, verified_pairs
from photoglue.sfm.options import MapOptions
from photoglue.sfm.reconstruct import reconstruct
from photoglue.sfm.refine import refine_stored
from photoglue.sfm.stages import Progress, Stages
from photoglue.sfm.summary import MapSummary, deliver
from photoglue.sfm.unplaced import LOOK_ALIKE, PairRow, why_unplaced
from photoglue.solvers.colmap import pycolmap
from photoglue.solvers.colmap_facts import ColmapModel, numbers_in
from photoglue.version import __version__

Place: TypeAlias = str | os.PathLike[str]
FAILURES_TOLD = 5
"""Pairs that failed of which the notes give the reasons."""


def map_photos(
    photos: Place | Sequence[Place],
    out: Place,
    options: MapOptions | None = None,
    *,
    extractor: Extractor | None = None,
    matcher: Matcher | None = None,
    engine: batch.Engine | None = None,
    progress: Progress | None = None,
) -> MapSummary:
    """Makes a 3D model of photos: the place of each camera, and points; as ``photoglue map`` does.

    All files are in ``out``: features.h5, pairs.txt, matches.h5, verified.h5 (HDF5, in hloc's layouts where it has
    one), database.db and sparse/0, sparse/1, … (COLMAP's, the largest model first), report.html and run.json. If this
    is interrupted, even by ``kill -9``, the same call goes on from there and comes to the same model, byte for byte. If
    photos were added, replaced or removed since, only what depends on them is done again.

    Args:
        photos: A folder, or photos and folders.
        out: The folder for all files; made if need be.
        options: How it is done; None: the defaults.
        extractor: An extractor to use as it is, instead of the one that ``options`` name.
        matcher: A matcher to use as it is, instead of the one that ``options`` name.
        engine: Where photos are extracted and pairs matched and verified; None: as ``jobs`` says.
        progress: Called with (stage, done, in all), often.

    Raises:
        ConfigError: If there are no photos, an option does not fit, or ``out`` holds something else.
        ImageError: If a file or folder of ``photos`` does not exist.
        OutputError: If a file cannot be written. What was done is kept.
        MissingExtra: If h5py, PoseLib or pycolmap is not installed.
    """
    options, out = options or MapOptions(), Path(out)
    _check(options, out)
    found = beside(out, photos_of([photos] if isinstance(photos, str | os.PathLike) else photos))
    record = RunRecord(
        format=FORMAT,
        photos=str(found.root.resolve()),
        names=found.names,
        settings=as_json(asdict(options)),
        version=__version__,
    )
    notes = prepare(out, found, record)
    stages = Stages(progress or (lambda *_: None))
    paths = {name: found.path(i) for i, name in enumerate(found.names)}
    failed = {photo.name: photo.reason for photo in found.skipped}
    engine = engine or (batch.Processes(workers=options.jobs) if options.jobs else batch.Inline())
    tools = tools_of(options, extractor, matcher, engine)
    rows, cameras, said, turns = verified_pairs(paths, out, options, tools, stages, failed)
    record = replace(record, **turns)
    write_record(out, record)
    if options.check_loops:
        rows, told = _checked(rows, out, cameras, stages)
        said += told
    models = _mapped(out, found.root, options, (cameras, rows), stages, engine)
    names = tuple(sorted({*paths, *failed}))
    unplaced = why_unplaced(names, models, rows, failed) if options.mapper is not None else {}
    summary = MapSummary(
        out=out,
        photos=found.root,
        names=names,
        cameras=cameras,
        models=models,
        pairs=rows,
        unplaced=unplaced,
        notes=(*notes, *said),
        seconds=stages.seconds,
        cpu_seconds=stages.cpu_seconds,
        settings=record.settings,
    )
    with stages("deliver"):
        summary = deliver(summary, options.deliver)
    write_record(out, replace(record, unplaced=unplaced, seconds=stages.seconds))
    return summary


def _check(options: MapOptions, out: Path) -> None:
    """Refuse what could not be done, before the work begins."""
    for package in ("h5py", "poselib"):
        require(package, extra="sfm")
    if options.mapper is not None:
        pycolmap()
    if options.extend and not (out / "sparse" / "0").is_dir():
        raise ConfigError(f"There is no model {str(out / 'sparse' / '0')!r} to extend; leave out --extend (extend).")


def _checked(
    rows: Sequence[PairRow], out: Path, cameras: Cameras, stage: Stages
) -> tuple[tuple[PairRow, ...], list[str]]:
    """The pairs with those of look-alikes called so, and sentences that name these."""
    with stage("loops"):
        pairs = [(row.name0, row.name1) for row in rows if row.good]
        found = contradicted_pairs(pairs, out / "features.h5", out / "verified.h5", cameras)
    gone = {(each.name0, each.name1) for each in found}
    said = [f"{len(found)} pair{'s' * (len(found) != 1)} of look-alikes dropped", *map(str, found[:FAILURES_TOLD])]
    return tuple(replace(row, kind=LOOK_ALIKE) if (row.name0, row.name1) in gone else row for row in rows), said


def _mapped(
    out: Path,
    root: Path,
    options: MapOptions,
    known: tuple[Cameras, Sequence[PairRow]],
    stage: Stages,
    engine: batch.Engine,
) -> tuple[ColmapModel, ...]:
    """Verified pairs → database and models."""
    cameras, rows = known
    model = out / "sparse" / "0"
    moved: Mapping[str, Tensor] = {}
    if options.preset == "best":
        good = [(row.name0, row.name1) for row in rows if row.good]
        photos = {name: root / name for pair in good for name in pair}
        stores = out / "features.h5", out / "verified.h5"
        with stage("refine") as told:
            moved = refine_stored(photos, *stores, good, resize=options.resize, engine=engine, progress=told)
    with stage("database"):
        write_database(
            out / "database.db",
            features=out / "features.h5",
            matches=out / "matches.h5",
            verified=out / "verified.h5",
            cameras=cameras,
            pairs=[(row.name0, row.name1) for row in rows if row.kind != LOOK_ALIKE],
            first=numbers_in(model) if options.extend and model.is_dir() else None,
            keypoints=moved,
        )
    mapper = options.mapper
    if mapper is None:
        return ()
    if options.cameras.intrinsics is not None:
        mapper = replace(mapper, refine_focal_length=False, refine_distortion=False, refine_principal_point=False)
    total = len({name for row in rows if row.good for name in (row.name0, row.name1)})
    with stage("map") as told:
        return reconstruct(
            out / "database.db",
            root,
            out,
            options=mapper,
            extend=options.extend,
            progress=lambda placed: told(min(placed, total), total),
        )
