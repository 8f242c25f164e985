"""Figures to files."""

import os
from pathlib import Path
from typing import Any

from photoglue.errors import OutputError

FORMATS = ("avif", "gif", "jpeg", "jpg", "pdf", "png", "svg", "tif", "tiff", "webp")
"""Formats that need no other program; which of them work depends on the matplotlib installed."""


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Writes a figure; the file appears when it is whole.

    Args:
        figure: A matplotlib ``Figure``, such as ``draw_matches`` makes.
        path: Its ending chooses the format.

    Raises:
        OutputError: If the format is unknown or the file cannot be written.
    """
    path = Path(path)
    supported = [name for name in FORMATS if name in figure.canvas.get_supported_filetypes()]
    ending = path.suffix.lower().removeprefix(".")
    if ending not in supported:
        raise OutputError(f"No picture can be written as {path.name!r}; let it end in one of .{', .'.join(supported)}.")
    if not path.parent.is_dir():
        raise OutputError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}. Create it first.")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{ending}")
    try:
        figure.savefig(temporary, format=ending, dpi=figure.dpi)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error}. Give another path.") from error
    finally:
        temporary.unlink(missing_ok=True)
