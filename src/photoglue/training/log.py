"""What a run reports while it goes on: lines of ``metrics.jsonl`` always, TensorBoard if it is installed."""

import importlib.util
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from photoglue.errors import ConfigError, OutputError, require
from photoglue.files import to_json, whole_lines
from photoglue.training.checkpoint import how_to_go_on, write_in_run

METRICS = "metrics.jsonl"


class RunLog:
    """The metrics of a run, line by line; a resumed run drops what came after its checkpoint, so that nothing is twice.

    Each line is an object with ``kind`` ("train", "validation" or "skipped"), ``pairs`` and numbers; null where
    one is not finite.
    """

    def __init__(self, folder: Path, *, pairs: int, tensorboard: bool | None = None) -> None:
        """
        Args:
            folder: Folder of the run.
            pairs: Number of pairs after which the run goes on; 0: it begins.
            tensorboard: Whether to write scalars for TensorBoard into ``folder``/tensorboard; None: if it is installed.

        Raises:
            MissingExtra: If TensorBoard is wanted and not installed.
            OutputError: If the folder cannot be written to.
        """  # noqa: D205, D212
        self._folder = folder
        writer = None
        if tensorboard or (tensorboard is None and importlib.util.find_spec("tensorboard") is not None):
            require("tensorboard", extra="train")
            writer = require("torch.utils.tensorboard", extra="train").SummaryWriter
        path = folder / METRICS
        kept = [line for line in read_metrics(folder) if line["pairs"] <= pairs] if pairs else []
        write_in_run(path, "".join(to_json(line) + "\n" for line in kept).encode())
        try:
            self._file = path.open("a")
        except OSError as error:
            raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}.") from error
        purge = pairs + 1 if pairs else None
        self._board: Any = writer and writer(str(folder / "tensorboard"), purge_step=purge)

    def write(self, kind: str, pairs: int, numbers: Mapping[str, float]) -> None:
        """Add a line, which is at once on its way to the disk.

        Raises:
            OutputError: If it cannot be written.
        """
        try:
            plain = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
            self._file.write(to_json({"kind": kind, "pairs": pairs, **plain}) + "\n")
            self._file.flush()
            if self._board is not None:
                for name, number in numbers.items():
                    self._board.add_scalar(f"{kind}/{name}", number, pairs)
        except OSError as error:
            raise OutputError(
                f"{str(self._folder / METRICS)!r} cannot be written: {error.strerror}. When that is mended, "
                f"{how_to_go_on(self._folder)}"
            ) from error

    def close(self) -> None:
        """Close the files; what could not be written has been said by ``write``."""
        with suppress(OSError):
            self._file.close()
        if self._board is not None:
            with suppress(OSError):  # its thread keeps what could not be written, and raises it here once more
                self._board.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics, in order, up to the first that was cut off or is damaged."""
    return whole_lines(folder / METRICS, _check)[0]


def _check(line: Any) -> None:
    if not isinstance(line, dict) or not isinstance(line.get("pairs"), int):
        raise ConfigError("A line of metrics is an object with kind and pairs.")
