"""LightGlue: the network, its options and its weights."""

from photoglue.matchers.lightglue.config import LightGlueConfig
from photoglue.matchers.lightglue.model import LightGlue

__all__ = ["LightGlue", "LightGlueConfig"]
