"""Tracks in an HDF5 file, and the way back."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from photoglue.errors import OutputError, require
from photoglue.store.file import FAILURES, explained
from photoglue.video.keyframes import Keyframe
from photoglue.video.points import MATCHED
from photoglue.video.results import FrameResult

FORMAT: Final = "photoglue-tracks"
VERSION: Final = 1
FRAMES_AT_ONCE = 128
"""Frames that are kept in memory before they are written."""
COLUMNS: Mapping[str, Any] = {"id": np.int64, "frame": np.int64, "x": np.float32, "y": np.float32,
                              "score": np.float32, "source": np.uint8}  # fmt: skip
RIGHT: Mapping[str, Any] = {"x_right": np.float32, "y_right": np.float32}


@final
class TrackWriter:
    """Writes what a tracker says, frame by frame, in constant memory. Close it: then the file appears.

    ```
    tracks.h5    format = "photoglue-tracks", version = 1, about = JSON
    ├── tracks/  one row a position: id, frame, x, y, score, source (0: KLT, 1: LightGlue), [x_right, y_right]
    └── frames/  one row a frame: number, timestamp, width, height, keyframe, reason, state
    ```

    Raises:
        OutputError: If the file cannot be written.
        MissingExtra: If h5py is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], about: Mapping[str, Any] | None = None) -> None:
        h5py = require("h5py", extra="store")
        self.path = Path(path)
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._text = h5py.string_dtype()
        with explained(f"{str(self.path)!r} cannot be written"):
            self._file = h5py.File(self._partial, "w")
            self._file.attrs.update({"format": FORMAT, "version": VERSION, "about": json.dumps(dict(about or {}))})
        self._rows: list[dict[str, np.ndarray]] = []
        self._frames: list[tuple[Any, ...]] = []
        self._stereo = False
        self._of_keyframe: dict[int, np.ndarray] = {}  # of the one that is being worked on

    def add(self, result: FrameResult, size: tuple[int, int]) -> None:
        """Add the positions of a frame. Those that a finished keyframe found are added by ``add_keyframe``.

        Args:
            result: What ``push`` returned.
            size: (width, height) of the frame.

        Raises:
            OutputError: If the disk is full.
        """
        rows = {"id": result.ids, "frame": np.full(len(result), result.frame), "x": result.points[:, 0],
                "y": result.points[:, 1], "score": result.scores, "source": result.sources}  # fmt: skip
        self._stereo = result.right_points is not None
        if result.right_points is not None:
            rows |= {"x_right": result.right_points[:, 0], "y_right": result.right_points[:, 1]}
        self._rows.append(rows)
        flags = (result.keyframe, result.reason if result.keyframe and result.reason else "", result.state)
        self._frames.append((result.frame, result.timestamp, *size, *flags))
        if result.keyframe:
            self._of_keyframe = {result.frame: result.ids}
        if len(self._frames) >= FRAMES_AT_ONCE:
            self._write()

    def add_keyframe(self, keyframe: Keyframe) -> None:
        """Add what the work on a keyframe found in it: positions of tracks that were not followed to it.

        Args:
            keyframe: ``FrameResult.finished``, or what ``Tracker.finish`` returned.
        """
        there = self._of_keyframe.pop(keyframe.frame, np.zeros(0, dtype=np.int64))
        new = (keyframe.ids >= 0) & ~np.isin(keyframe.ids, there)
        points = keyframe.points[new]
        rows = {"id": keyframe.ids[new], "frame": np.full(len(points), keyframe.frame), "x": points[:, 0],
                "y": points[:, 1], "score": np.ones(len(points)), "source": np.full(len(points), MATCHED)}  # fmt: skip
        if self._stereo:
            rows |= dict.fromkeys(RIGHT, np.full(len(points), np.nan))
        self._rows.append(rows)

    def _write(self) -> None:
        columns = {**COLUMNS, **(RIGHT if self._stereo else {})}
        with explained(f"{str(self.path)!r} cannot be written (is the disk full?)"):
            for name, kind in columns.items():
                parts = [rows[name].astype(kind) for rows in self._rows if name in rows]
                self._append(f"tracks/{name}", np.concatenate(parts), kind)
            if self._frames:
                numbers, times, widths, heights, keys, reasons, states = zip(*self._frames, strict=True)
                for name, values, kind in (
                    ("number", numbers, np.int64), ("timestamp", times, np.float64), ("width", widths, np.int64),
                    ("height", heights, np.int64), ("keyframe", keys, bool), ("reason", reasons, self._text),
                    ("state", states, self._text),
                ):  # fmt: skip
                    self._append(f"frames/{name}", np.array(values, dtype=object if kind is self._text else kind), kind)
            self._file.flush()
        self._rows, self._frames = [], []

    def _append(self, name: str, values: np.ndarray, kind: Any) -> None:
        if name not in self._file:
            self._file.create_dataset(name, shape=(0,), maxshape=(None,), dtype=kind, chunks=(4096,))
        data = self._file[name]
        data.resize(len(data) + len(values), axis=0)
        data[len(data) - len(values) :] = values

    def close(self) -> None:
        """Writes the rest and puts the file in place.

        Raises:
            OutputError: If the disk is full.
        """
        if not self._file:  # closed before
            return
        self._rows.append(
            {name: np.zeros(0) for name in (*COLUMNS, *RIGHT)}
        )  # so that a video without tracks has its columns
        self._write()
        with explained(f"{str(self.path)!r} cannot be written (is the disk full?)"):
            self._file.close()
            self._partial.replace(self.path)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracks:
    """What ``TrackWriter`` wrote: one row a position, by frame and track."""

    ids: Int64[np.ndarray, " n"]
    frames: Int64[np.ndarray, " n"]
    """The number of the frame of each position."""
    points: Float32[np.ndarray, "n 2"]
    """(x, y) in pixels."""
    scores: Float32[np.ndarray, " n"]
    sources: UInt8[np.ndarray, " n"]
    """0: optical flow (KLT), 1: a keypoint of a keyframe (LightGlue)."""
    right_points: Float32[np.ndarray, "n 2"] | None
    """In the right picture of a stereo pair; None: there was none."""
    numbers: Int64[np.ndarray, " f"]
    """The numbers of all frames."""
    timestamps: Float64[np.ndarray, " f"]
    """Seconds, of each frame."""
    keyframes: Bool[np.ndarray, " f"]
    """Whether each frame was sent to be a keyframe."""
    reasons: tuple[str, ...]
    """Why it was; empty for others."""
    about: Mapping[str, Any]
    """What the writer was told of the video."""

    def of(self, track: int) -> Float64[np.ndarray, "k 3"]:
        """(frame, x, y) of one track, by frame."""
        rows = self.ids == track
        return np.column_stack([self.frames[rows], self.points[rows]]).astype(np.float64)

    def shared(self, frame0: int, frame1: int) -> tuple[Float32[np.ndarray, "k 2"], Float32[np.ndarray, "k 2"]]:
        """The positions in two frames of the tracks that both have."""
        (rows0,), (rows1,) = np.nonzero(self.frames == frame0), np.nonzero(self.frames == frame1)
        _, at0, at1 = np.intersect1d(self.ids[rows0], self.ids[rows1], return_indices=True)
        return self.points[rows0[at0]], self.points[rows1[at1]]


