"""A file that survives the death of the process that writes to it.

HDF5 changes its tables in place: a process that is killed in the middle of it leaves a file that nobody can read. So
what is about to be overwritten is first copied into a log beside the file; whoever opens the file next puts it back.
"""

import errno
import os
import shutil
import signal
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, final

from photoglue.errors import OutputError

if sys.platform != "win32":
    import fcntl

RECORD = struct.Struct("<QQL")
"""Before each piece of the log: where it belongs in the file, its length and checksum. The first has the length that
the file had, and no piece; a later one without a piece is the end."""
SLACK = 1 << 20
"""Bytes that are reserved beside the numbers to be written: for HDF5's own, and for the log."""


def log_path(path: Path) -> Path:
    """Where the log of a file is."""
    return path.with_name(path.name + ".undo")


def roll_back(path: Path) -> None:
    """Puts a file back to what it was when it was last committed, if a process died that wrote to it.

    Raises:
        BlockingIOError: If a process is writing to it now.
    """
    log = log_path(path)
    if not log.exists():
        return
    if path.exists():
        with path.open("r+b") as file:
            _lock(file)
            _undo(file, log.read_bytes())
            empty = file.seek(0, os.SEEK_END) == 0
        if empty:  # it was never committed
            path.unlink()
    log.unlink(missing_ok=True)


def _undo(file: BinaryIO, log: bytes) -> None:
    pieces: list[tuple[int, bytes]] = []
    position = 0
    while position + RECORD.size <= len(log):
        offset, length, checksum = RECORD.unpack_from(log, position)
        position += RECORD.size
        piece = log[position : position + length]
        # A piece that is not whole was being logged when the process ended, before anything was overwritten.
        if (pieces and not length) or zlib.crc32(piece, offset & 0xFFFFFFFF) != checksum:
            break
        pieces.append((offset, piece))
        position += length
    if pieces:
        for offset, piece in reversed(pieces[1:]):
            file.seek(offset)
            file.write(piece)
        file.truncate(pieces[0][0])


def _record(offset: int, piece: bytes = b"") -> bytes:
    return RECORD.pack(offset, len(piece), zlib.crc32(piece, offset & 0xFFFFFFFF)) + piece


def _lock(file: BinaryIO) -> None:
    """As HDF5 does it: nobody else may have the file open. Where the file system knows no locks, there is none."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            return


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the end of the block: in the middle of its work HDF5 does not survive an exception."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if waiting:
            signal.raise_signal(signal.SIGINT)


@final
class UndoableFile:
    """A file object for h5py that logs what it overwrites.

    Args:
        path: The file, rolled back if need be.
        mode: "r+b": it exists; "x+b": it does not.

    Raises:
        BlockingIOError: If somebody else has it open.
        OutputError: If there is no room on the disk for anything more.
    """

    def __init__(self, path: Path, mode: Literal["r+b", "x+b"]) -> None:
        self.path = path
        self._file: Any = path.open(mode, buffering=0)
        self._end = self._committed = path.stat().st_size
        try:
            _lock(self._file)
            self._log: Any = log_path(path).open("wb", buffering=0)
            self._reserve(self._log.fileno(), 0, SLACK)
            self.commit()
            self.reserve(0)
        except BaseException:
            self._file.close()
            if mode == "x+b":
                path.unlink()
                log_path(path).unlink(missing_ok=True)
            raise

    def commit(self) -> None:
        """From now on, what is in the file is what to go back to."""
        self._committed = self._end
        self._log.seek(0)
        self._log.write(_record(self._committed) + _record(0))
        self._log.seek(RECORD.size)

    def reserve(self, size: int) -> None:
        """Takes room on the disk before HDF5 needs it: when a write fails, HDF5 can lose the file, or the process.

        Args:
            size: Bytes of the arrays that are about to be written.

        Raises:
            OutputError: If there is not as much room.
        """
        self._reserve(self._file.fileno(), self._end, size + SLACK)

    def _reserve(self, descriptor: int, start: int, size: int) -> None:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, start, size)
            elif shutil.disk_usage(self.path.parent).free < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                return  # the file system cannot do it
            raise OutputError(
                f"{str(self.path)!r} cannot grow by {size / 2**20:.0f} MiB: {error.strerror}. Make room and run the "
                "same again: it goes on from here."
            ) from error

    def close(self) -> None:
        """Ends the work with the file, as it is; more than once does no harm."""
        if not self._file.closed:
            self._file.truncate(self._end)
            self._log.close()
            log_path(self.path).unlink(missing_ok=True)
            self._file.close()

    # What h5py asks of a file object.

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a place; the end is where HDF5's content ends, whatever room is reserved beyond it."""
        return int(self._file.seek(self._end + offset if whence == os.SEEK_END else offset))

    def tell(self) -> int:
        """The present place."""
        return int(self._file.tell())

    def read(self, size: int = -1) -> bytes:
        """So many bytes."""
        return bytes(self._file.read(size))

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; returns how many bytes there were."""
        return int(self._file.readinto(buffer))

    def write(self, data: Any) -> int:
        """Writes bytes; those that were committed are first copied into the log."""
        content, offset = memoryview(data).cast("B"), int(self._file.tell())
        old = min(len(content), self._committed - offset)
        if old > 0:
            self._log.write(_record(offset, os.pread(self._file.fileno(), old, offset)) + _record(0))
            self._log.seek(-RECORD.size, os.SEEK_CUR)
        written = 0
        while written < len(content):
            written += self._file.write(content[written:])
        self._end = max(self._end, offset + written)
        return written

    def truncate(self, size: int) -> int:
        """Moves the end; the file itself is cut when it is closed."""
        self._end = size
        return size

    def flush(self) -> None:
        """Does nothing: no byte is held back."""
