"""Many photos at a glance: a grid of small ones with captions, as one picture."""

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from photoglue.errors import ConfigError
from photoglue.files import check_output, write_whole
from photoglue.image import Resize, load_image, to_rgb

FORMATS = (".jpg", ".jpeg", ".png", ".webp")
CELL, GAP, TEXT = 320, 12, 16
"""Pixels: longer side of a photo, margins, height of the captions."""
BACK, INK = "#f4f4f2", "#303236"


def contact_sheet(
    photos: Sequence[str | os.PathLike[str]], captions: Sequence[str], *, columns: int | None = None
) -> PIL.Image.Image:
    """A picture of photos in rows, each with its caption below, shortened where it is too long.

    Args:
        photos: Files of photos, at least one.
        captions: A line for each.
        columns: How many in a row; None: about as many as rows, or somewhat more.

    Raises:
        ConfigError: If there is no photo, or not one caption for each.
        ImageError: If a photo cannot be read.
    """
    if not photos or len(photos) != len(captions):
        raise ConfigError(f"There are {len(photos)} photos and {len(captions)} captions: one of each is needed.")
    across = columns or math.ceil(math.sqrt(len(photos) * 1.3))
    down = math.ceil(len(photos) / across)
    wide, high = CELL + GAP, CELL * 3 // 4 + TEXT + 2 * GAP
    sheet = PIL.Image.new("RGB", (across * wide + GAP, down * high + GAP), BACK)
    draw, font = PIL.ImageDraw.Draw(sheet), PIL.ImageFont.load_default(TEXT - 2)
    for i, (photo, caption) in enumerate(zip(photos, captions, strict=True)):
        left, top = GAP + i % across * wide, GAP + i // across * high
        small = _thumbnail(photo)
        sheet.paste(small, (left + (CELL - small.width) // 2, top + (CELL * 3 // 4 - small.height) // 2))
        draw.text((left, top + CELL * 3 // 4 + 4), _shortened(caption, draw, font), INK, font=font)
    return sheet


def save_contact_sheet(
    photos: Sequence[str | os.PathLike[str]],
    captions: Sequence[str],
    path: str | os.PathLike[str],
    *,
    columns: int | None = None,
) -> None:
    """Writes a ``contact_sheet`` to a .jpg, .png or .webp file, whole or not at all.

    Raises:
        ConfigError: If the ending is another one, or there is not one caption for each photo.
        ImageError: If a photo cannot be read.
        OutputError: If the file cannot be written.
    """
    path, content = Path(path), io.BytesIO()
    check_output(path, FORMATS)
    sheet = contact_sheet(photos, captions, columns=columns)
    sheet.save(content, PIL.Image.registered_extensions()[path.suffix.lower()], quality=88)
    write_whole(path, content.getvalue())


def _thumbnail(photo: str | os.PathLike[str]) -> PIL.Image.Image:
    image = to_rgb(load_image(photo))
    scale = min(CELL / image.shape[2], CELL * 3 / 4 / image.shape[1])
    size = (max(1, round(image.shape[2] * scale)), max(1, round(image.shape[1] * scale)))
    small = Resize(original_size=(image.shape[2], image.shape[1]), resized_size=size).apply(image)
    return PIL.Image.fromarray((small.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def _shortened(text: str, draw: PIL.ImageDraw.ImageDraw, font: Any) -> str:
    """The text, without its middle if it is wider than a photo."""
    text = " ".join(text.split())
    kept = len(text)
    shown = text
    while draw.textlength(shown, font=font) > CELL and kept > 2:
        kept -= 1
        shown = f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
    return shown
