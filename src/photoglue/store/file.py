"""One HDF5 file: opened, checked, added to group by group, and put in place when it is whole."""

import json
import os
import shutil
import warnings
from abc import ABC
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import numpy as np

from photoglue.errors import ConfigError, OutputError, PhotoGlueError, PhotoGlueWarning, require
from photoglue.files import check_name
from photoglue.store.undo import UndoableFile, log_path, roll_back, uninterrupted

VERSION = 1
UNFINISHED = ".photoglue-unfinished"
"""Where a group is written before it is moved into place."""
MADE_FROM = "made_from"
"""The attribute of a group with what its content was made from, as JSON."""

Mode: TypeAlias = Literal["r", "a", "w"]
AnyStore = TypeVar("AnyStore", bound="Store")
# What h5py raises when a file is damaged, gone, or full, and what follows if something in it is of another type.
FAILURES = (OSError, LookupError, ValueError, RuntimeError, TypeError, AttributeError, OverflowError)


class _UnreadableError(OutputError):
    """The file cannot be opened although nobody else uses it."""


class Store(ABC):
    """An open HDF5 file; close it, or use it as a context manager."""

    format: ClassVar[str]

    def __init__(self, path: Path, file: Any, undo: UndoableFile | None) -> None:
        self.path = path
        self._file = file
        self._undo = undo

    @classmethod
    def open(
        cls: type[AnyStore],
        path: str | os.PathLike[str],
        mode: Mode = "r",
        *,
        options: Mapping[str, Any] | None = None,
    ) -> AnyStore:
        """The store in a file.

        Args:
            path: Of the file; its folder exists.
            mode: "r" reads, "a" reads and adds (a new file if there is none), "w" begins with an empty file.
            options: What makes the content, as JSON can say it: kept in a new file, compared with those of an old one.

        Raises:
            ConfigError: If the file was made with other options; the message names the differences.
            OutputError: If it cannot be opened, is damaged, or holds something else.
            MissingExtra: If h5py is not installed.
        """
        path = Path(path)
        store = cls(path, *_open_file(path, mode))
        try:
            store._prepare(mode, None if options is None else _as_json(options))
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Ends the work with the file; more than once does no harm."""
        with explained(f"{str(self.path)!r} cannot be closed properly (is the disk full?)"), uninterrupted():
            self._file.close()
            if self._undo is not None:
                self._undo.close()

    def commit(self) -> None:
        """Makes what was written safe: whoever opens the file after this process was killed finds it."""
        self._file.flush()
        if self._undo is not None:
            self._undo.commit()

    def __enter__(self: AnyStore) -> AnyStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def options(self) -> dict[str, Any] | None:
        """What made the content; None in files of hloc."""
        text = self._file.attrs.get("options")
        return None if text is None else dict(json.loads(text))

    def _prepare(self, mode: Mode, options: dict[str, Any] | None) -> None:
        with explained(f"{str(self.path)!r} is damaged", _UnreadableError):
            found = str(self._file.attrs.get("format", self.format))
            version = int(self._file.attrs.get("version", VERSION))
            empty = len(self._file) == 0 and "format" not in self._file.attrs
            recorded = self.options
        if found != self.format:
            raise OutputError(f"{str(self.path)!r} holds {found!r}; {self.format!r} was wanted.")
        if version > VERSION:
            raise OutputError(
                f"{str(self.path)!r} has format version {version}, and this PhotoGlue knows {VERSION}. Update it."
            )
        known = recorded is not None and options is not None and self.fits(recorded, options)
        if not empty and options is not None and not known:
            raise ConfigError(_differences(self.path, recorded, options))
        if mode == "r":
            return
        with explained(f"{str(self.path)!r} is damaged", _UnreadableError), uninterrupted():
            if empty or recorded != (options or recorded):
                about = {"format": self.format, "version": VERSION, "options": json.dumps(options or {})}
                self._file.attrs.update(about)
                self.commit()
            if UNFINISHED in self._file:
                del self._file[UNFINISHED]

    @classmethod
    def fits(cls, recorded: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
        """Whether a file made with the options ``recorded`` may be added to with ``options``."""
        return recorded == options

    def _check(self) -> None:
        """Walks through all groups, and closes the file."""
        with self:
            self.names_with("")

    def names_with(self, dataset: str) -> list[str]:
        """The groups that hold ``dataset``, sorted."""
        paths: list[str] = []
        with explained(f"{str(self.path)!r} is damaged", _UnreadableError):
            self._file.visit(paths.append)
            ending = f"/{dataset}"
            return sorted(  # names that are not UTF-8 are bytes, and no text can be looked for in them
                path.removesuffix(ending) for path in paths if path.endswith(ending) and not path.startswith(UNFINISHED)
            )

    def holds(self, name: str, dataset: str) -> bool:
        """Whether the group ``name`` has that dataset."""
        with explained(f"{str(self.path)!r} is damaged"):
            return bool(name.strip("/")) and name in self._file and f"{name}/{dataset}" in self._file

    def refuse_incomplete(self, name: str, dataset: str) -> None:
        """Raises OutputError if something is stored under ``name``, but not the dataset that must be there."""
        h5py = require("h5py", extra="store")
        with explained(f"{name!r} in {str(self.path)!r} is damaged"):
            item = self._file.get(name) if name.strip("/") else None
            if isinstance(item, h5py.Group) and any(isinstance(part, h5py.Dataset) for part in item.values()):
                raise OutputError(f"{name!r} in {str(self.path)!r} is not complete or damaged: it has no {dataset!r}.")

    def read_group(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Datasets and attributes of a group."""
        with explained(f"{name!r} in {str(self.path)!r} is damaged"):
            h5py = require("h5py", extra="store")
            group = self._file[name]
            arrays = {key: np.asarray(item[()]) for key, item in group.items() if isinstance(item, h5py.Dataset)}
            return arrays, dict(group.attrs)

    def made_from(self, name: str) -> dict[str, Any] | None:
        """What the writer recorded that a group was made from; None: nothing."""
        with explained(f"{name!r} in {str(self.path)!r} is damaged"):
            text = self._file[name].attrs.get(MADE_FROM)
            return None if text is None else dict(json.loads(text))

    def write_group(
        self,
        name: str,
        arrays: Mapping[str, np.ndarray],
        attributes: Mapping[str, Any],
        made_from: Mapping[str, Any] | None = None,
    ) -> None:
        """Puts a whole group in place, instead of any of that name, or raises and leaves all as it was."""
        if not name.strip("/") or name.strip("/").startswith(UNFINISHED):
            raise OutputError(
                f"Nothing can be stored under the name {name!r}; use the path of the image in its folder."
            )
        record = {} if made_from is None else {MADE_FROM: json.dumps(_as_json(made_from))}
        failure = f"{name!r} cannot be written to {str(self.path)!r} (is it open to write, is the disk full?)"
        with explained(failure), uninterrupted():
            if self._undo is not None:
                self._undo.reserve(sum(array.nbytes for array in arrays.values()))
            self._make_room(name)
            group = self._file.create_group(UNFINISHED)
            for key, array in arrays.items():
                if array.size:  # in one piece with a checksum: flipped bits would pass for other numbers
                    group.create_dataset(key, data=array, chunks=array.shape, fletcher32=True)
                else:
                    group.create_dataset(key, data=array)
            group.attrs.update({**attributes, **record})
            if name in self._file:
                del self._file[name]
            self._file.move(UNFINISHED, name)
            self.commit()

    def _make_room(self, name: str) -> None:
        """Checks that nothing else would go with the old group of that name; removes what a failed write left."""
        h5py = require("h5py", extra="store")
        old = self._file.get(name)
        if isinstance(old, h5py.Dataset) or (old and any(isinstance(item, h5py.Group) for item in old.values())):
            raise OutputError(f"{name!r} cannot be written to {str(self.path)!r}: it is a folder of others there.")
        if UNFINISHED in self._file:
            del self._file[UNFINISHED]


