"""What a run has measured so far, a line for each pair: a killed run goes on behind its last whole line."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np

from photoglue.datasets.base import EvaluationPair
from photoglue.errors import ConfigError, OutputError
from photoglue.files import as_json, digest_of, from_json, to_json, whole_lines

PairValues: TypeAlias = list[dict[str, float]]
"""The values of one pair, for each seed of the estimator."""


@dataclass(frozen=True, kw_only=True)
class JournalLine:
    """A line of a journal, but for the first."""

    pair: int
    """The number of the pair in its data set."""
    values: tuple[Mapping[str, float], ...]
    """Its values for each seed of the estimator."""


class Journal:
    """A file of JSON lines; the first says which run it belongs to, the others are ``JournalLine``.

    Args:
        path: The file; its folder exists. What another run left there is replaced. What follows a damaged line is
            dropped with it, to be measured again.
        run: Everything that the numbers depend on.
        pairs: How many pairs the data set has; a line with a larger number is damaged. None: not known.

    Raises:
        OutputError: If the file cannot be read or written.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], *, pairs: int | None = None) -> None:
        self.path = path
        self.done: dict[int, PairValues] = {}
        header = {"run": as_json(run)}

        def check(row: Any) -> None:
            if row == header:
                return
            line = from_json(JournalLine, row, origin=repr(str(path)))
            if isinstance(line.pair, bool) or line.pair < 0 or line.pair >= (pairs or math.inf) or not line.values:
                raise ConfigError(f"{str(path)!r} has values of a pair {line.pair}, which is not in the data set.")
            self.done[line.pair] = [dict(values) for values in line.values]

        try:
            rows, length = whole_lines(path, check)
            if rows[:1] != [header]:
                length = 0
                self.done.clear()
            self._file = path.open("r+b" if length else "wb")
            self._file.truncate(length)
            self._file.seek(length)
        except OSError as error:
            raise OutputError(f"{str(path)!r} cannot be written: {error}.") from error
        if not length:
            self._write(header)

    def append(self, pair: int, values: PairValues) -> None:
        """Keep the values of a pair; they outlive the process.

        Raises:
            OutputError: If they cannot be written.
        """
        self._write({"pair": pair, "values": values})
        self.done[pair] = values

    def _write(self, row: Mapping[str, Any]) -> None:
        try:
            self._file.write(f"{to_json(row)}\n".encode())
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{str(self.path)!r} cannot be written: {error}. Is the disk full?") from error

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # every line was flushed; on a full disk, what could not be is tried once more
            self._file.close()


def digest_of_pairs(pairs: Sequence[EvaluationPair]) -> str:
    """A short name for some pairs: another one if a pair, its truth, or their order is another."""
    return digest_of(
        [
            [pair.scene, pair.name0, pair.name1]
            + [value.tolist() if isinstance(value, np.ndarray) else repr(value) for value in vars(pair.truth).values()]
            for pair in pairs
        ]
    )
