"""Seeded damage to files, and odd images of every format: the same number makes the same input for ever."""

import io
import json
import os
import random
from pathlib import Path

import numpy as np
import PIL.Image

COUNT = int(os.environ.get("PHOTOGLUE_FUZZ") or 0)
"""About how many inputs all tests together try; 0: a few each, for CI. `make fuzz N=10000` sets it."""


def seeds(few: int, share: float) -> range:
    """Numbers of the inputs that a test tries.

    Args:
        few: How many there are in CI, and at least.
        share: The share of ``COUNT`` that the test gets.
    """
    return range(max(few, round(COUNT * share)))


def damaged(content: bytes, random_source: random.Random) -> bytes:
    """A file as a bad disk, a broken transfer or a careless editor leaves it."""
    data = bytearray(content)
    for _ in range(random_source.choice([1, 1, 1, 2, 5])):
        if not data:
            break
        kind = random_source.randrange(7)
        start = random_source.randrange(len(data))
        length = min(len(data) - start, random_source.choice([1, 2, 4, 16, 512]))
        if kind == 0:  # flipped bits, mostly near the beginning, where headers are
            place = start if random_source.random() < 0.5 else min(start, random_source.randrange(1, 400))
            data[place] ^= 1 << random_source.randrange(8)
        elif kind == 1:
            del data[start:]
        elif kind == 2:
            del data[start : start + length]
        elif kind == 3:
            data[start : start + length] = bytes(length)
        elif kind == 4:
            data[start : start + length] = random_source.randbytes(length)
        elif kind == 5:
            data[start:start] = data[start : start + length]
        else:
            data[start : start + length] = random_source.choice([b"\xff", b"\x00\x00\x00\x01", b"\x7f\xff\xff\xff"])
    return bytes(data)


MODES = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "JPEG": ["L", "RGB", "CMYK"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "LAB"],
    "WEBP": ["RGB", "RGBA"],
    "AVIF": ["RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "GIF": ["L", "P", "RGB"],
    "PPM": ["1", "L", "RGB", "I;16"],
    "TGA": ["L", "RGB", "RGBA"],
    "JPEG2000": ["L", "RGB", "RGBA"],
    "ICO": ["RGBA"],
    "PCX": ["L", "P", "RGB"],
    "SGI": ["L", "RGB", "RGBA"],
}


def formats():
    """Those of ``MODES`` that this Pillow can write."""
    PIL.Image.init()
    return [name for name in MODES if name in PIL.Image.SAVE]


def odd_image(random_source: random.Random) -> tuple[str, bytes, tuple[int, int]]:
    """A whole image: (suffix, content, stored size), of any format, mode, size, orientation and range of values."""
    kind = random_source.choice(formats())
    mode = random_source.choice(MODES[kind])
    most = 64 if kind in ("ICO", "AVIF") else 300
    side = [1, 2, 3, 7, 8, 31, most, random_source.randrange(1, most + 1)]
    size = (random_source.choice(side), random_source.choice(side))
    if random_source.random() < 0.02 and kind in ("PNG", "BMP", "TIFF"):
        size = random_source.choice([(1, 20_000), (20_000, 1), (3000, 2)])
    picture = _pixels(mode, size, random_source)
    options = {}
    if kind in ("JPEG", "WEBP", "PNG", "AVIF"):
        exif = PIL.Image.Exif()
        exif[0x0112] = random_source.choice([1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 255])
        options["exif"] = exif.tobytes()
    if kind == "JPEG":
        options |= {"progressive": random_source.random() < 0.5, "quality": random_source.choice([1, 50, 100])}
    if kind == "TIFF":
        options["compression"] = random_source.choice([None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
    buffer = io.BytesIO()
    try:
        picture.save(buffer, kind, **options)
    except (OSError, ValueError, KeyError):  # this Pillow cannot write that combination
        return odd_image(random_source)
    suffix = {"JPEG": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif"}.get(kind, f".{kind.lower()}")
    return suffix, buffer.getvalue(), size


def _pixels(mode, size, random_source):
    values = np.random.default_rng(random_source.randrange(1 << 30))
    shape = (size[1], size[0])
    low, high = random_source.choice([(0, 255), (0, 0), (255, 255), (100, 110)])
    if mode in ("I;16", "I"):
        high16 = random_source.choice([0, 255, 4095, 65535])
        array = values.integers(0, high16 + 1, shape)
        if mode == "I":
            return PIL.Image.fromarray(array.astype(np.int32))
        return PIL.Image.fromarray(array.astype(np.uint16))
    if mode == "F":
        return PIL.Image.fromarray(values.random(shape, dtype=np.float32) * random_source.choice([1, 255, 1e6]))
    gray = PIL.Image.fromarray(values.integers(low, high + 1, shape).astype(np.uint8))
    if mode in ("L", "1", "P", "LA"):
        return gray.convert(mode)
    color = PIL.Image.fromarray(values.integers(low, high + 1, (*shape, 3)).astype(np.uint8))
    if mode == "LAB":
        return PIL.Image.merge("LAB", color.split())
    return color.convert(mode)


def written(folder: Path, suffix: str, content: bytes) -> Path:
    """A file with that content; the same path each time, so that thousands need no room."""
    path = folder / f"input{suffix}"
    path.write_bytes(content)
    return path


ODD_VALUES = [
    None, True, -1, 0, 1, 7.5, 1e300, float("inf"), float("nan"), 10**30, "", "x", "inf", "\ud800", "a\nb", [], {},
    [[]], [1, "a"], {"a": 1}, [None] * 3, [[1, 2], [3]], "9" * 50,
]  # fmt: skip
"""What JSON may hold where something else was wanted."""


def edited(document, random_source: random.Random):
    """A copy of what a JSON file holds, as a careless editor or another program leaves it."""
    document = json.loads(json.dumps(document))
    for _ in range(random_source.choice([1, 1, 1, 2, 4])):
        places = list(_places(document))
        if not places or random_source.random() < 0.02:
            return random_source.choice(ODD_VALUES)
        holder, key = random_source.choice(places)
        kind = random_source.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = [holder[key]]
        elif kind == 2 and isinstance(holder, dict):
            holder[random_source.choice(["x", "", key.upper() + "_"])] = holder.pop(key)
        elif kind == 3:
            other_holder, other_key = random_source.choice(places)
            holder[key] = json.loads(json.dumps(other_holder[other_key]))
        else:
            holder[key] = random_source.choice(ODD_VALUES)
    return document


def _places(value):
    """(dict or list, key or index) of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)