def partial_path(path: Path) -> Path:
    """Where ``atomic_store`` works on a file.

    Raises:
        OutputError: If no file can have that name.
    """
    partial = path.with_name(path.name + ".partial")
    check_name(log_path(partial))  # the longest name that is needed
    return partial


@contextmanager
def atomic_store(
    path: str | os.PathLike[str], options: Mapping[str, Any], store: type[AnyStore], *, overwrite: bool = False
) -> Iterator[AnyStore]:
    """A store to add to, which appears under ``path`` only when all is done, and goes on where it was interrupted.

    The work is done on ``path`` + ".partial": what an interrupted run left there, else a copy of ``path``, else a new
    file. It stays there if an error leaves the block.

    Args:
        path: Of the finished file; its folder exists.
        options: What makes the content; a file made with others is not added to.
        store: ``FeatureStore`` or ``MatchStore``.
        overwrite: Begin with an empty file, whatever there is.

    Raises:
        ConfigError: If ``path`` or what was left there was made with other options; the message names them.
        OutputError: If it cannot be written, or ``path`` is damaged.
    """
    path = Path(path)
    partial = partial_path(path)
    if path.exists() and not overwrite:
        store.open(path, "r", options=options).close()
    with _resumed(path, partial, options, store, overwrite) as opened:
        yield opened
    with explained(f"{str(path)!r} cannot be written; the work is kept in {str(partial)!r}"):
        partial.replace(path)


