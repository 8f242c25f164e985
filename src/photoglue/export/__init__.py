"""Exported models: LightGlue and extractors as ONNX files, each with a certificate that it gives the same results."""

from photoglue.export.matcher import export_matcher
from photoglue.export.verify import verify
from photoglue.exported import Certificate, Check, OnnxFile, Port
from photoglue.matchers.onnx import OnnxMatcher

__all__ = ["Certificate", "Check", "OnnxFile", "OnnxMatcher", "Port", "export_matcher", "verify"]
