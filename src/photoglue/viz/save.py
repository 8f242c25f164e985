"""Writing a figure to a picture file."""

import io
import os
from pathlib import Path
from typing import Any

from photoglue.errors import OutputError
from photoglue.files import write_whole

PICTURES = (".avif", ".gif", ".jpeg", ".jpg", ".pdf", ".png", ".svg", ".tif", ".tiff", ".webp")
"""Endings of pictures that need no other program; which of them work depends on the matplotlib installed."""


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as a picture; the file appears when it is whole.

    Args:
        figure: A matplotlib ``Figure``, such as ``draw_matches`` makes.
        path: The file; its ending chooses the format.

    Raises:
        OutputError: If the format is unknown or the file cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    supported = [name for name in PICTURES if name[1:] in figure.canvas.get_supported_filetypes()]
    if ending not in supported:
        raise OutputError(f"No picture can be written as {path.name!r}; let it end in one of {', '.join(supported)}.")
    picture = io.BytesIO()
    figure.savefig(picture, format=ending[1:], dpi=figure.dpi)
    write_whole(path, picture.getvalue(), advice="Give another path.")
