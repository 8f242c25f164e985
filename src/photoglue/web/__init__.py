"""A page on this machine to try photos on: drop two, and see which points of them show the same thing."""

from photoglue.web.options import WebOptions
from photoglue.web.server import WebServer, serve

__all__ = ["WebOptions", "WebServer", "serve"]
