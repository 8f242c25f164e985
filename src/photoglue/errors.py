"""Every error that PhotoGlue raises on purpose, and the door to optional packages.

```
PhotoGlueError
├── ShapeError (ValueError)         an array has the wrong shape, type or content
├── ConfigError (ValueError)        an option that does not exist or does not fit
├── ImageError (OSError)            a photo that cannot be read
├── FeatureKindError (ValueError)   features that the matcher was not trained for
├── WeightsError (RuntimeError)     weights missing, corrupt, or not of this network
│   └── LicenceError                weights whose licence has to be accepted first
├── OutputError (OSError)           a result that cannot be written
└── MissingExtra (ImportError)      an optional package that is not installed
```

Each message says what came, what was wanted and what to do. ``PhotoGlueWarning`` marks input that is legal but
most likely not meant.
"""

import importlib
from types import ModuleType


class PhotoGlueError(Exception):
    """Base of all errors raised on purpose."""


class ShapeError(PhotoGlueError, ValueError):
    """An array has the wrong shape, type or content."""


class ConfigError(PhotoGlueError, ValueError):
    """An option that does not exist or does not fit."""


class ImageError(PhotoGlueError, OSError):
    """A photo that cannot be read."""


class FeatureKindError(PhotoGlueError, ValueError):
    """Features that the matcher was not trained for."""


class WeightsError(PhotoGlueError, RuntimeError):
    """Weights that are missing, corrupt, or belong to another network."""


class LicenceError(WeightsError):
    """Weights whose licence has to be accepted first."""


class OutputError(PhotoGlueError, OSError):
    """A result that cannot be written."""


class MissingExtra(PhotoGlueError, ImportError):  # noqa: N818  (reads as what happened)
    """An optional package that is not installed."""


class PhotoGlueWarning(UserWarning):
    """Input that is legal but most likely not what was meant."""


def require(module: str, *, extra: str) -> ModuleType:
    """The optional package ``module``, imported now.

    Args:
        module: Import name, such as ``"cv2"``.
        extra: The extra of this package that installs it.

    Raises:
        MissingExtra: If it is not installed; the message gives the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"This needs the package {module!r}, which cannot be imported here ({error}). "
            f"Install it with: pip install 'photoglue[{extra}]'"
        ) from error