def read_tracks(path: str | os.PathLike[str]) -> Tracks:
    """The tracks in a file of ``photoglue track``.

    Raises:
        OutputError: If there is no such file, or it is damaged or something else.
        MissingExtra: If h5py is not installed.
    """
    h5py = require("h5py", extra="store")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT or int(file.attrs["version"]) > VERSION:
                raise ValueError(f"it holds {file.attrs.get('format', 'something else')!r}")
            columns = {name: np.asarray(data[()]) for name, data in file["tracks"].items()}
            frames = {name: data[()] for name, data in file.get("frames", {}).items()}
            about = json.loads(file.attrs["about"])
    except FAILURES as error:
        raise OutputError(f"{os.fspath(path)!r} has no tracks that can be read: {error}.") from error
    order = np.lexsort((columns["id"], columns["frame"]))
    sorted_columns = {name: values[order] for name, values in columns.items()}
    right = None
    if "x_right" in columns:
        right = np.column_stack([sorted_columns["x_right"], sorted_columns["y_right"]])
    none = np.zeros(0)
    return Tracks(
        ids=sorted_columns["id"], frames=sorted_columns["frame"], scores=sorted_columns["score"],
        points=np.column_stack([sorted_columns["x"], sorted_columns["y"]]), sources=sorted_columns["source"],
        right_points=right, numbers=np.asarray(frames.get("number", none), dtype=np.int64),
        timestamps=np.asarray(frames.get("timestamp", none), dtype=np.float64),
        keyframes=np.asarray(frames.get("keyframe", none), dtype=bool),
        reasons=tuple(each.decode() for each in frames.get("reason", ())), about=about,
    )  # fmt: skip
