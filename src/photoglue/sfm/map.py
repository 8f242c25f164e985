"""From a folder of photos to a model, stage by stage; each goes on where it was interrupted."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from torch import Tensor

from photoglue import batch
from photoglue.batch.extract import masks_in
from photoglue.datasets.photos import pairs_in, photos_of, write_pairs
from photoglue.errors import ConfigError, ImageError, require
from photoglue.export import named_matcher
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import is_class, named_extractor, source_digest
from photoglue.files import as_json
from photoglue.matchers.base import Matcher
from photoglue.pipeline import create_matcher
from photoglue.precision import choose_device
from photoglue.retrieval.vlad import VOCABULARY_OF_KIND
from photoglue.sfm.cameras import CameraOptions, Cameras, find_cameras
from photoglue.sfm.cascade import Cascade
from photoglue.sfm.database import write_database
from photoglue.sfm.folder import FORMAT, RunRecord, beside, names_unknown, prepare, turns_in, write_record
from photoglue.sfm.loops import contradicted_pairs
from photoglue.sfm.pairs import PairOptions, find_pairs
from photoglue.sfm.reconstruct import reconstruct
from photoglue.sfm.refine import refine_stored
from photoglue.sfm.stages import Progress, Stages
from photoglue.sfm.summary import Delivery, MapSummary, deliver
from photoglue.sfm.transitive import transitive_pairs
from photoglue.sfm.turns import Turns, groups_apart, question, told_turns
from photoglue.sfm.unplaced import LOOK_ALIKE, PairRow, rows_of, why_unplaced
from photoglue.sfm.verify import VerifyOptions, verify_matches
from photoglue.solvers.colmap import pycolmap
from photoglue.solvers.colmap_mapping import ColmapModel, MapperOptions, numbers_in
from photoglue.version import __version__

Place: TypeAlias = str | os.PathLike[str]
Pair: TypeAlias = tuple[str, str]
FAILURES_TOLD = 5
"""Pairs that failed of which the notes give the reasons."""


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """How photos become a model."""

    features: str = "aliked"
    """Name of the local features, or a class of your own as path/file.py:Class."""
    max_keypoints: int | None = 4096
    """At most so many points in each photo, the best; None: all."""
    resize: int | None = 1024
    """Length of the longer side that the extractor sees, pixels; None: the photo as it is."""
    ignore_alpha: bool = False
    """Keypoints also where a photo's own alpha channel is fully transparent."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially."""
    masks: Path | None = None
    """A folder with masks of the photos, as ``batch.extract`` takes it."""
    rotation: Literal["auto", "off"] = "auto"
    """"auto": photos that nothing connects with the others are looked at in four turns, and extracted again turned if
    one of them fits (``sfm/turns.py``). "off": photos are taken as they are."""
    matcher: str = "lightglue"
    """"lightglue", "nearest" (mutual nearest neighbours), or a file that ``photoglue export matcher`` wrote."""
    preset: Literal["default", "fast", "best"] = "default"
    """"default": LightGlue on all pairs. "fast": nearest neighbours where they are plainly enough, and LightGlue on the
    others. "best": as default, and keypoints are refined to fractions of a pixel."""
    pairs: Path | None = None
    """A text file with the pairs to match, two names in each line; None: those that ``by`` finds."""
    by: tuple[str, ...] = ("auto",)
    """Rules that find the pairs, as ``find_pairs`` has them."""
    pair_options: PairOptions = field(default_factory=PairOptions)
    """How many pairs the rules find."""
    cameras: CameraOptions = field(default_factory=CameraOptions)
    """What is known of the cameras."""
    verify: VerifyOptions = field(default_factory=VerifyOptions)
    """Which matches geometry accepts."""
    check_loops: bool = False
    """Drop verified pairs that the rotations of many others contradict: look-alikes, as ``contradicted_pairs`` finds
    them."""
    mapper: MapperOptions | None = field(default_factory=MapperOptions)
    """How photos are placed; None: stop at the database."""
    extend: bool = False
    """Add photos to the model that is there, instead of beginning a new one."""
    jobs: int = 0
    """Processes that extract, match and verify, on CPUs; 0: this one, with all its threads."""
    device: str | None = None
    """Device to compute on, such as "cpu" or "cuda:0"; None: a GPU if there is one, and no ``jobs``."""
    deliver: tuple[Delivery, ...] = ("report",)
    """What is made of the largest model: "report": report.html; "undistort": undistorted/images and
    undistorted/sparse/0, for 3DGS and gsplat; "nerfstudio": nerfstudio/transforms.json; "ply": points.ply; "text":
    text/*.txt."""


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
    turns, asked = turns_in(out, paths) if options.rotation == "auto" else ({}, "")
    tools = replace(_tools(options, extractor, matcher, engine), turns=turns)
    pairs, cameras, said = _matched(paths, out, options, tools, stages, failed)
    rows = rows_of(out / "verified.h5", pairs)
    if options.rotation == "auto" and len(groups_apart(rows)) > 1 and asked != question(out / "features.h5", rows):
        known, turns = turns, _turns(paths, rows, turns, options, tools, stages)
        if turns != known:
            tools = replace(tools, turns=turns)
            pairs, cameras, said = _matched(paths, out, options, tools, stages, failed)
            rows = rows_of(out / "verified.h5", pairs)
        record = replace(record, turns=turns, asked=question(out / "features.h5", rows))
        write_record(out, record)
    if turns:
        said.append(told_turns(turns))
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


