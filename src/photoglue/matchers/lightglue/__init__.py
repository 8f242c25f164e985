"""LightGlue: the network, its shape, its options and its weights."""

from photoglue.matchers.lightglue.config import LightGlueConfig, LightGlueShape
from photoglue.matchers.lightglue.model import LightGlue

__all__ = ["LightGlue", "LightGlueConfig", "LightGlueShape"]
