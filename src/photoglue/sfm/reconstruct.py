"""A COLMAP database → models in out/sparse, the largest as sparse/0; done once, and again only if something changed."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from photoglue.errors import ConfigError, OutputError
from photoglue.files import as_json, digest_of_file, from_json, to_json, write_whole
from photoglue.solvers.colmap_facts import ColmapModel, check_extendable, model_facts
from photoglue.solvers.colmap_mapping import MapperOptions, map_photos

RECORD = "made_from.json"
"""File beside the models that says what they were made from."""
VERSION = 6


@dataclass(frozen=True, kw_only=True)
class MadeFrom:
    """What the models of a folder were made from."""

    version: int
    database: str
    """Digest of the database as it was written."""
    options: dict[str, Any]
    """Options of the mapper that the models depend on."""
    extended: bool
    """Whether an older model was extended."""
    finished: bool
    """Whether the mapping came to its end."""


def reconstruct(
    database: str | os.PathLike[str],
    photos: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    options: MapperOptions | None = None,
    extend: bool = False,
    progress: Callable[[int], None] | None = None,
) -> tuple[ColmapModel, ...]:
    """Places photos and points, given verified matches; the models are put into out/sparse, the largest as sparse/0.

    If they are there already, made from the same database with the same options, they stay as they are. The database
    is not changed: COLMAP works on a copy. After Ctrl-C the photos that were placed until then are in out/sparse, if
    there was no finished model; the same call begins the mapping anew, unless there are snapshots to go on from.

    Args:
        database: The COLMAP database of ``write_database``.
        photos: The folder that the names in it are relative to.
        out: The folder to put sparse/ into; made if need be.
        options: How photos are placed; None: the defaults.
        extend: Add to the model in out/sparse/0 instead of beginning anew. The numbers of its photos in the database
            must be those in the model (``first`` of ``write_database``).
        progress: Called with the number of photos that are placed.

    Returns:
        The models, the largest first; none if no two photos could be placed.

    Raises:
        ConfigError: If there is no model to extend, photos in it were changed since, or pycolmap is too old.
        OutputError: If a file cannot be read or written.
        PhotoGlueError: If COLMAP fails.
        MissingExtra: If pycolmap is not installed.
    """
    options, out, database = options or MapperOptions(), Path(out), Path(database)
    sparse, work = out / "sparse", out / "sparse.partial"
    now = _record(database, options, extend)
    if made_from(sparse) == now:
        return models_in(sparse)
    start = sparse / "0" if extend else None
    if start is not None and not start.is_dir():
        raise ConfigError(f"There is no model {str(start)!r} to extend; leave out --extend (extend=False).")
    if start is not None:
        check_extendable(start, database)
    before = made_from(work)
    snapshots = sorted(path for path in (work / "snapshots").glob("*") if (path / "images.bin").is_file())
    if options.snapshot_photos and snapshots and before is not None and replace(before, finished=True) == now:
        start = _moved(snapshots[-1], out / "sparse.snapshot")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_whole(work / RECORD, to_json(replace(now, finished=False)).encode())
        copy = Path(shutil.copyfile(database, work / "database.db"))
    except OSError as error:
        raise OutputError(f"{str(work)!r} cannot be written: {error}.") from error
    try:
        found = map_photos(copy, Path(photos), work, options, start=start, progress=progress)
    except KeyboardInterrupt:
        old = made_from(sparse)
        if old is None or not old.finished:
            with suppress(OutputError):
                _put_in_place(work, sparse, _models_of(work), replace(now, finished=False), keep=work)
        raise
    _put_in_place(work, sparse, found, now)
    shutil.rmtree(out / "sparse.snapshot", ignore_errors=True)
    return models_in(sparse)


def models_in(sparse: Path) -> tuple[ColmapModel, ...]:
    """The models in a folder, in the order of their numbers.

    Raises:
        ConfigError: If one cannot be read.
    """
    return tuple(model_facts(path) for path in _models_of(sparse))


def made_from(folder: Path) -> MadeFrom | None:
    """What the models in a folder were made from; None: it does not say so, or is not there."""
    try:
        return from_json(MadeFrom, (folder / RECORD).read_bytes(), origin=str(folder / RECORD))
    except (OSError, ConfigError):
        return None


def _record(database: Path, options: MapperOptions, extend: bool) -> MadeFrom:
    try:
        digest = digest_of_file(database)
    except OSError as error:
        raise OutputError(f"The database {str(database)!r} cannot be read: {error.strerror}.") from error
    relevant = {name: value for name, value in asdict(options).items() if name not in ("threads", "snapshot_photos")}
    return MadeFrom(version=VERSION, database=digest, options=as_json(relevant), extended=extend, finished=True)


def _models_of(folder: Path) -> list[Path]:
    numbered = [path for path in folder.glob("[0-9]*") if path.name.isdigit() and (path / "images.bin").is_file()]
    return sorted(numbered, key=lambda path: int(path.name))


def _put_in_place(work: Path, sparse: Path, models: list[Path], record: MadeFrom, *, keep: Path | None = None) -> None:
    """Makes a new sparse/ of the models, the one with the most photos first, and exchanges it for the old one."""
    sized = [(model_facts(path), path) for path in models]
    order = sorted((model for model in sized if len(model[0].placed) > 1), key=_rank)
    # COLMAP keeps a pair that it began with elsewhere, though both photos found a place in the first model.
    order = order[:1] + [model for model in order[1:] if not set(model[0].placed) <= set(order[0][0].placed)]
    new, old = sparse.with_name("sparse.new"), sparse.with_name("sparse.old")
    try:
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)
        new.mkdir()
        for number, (_, path) in enumerate(order):
            shutil.copytree(path, new / str(number)) if keep else path.replace(new / str(number))
        write_whole(new / RECORD, to_json(record, indent=1).encode())
        if sparse.exists():
            sparse.replace(old)
        new.replace(sparse)
        shutil.rmtree(old, ignore_errors=True)
        if keep is None:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{str(sparse)!r} cannot be written: {error}.") from error


def _rank(model: tuple[ColmapModel, Path]) -> tuple[int, int, str]:
    return -len(model[0].placed), -model[0].points, model[0].placed[0]


def _moved(folder: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    return folder.replace(to)