@dataclass(frozen=True, kw_only=True)
class _Tools:
    """What works on photos and pairs, and where."""

    extractor: Extractor
    matcher: Matcher
    engine: batch.Engine
    own: Mapping[str, str | None]
    """What the features depend on besides: the source of a class of the user's."""
    turns: Mapping[str, int] = field(default_factory=dict)
    """By how many quarters photos are turned before the extractor sees them."""


def _tools(options: MapOptions, extractor: Extractor | None, matcher: Matcher | None, engine: batch.Engine) -> _Tools:
    device = choose_device("cpu" if engine.for_cpus and options.device is None else options.device)
    own = {"source": source_digest(options.features)} if extractor is None and is_class(options.features) else {}
    extractor = extractor or _extractor(options).to(device)
    matcher = matcher or _matcher(options, extractor.kind, device)
    return _Tools(extractor=extractor, matcher=matcher, engine=engine, own=own)


def _turns(
    paths: Mapping[str, Path],
    rows: Sequence[PairRow],
    known: Mapping[str, int],
    options: MapOptions,
    tools: _Tools,
    stage: Stages,
) -> dict[str, int]:
    """The photos that are turned against the others, those of an older run among them."""
    masks = {} if options.masks is None else masks_in(options.masks, list(paths))[0]
    with stage("turn") as told:
        turns = Turns(photos=paths, extractor=tools.extractor, matcher=tools.matcher, masks=masks)
        return turns.find(rows, known, told)


def _matched(
    paths: Mapping[str, Path],
    out: Path,
    options: MapOptions,
    tools: _Tools,
    stage: Stages,
    failed: dict[str, str],
) -> tuple[list[Pair], Cameras, list[str]]:
    """Photos → verified pairs, and the cameras of the photos that can be read; ``failed`` gets those that cannot."""
    engine, extractor = tools.engine, tools.extractor
    with suppress(ImageError):  # what is wrong with the options is said before the work
        find_cameras(dict(list(paths.items())[:1]), options.cameras)
    unknown = names_unknown(options.pairs, {*paths, *failed})
    with stage("extract") as told:
        extracted = batch.extract(
            paths,
            out / "features.h5",
            extractor,
            masks=options.masks,
            quarters=tools.turns,
            options=tools.own,
            engine=engine,
            progress=told,
        )
    failed |= extracted.failed
    usable = {name: path for name, path in paths.items() if name not in extracted.failed}
    cameras = find_cameras(usable, options.cameras)
    with stage("pairs") as told:
        pairs = _pairs(out, usable, options, extractor.kind, told)
    matched, verified = _compared(pairs, cameras, out, options, tools, stage)
    if options.pairs is None and len(pairs) < math.comb(len(usable), 2):
        more = transitive_pairs(rows_of(out / "verified.h5", pairs), pairs, options.pair_options.transitive)
        if more:
            pairs = sorted({*pairs, *more})
            write_pairs(pairs, out / "pairs.txt")
            matched, verified = _compared(pairs, cameras, out, options, tools, stage)
    said = [*unknown, *extracted.lines(), *matched.lines(), *verified.lines()]
    bad = {**verified.failed, **matched.failed}
    said += [f"{pair}: {reason}" for pair, reason in list(bad.items())[:FAILURES_TOLD]]
    return pairs, cameras, [*said, f"{len(bad)} pairs failed"] if bad else said


def _compared(
    pairs: Sequence[Pair], cameras: Cameras, out: Path, options: MapOptions, tools: _Tools, stage: Stages
) -> tuple[batch.Summary, batch.Summary]:
    """Pairs → matches → verified pairs."""
    stores = out / "features.h5", out / "matches.h5"
    with stage("match") as told:
        matched = batch.match(pairs, *stores, tools.matcher, engine=tools.engine, progress=told)
    with stage("verify") as told:
        verified = verify_matches(
            pairs,
            *stores,
            out / "verified.h5",
            cameras,
            options=options.verify,
            engine=tools.engine,
            progress=told,
        )
    return matched, verified


def _extractor(options: MapOptions) -> Extractor:
    return named_extractor(
        options.features,
        allow_noncommercial=options.allow_noncommercial,
        max_keypoints=options.max_keypoints,
        resize=options.resize,
        ignore_alpha=options.ignore_alpha,
    )


def _matcher(options: MapOptions, kind: str, device: Any) -> Matcher:
    other = named_matcher(options.matcher)
    if other is not None:
        return other
    lightglue = create_matcher(kind, None, None, device, "auto")
    return Cascade(lightglue, resize=options.resize) if options.preset == "fast" else lightglue


def _pairs(
    out: Path, photos: Mapping[str, Path], options: MapOptions, kind: str, told: Callable[[int, int], None]
) -> list[Pair]:
    """The pairs to match, which are written to pairs.txt."""
    if options.pairs is not None:
        pairs = [pair for pair in pairs_in(options.pairs) if photos.keys() >= set(pair) and pair[0] != pair[1]]
    elif len(photos) < 2:
        pairs = []
    else:
        known = out / "features.h5" if kind in VOCABULARY_OF_KIND else None
        pairs = find_pairs(photos, by=options.by, features=known, options=options.pair_options, progress=told)
        pairs = sorted((min(pair), max(pair)) for pair in pairs)
    write_pairs(pairs, out / "pairs.txt")
    return pairs


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
