"""What a run has measured so far, a line for each pair: a killed run goes on behind its last whole line."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np

from photoglue.datasets.base import EvaluationPair
from photoglue.errors import OutputError
from photoglue.evaluation.results import as_json, numbers

PairValues: TypeAlias = list[dict[str, float]]
"""The values of one pair, for each seed of the estimator."""


class Journal:
    """A file of JSON lines; the first says which run it belongs to, the others have a pair's number and values.

    Args:
        path: Of the file; its folder exists. What another run left there is replaced.
        run: Everything that the numbers depend on.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        self.done: dict[int, PairValues] = {}
        header = json.dumps({"run": run}, sort_keys=True) + "\n"
        try:
            kept = self._kept(header)
            self._file = path.open("r+b" if kept else "wb")
            self._file.truncate(kept)
            self._file.seek(kept)
            if not kept:
                self._file.write(header.encode())
                self._file.flush()
        except OSError as error:
            raise OutputError(f"{str(path)!r} cannot be written: {error}.") from error

    def append(self, pair: int, values: PairValues) -> None:
        """Keep the values of a pair; they outlive the process.

        Raises:
            OutputError: If they cannot be written.
        """
        line = json.dumps({"pair": pair, "values": as_json(values)}, allow_nan=False)
        try:
            self._file.write(f"{line}\n".encode())
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{str(self.path)!r} cannot be written: {error}. Is the disk full?") from error
        self.done[pair] = values

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _kept(self, header: str) -> int:
        """Reads the lines of an earlier start of this run; gives the length of what is good, in bytes."""
        if not self.path.exists():
            return 0
        lines = self.path.read_bytes().splitlines(keepends=True)
        if not lines or lines[0] != header.encode():
            return 0
        length = len(lines[0])
        for line in lines[1:]:
            try:
                row = json.loads(line)
                values = [numbers(each) for each in row["values"]]
            except (ValueError, KeyError, TypeError):
                break  # cut off in the middle
            if not line.endswith(b"\n"):
                break
            self.done[int(row["pair"])] = values
            length += len(line)
        return length


def digest_of(content: Any) -> str:
    """A short name for anything that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def digest_of_pairs(pairs: Sequence[EvaluationPair]) -> str:
    """Changes when a pair, its truth, or their order does."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(repr((pair.scene, pair.name0, pair.name1)).encode())
        for item in fields(pair.truth):
            value = getattr(pair.truth, item.name)
            digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()[:12]
