"""Pictures for pages that hold them inside: a few kilobytes each."""

import io
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
from jaxtyping import Float
from torch import Tensor

from photoglue.image import ImageSource
from photoglue.viz.canvas import Canvas

Lines: TypeAlias = tuple[Float[Tensor, "_ 2"], Float[Tensor, "_ 2"], Any]
"""Points in the first photo, points in the second, and the colour of the lines between them: one, or one for each."""


def matched_picture(images: Sequence[ImageSource], *groups: Lines, size: tuple[int, int]) -> PIL.Image.Image:
    """Two photos side by side, toned down, with lines between them and no margins.

    Args:
        images: The photos, upright, as ``image.load_image`` takes them.
        groups: Lines, in pixels of the upright photos; later ones are drawn on top.
        size: The largest (width, height) of the picture, pixels.

    Raises:
        ImageError: If a photo cannot be read.
        MissingExtra: If matplotlib is not installed.
    """
    canvas = Canvas(images, bar=False)
    for starts, ends, colours in groups:
        canvas.lines(canvas.place(starts, 0), canvas.place(ends, 1), colours, alpha=0.8)
    for lines in canvas.axes.collections:
        lines.set_linewidth(1.4)  # they will be shrunk with the photos
    canvas.figure.canvas.draw()
    drawn = PIL.Image.fromarray(np.asarray(canvas.figure.canvas.buffer_rgba())).convert("RGB")
    box = canvas.axes.get_window_extent()
    cropped = drawn.crop((round(box.x0), drawn.height - round(box.y1), round(box.x1), drawn.height - round(box.y0)))
    cropped.thumbnail(size, PIL.Image.Resampling.LANCZOS)
    return cropped


def compressed(picture: PIL.Image.Image, max_bytes: int) -> bytes:
    """A picture as JPEG of at most ``max_bytes``, at the best quality that fits; made smaller if none does."""
    while True:
        for quality in (85, 75, 65, 55, 45):
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
            if buffer.tell() <= max_bytes or max(picture.size) == 1:
                return buffer.getvalue()
        picture = picture.resize((max(1, picture.width * 3 // 4), max(1, picture.height * 3 // 4)))
