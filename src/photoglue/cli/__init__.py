"""The command line: `photoglue match | extract | weights | demo | bench`."""

from photoglue.cli.app import main

__all__ = ["main"]