def _resumed(path: Path, partial: Path, options: Mapping[str, Any], store: type[AnyStore], overwrite: bool) -> AnyStore:
    """The store in ``partial``, opened to add to it."""
    if overwrite:
        return store.open(partial, "w", options=options)
    if partial.exists():
        try:
            store.open(partial, "r", options=options)._check()
            return store.open(partial, "a", options=options)
        except _UnreadableError:
            if partial.exists():  # else nothing had been committed to it, and it was undone
                message = f"{str(partial)!r}, left by an interrupted run, cannot be read: it begins anew."
                warnings.warn(message, PhotoGlueWarning, stacklevel=4)
                partial.unlink()
    if path.exists():
        with explained(f"{str(path)!r} cannot be copied to {str(partial)!r}, to add to it"):
            try:
                shutil.copyfile(path, partial)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
    return store.open(partial, "a", options=options)


def _open_file(path: Path, mode: Mode) -> tuple[Any, UndoableFile | None]:
    """The file for h5py, and, if it is to be written, what undoes what a killed process leaves half done."""
    h5py = require("h5py", extra="store")
    shown = str(path)
    if path.is_dir():
        raise OutputError(f"{shown!r} is a folder; a file was wanted.")
    if mode == "r" and not path.exists():
        raise OutputError(f"There is no file {shown!r}.")
    if not path.parent.is_dir():
        raise OutputError(f"{shown!r} cannot be written: there is no folder {str(path.parent)!r}. Create it first.")
    try:
        if mode == "w":  # HDF5 empties an existing file before it finds that another process has it open
            path.unlink(missing_ok=True)
        roll_back(path)
        if mode == "r":
            return h5py.File(path, "r"), None
        return _open_to_write(path)
    except PhotoGlueError:
        raise
    except BlockingIOError as error:
        raise OutputError(f"{shown!r} is in use by another process: wait for it, or give another path.") from error
    except PermissionError as error:
        raise OutputError(f"{shown!r} must not be {'read' if mode == 'r' else 'written'}: no permission.") from error
    except FAILURES as error:
        what = "is not an HDF5 file, or it is damaged" if path.exists() else "cannot be created"
        raise _UnreadableError(f"{shown!r} {what} ({_one_line(error)}). Move it away or give another path.") from error


def _open_to_write(path: Path) -> tuple[Any, UndoableFile]:
    h5py = require("h5py", extra="store")
    new = not path.exists()
    undo = UndoableFile(path, "x+b" if new else "r+b")
    try:
        with uninterrupted():
            return h5py.File(undo, "w" if new else "r+"), undo
    except BaseException:
        undo.close()
        raise


@contextmanager
def explained(message: str, kind: type[OutputError] = OutputError) -> Iterator[None]:
    """What h5py or the system raises, as an error of this package."""
    try:
        yield
    except PhotoGlueError:
        raise
    except FAILURES as error:
        raise kind(f"{message}: {_one_line(error)}.") from error


def _one_line(error: Exception) -> str:
    """The message of an error; HDF5's have the time of day in a line of its own."""
    return " ".join(str(error).split())


def _as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as they are after a way through JSON: tuples are lists, paths are texts."""
    return dict(json.loads(json.dumps(dict(options), default=str)))


def _differences(path: Path, recorded: dict[str, Any] | None, wanted: dict[str, Any]) -> str:
    """A sentence for people."""
    advice = "Give another path, or remove the file."
    if recorded is None:
        return f"{str(path)!r} does not say with which options it was made (hloc's files do not). {advice}"
    there, here = _flat(recorded), _flat(wanted)
    lines = [
        f"{name}: {there.get(name, 'absent')!r} there, {here.get(name, 'absent')!r} now"
        for name in sorted(there.keys() | here.keys())
        if there.get(name, "absent") != here.get(name, "absent")
    ]
    return f"{str(path)!r} was made with other options ({'; '.join(lines)}). {advice}"


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options under names joined by dots."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
