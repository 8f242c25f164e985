"""Features of many images in one HDF5 file, laid out for training: any image is read within a millisecond.

The points of all images lie back to back in a few long datasets, so that an image is one slice of each:

```
cache.h5    format = "photoglue-cache", version = 1, options = JSON, kind,
            committed = [images, points, notes, steps]
├── points/ keypoints N × 2 float32, descriptors N × d float16, scores N, [scales N, orientations N], what else the
│           writer knows of each point
├── images/ count M, size M × 2, what else the writer knows of each image
├── checks/ a number for each row of each array above, by which flipped bits are noticed
└── notes   lines of text
```

The file only grows. Rows beyond ``committed`` were being written when the process died, and are cut off by the next
one. (``photoglue.store`` keeps a group for each image instead: for few images with names, to be read by others.)
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Int64, Shaped, UInt32

from photoglue.errors import OutputError, ShapeError
from photoglue.store.file import Store, explained
from photoglue.store.undo import uninterrupted
from photoglue.structs import Features

CHUNK_ROWS = 16384
"""HDF5 stores so many rows together. A chunk of descriptors is then larger than HDF5's cache of chunks, which makes it
read just the rows that are asked for."""
NOTE_BYTES = 240
CHECKS = "checks"
"""The group with a number for each row of all arrays, by which flipped bits are noticed."""
POINT_ARRAYS = ("keypoints", "descriptors", "scores", "scales", "orientations")


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What is safely in a file."""

    images: int = 0
    points: int = 0
    notes: int = 0
    steps: int = 0
    """Pieces of work done, as the writer counts them; some may have given no image."""


