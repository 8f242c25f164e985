"""The command line, `photoglue`: one module a command."""

from photoglue.cli.app import main

__all__ = ["main"]
