"""COLMAP through pycolmap: the only file that imports it."""

import zlib  # noqa: F401  (before pycolmap, whose own zlib breaks any that is loaded after it: PNGs, gzip)
from types import ModuleType

from photoglue.errors import require


def pycolmap() -> ModuleType:
    """The package pycolmap, imported now and told to print errors only.

    Ask it for what it can do with ``hasattr``, never for its version.

    Raises:
        MissingExtra: If it is not installed.
    """
    module = require("pycolmap", extra="sfm")
    module.logging.minloglevel = 2
    return module
