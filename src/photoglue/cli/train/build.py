"""Building what a run reads: once, with a bar that moves, however many processes train."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from photoglue.datasets.photos import SkippedPhoto

Told: TypeAlias = Callable[[int, int], None]
"""Is told how many photos are done, and of how many."""
SHOWN = 10


def build_once(path: Path, build: Callable[[Told], None], console: Console) -> None:
    """Build a file in the first of several processes; the others wait until it is there.

    Args:
        path: Of the file.
        build: Makes it, or checks the one that is there.
        console: For the bar.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        while not path.exists():
            time.sleep(0.5)
        return
    columns = (TextColumn("extracting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("extracting")
        try:
            build(lambda done, total: bar.update(task, completed=done, total=total))
        except KeyboardInterrupt:
            console.print("What has been extracted is kept: the same command goes on from there.")
            raise


def build_workers(asked: int | None, photos: int) -> int:
    """Processes that extract: as many as were asked for, or one a core; none of their own for a few photos."""
    if asked is not None:
        return asked
    return (os.cpu_count() or 1) if photos > 16 else 0


def list_skipped(console: Console, skipped: tuple[SkippedPhoto, ...], path: Path) -> None:
    """Say which photos are not used, and why: the first ones, and how many more, of which a file has the list.

    Args:
        console: To say it on.
        skipped: The photos.
        path: Of the file, which is written only if not all are shown.
    """
    lines = [f"{photo.name}: {photo.reason}" for photo in skipped]
    for line in lines[:SHOWN]:
        # Names and reasons may have brackets, which would be taken for colours.
        console.print(f"[yellow]skipped:[/yellow] {escape(line)}", soft_wrap=True)
    if len(lines) > SHOWN:
        # A file's name need not be text.
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="backslashreplace")
        more = f"and {len(lines) - SHOWN} more photos; all {len(lines)} are listed in {path}"
        console.print(f"[yellow]skipped:[/yellow] {escape(more)}", soft_wrap=True)


def readable_size(count: int | float) -> str:
    """Of bytes, such as "1.4 GB"."""
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} GB"