@final
class CacheWriter(Store):
    """Adds to a cache; open it with ``store.atomic_store``, so that it appears when it is whole."""

    format = "photoglue-cache"
    _whole = False
    _checked = True

    @property
    def committed(self) -> Committed:
        """What is safely in the file: the work goes on from there."""
        with explained(f"{str(self.path)!r} is damaged"):
            return _committed(self._file)

    def append(
        self,
        features: Sequence[Features],
        *,
        steps: int,
        per_image: Mapping[str, np.ndarray] | None = None,
        per_point: Mapping[str, np.ndarray] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Adds images and makes them safe.

        Args:
            features: Of each image; all of one kind.
            steps: Added to ``committed.steps``.
            per_image: Further arrays by name, a row for each image. The same names and types each time.
            per_point: Further arrays by name, a row for each point of all these images, in their order.
            notes: Lines to keep, cut to 240 bytes.

        Raises:
            ShapeError: If an array has not as many rows as it must.
            OutputError: If they cannot be written. What was safe before still is.
        """
        points, images = _columns(features, per_image or {}, per_point or {})
        lines = np.array([note.encode()[:NOTE_BYTES] for note in notes], dtype=f"S{NOTE_BYTES}")
        arrays = [*points.values(), *images.values()]
        if self._undo is not None:
            self._undo.reserve(sum(array.nbytes + CHUNK_ROWS * array[:1].nbytes for array in arrays))
        with explained(f"{str(self.path)!r} cannot be written (is the disk full?)"), uninterrupted():
            before = self.committed
            self._cut_off(before)
            if features and "kind" not in self._file.attrs:
                self._file.attrs["kind"] = features[0].kind or ""
            for group, columns, start in (("points", points, before.points), ("images", images, before.images)):
                for name, column in columns.items():
                    self._add(f"{group}/{name}", column, start)
                    if self._checked:
                        self._add(f"{CHECKS}/{group}/{name}", row_checks(column), start)
            self._add("notes", lines, before.notes)
            after = [
                before.images + len(features),
                before.points + sum(len(each) for each in features),
                before.notes + len(lines),
                before.steps + steps,
            ]
            self._file.attrs.modify("committed", np.array(after, dtype=np.int64))
            self.commit()

    def _cut_off(self, committed: Committed) -> None:
        """Removes the rows that an interrupted run was writing; once."""
        if self._whole:
            return
        self._checked = committed.steps == 0 or CHECKS in self._file  # files of version 0.1.0 have none
        for group, rows in (("points", committed.points), ("images", committed.images)):
            for parent in (group, f"{CHECKS}/{group}"):
                for dataset in self._file.get(parent, {}).values():
                    dataset.resize(rows, axis=0)
        if "notes" in self._file:
            self._file["notes"].resize(committed.notes, axis=0)
        self._whole = True

    def _add(self, name: str, rows: np.ndarray, start: int) -> None:
        if name not in self._file:
            self._file.create_dataset(
                name,
                shape=(0, *rows.shape[1:]),
                maxshape=(None, *rows.shape[1:]),
                dtype=rows.dtype,
                chunks=(CHUNK_ROWS if name.startswith("points/") else 256, *rows.shape[1:]),
            )
        dataset = self._file[name]
        dataset.resize(start + len(rows), axis=0)
        dataset[start:] = rows


@final
class FeatureCache:
    """Reads a cache. Many processes may: each opens the file when it first reads from it."""

    def __init__(self, path: Path, committed: Committed, kind: str | None, images: Mapping[str, np.ndarray]) -> None:
        """Not for users: ``open`` makes caches."""
        self.path = path
        self.kind = kind
        """Kind of the features; None: unknown."""
        self.committed = committed
        self._images = images
        self._ends: Int64[np.ndarray, " m"] = np.cumsum(images["count"], dtype=np.int64)
        self._opened: tuple[int, Store, dict[str, Any]] | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, options: Mapping[str, Any] | None = None) -> "FeatureCache":
        """The cache in a file.

        Args:
            path: The file.
            options: Those with which it must have been made; None: any.

        Raises:
            ConfigError: If it was made with other options; the message names the differences.
            OutputError: If it is absent, damaged, or something else.
        """
        with CacheWriter.open(path, "r", options=options) as store, explained(f"{str(path)!r} is damaged"):
            file = store._file
            committed = _committed(file)
            images = {
                name: verified(dataset, slice(committed.images), file.get(f"{CHECKS}/images/{name}"))
                for name, dataset in file.get("images", {}).items()
            }
            kind = str(file.attrs.get("kind", "")) or None
        empty = {"count": np.zeros(0, np.int64), "size": np.zeros((0, 2), np.int64)}
        return cls(Path(path), committed, kind, images or empty)

    def __len__(self) -> int:
        """The number of images."""
        return len(self._ends)

    def per_image(self, name: str) -> np.ndarray:
        """One of the writer's arrays, a row for each image, or "count" (points) or "size" (width, height)."""
        return self._images[name]

    def has_per_image(self, name: str) -> bool:
        """Whether the writer kept an array of that name, a row for each image."""
        return name in self._images

    def notes(self) -> list[str]:
        """The writer's lines."""
        lines = self._open()[0]._file.get("notes")
        return [] if lines is None else [line.decode(errors="ignore") for line in lines[: self.committed.notes]]

    def features(self, index: int, *, first: int | None = None) -> Features:
        """The features of an image, in main memory, descriptors in single precision.

        Args:
            index: Number of the image.
            first: Only so many points, the first that were written; None: all.

        Raises:
            OutputError: If the file is damaged or gone.
        """
        rows = self._rows(index, first)
        with explained(f"image {index} of {str(self.path)!r} cannot be read"):
            points = self._open()[1]
            arrays: dict[str, Any] = {
                name: torch.from_numpy(verified(data, rows, checks))
                for name, (data, checks) in points.items()
                if name in POINT_ARRAYS
            }
            width, height = (int(length) for length in self._images["size"][index])
            descriptors = arrays.pop("descriptors").float()
            return Features.from_arrays(image_size=(width, height), descriptors=descriptors, kind=self.kind, **arrays)

    def per_point(self, name: str, index: int, *, first: int | None = None) -> np.ndarray:
        """One of the writer's arrays, a row for each point of an image."""
        with explained(f"image {index} of {str(self.path)!r} cannot be read"):
            data, checks = self._open()[1][name]
            return verified(data, self._rows(index, first), checks)

    def close(self) -> None:
        """Ends the work with the file in this process; the next read opens it again."""
        if self._opened is not None and self._opened[0] == os.getpid():
            self._opened[1].close()
        self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _rows(self, index: int, first: int | None) -> slice:
        end = int(self._ends[index])
        start = end - int(self._images["count"][index])
        return slice(start, end if first is None else min(end, start + first))

    def _open(self) -> tuple[Store, dict[str, Any]]:
        """The file, and its arrays of points with their checks."""
        # A forked process must not use its parent's file.
        if self._opened is None or self._opened[0] != os.getpid():
            store = CacheWriter.open(self.path, "r")
            file = store._file
            arrays = {
                name: (data, file.get(f"{CHECKS}/points/{name}")) for name, data in file.get("points", {}).items()
            }
            self._opened = (os.getpid(), store, arrays)
        return self._opened[1:]


def row_checks(rows: Shaped[np.ndarray, " n *shape"]) -> UInt32[np.ndarray, " n"]:
    """A number for each row that changes if any one bit of it does: the sum of its bytes, each times an odd number.

    HDF5's own checksums are of whole chunks, and would make it read thousands of rows for one image.
    """
    width = int(np.prod(rows.shape[1:], dtype=int)) * rows.dtype.itemsize
    content = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), width)
    factors = (np.arange(1, content.shape[1] + 1, dtype=np.uint32) * np.uint32(0x9E3779B1)) | np.uint32(1)
    return np.asarray(content.astype(np.uint32) @ factors + np.uint32(0x85EBCA6B))


def verified(data: Any, rows: slice, checks: Any) -> np.ndarray:
    """Rows of a dataset, compared with their numbers, if there are any.

    Raises:
        OutputError: If a row is not what was written.
    """
    found = np.asarray(data[rows])
    if checks is not None and len(found) and not np.array_equal(row_checks(found), checks[rows]):
        raise OutputError("its numbers are not those that were written")
    return found


def _committed(file: Any) -> Committed:
    images, points, notes, steps = (int(number) for number in file.attrs.get("committed", [0, 0, 0, 0]))
    return Committed(images=images, points=points, notes=notes, steps=steps)


def _columns(
    features: Sequence[Features], per_image: Mapping[str, np.ndarray], per_point: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The rows to add to the datasets of points and of images."""
    images = {
        "count": np.array([len(each) for each in features], dtype=np.int64),
        "size": np.array([each.image_size for each in features], dtype=np.int64).reshape(-1, 2),
        **per_image,
    }
    points: dict[str, np.ndarray] = dict(per_point)
    for name in POINT_ARRAYS if features else ():
        if getattr(features[0], name) is not None:
            dtype = torch.float16 if name == "descriptors" else torch.float32
            points[name] = torch.cat([getattr(each, name).detach().to("cpu", dtype) for each in features]).numpy()
    for columns, rows in ((images, len(features)), (points, int(images["count"].sum()))):
        for name, column in columns.items():
            if len(column) != rows:
                raise ShapeError(f"{name} has {len(column)} rows; it must have {rows}.")
    return points, images
