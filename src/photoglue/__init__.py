"""PhotoGlue: which points in two photos show the same thing."""

from photoglue.version import __version__

__all__ = ["__version__"]
