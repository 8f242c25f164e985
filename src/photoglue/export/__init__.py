"""Exported models: LightGlue and extractors as ONNX files, each with a certificate that it gives the same results."""

from photoglue.export.bundle import Bundle, export_bundle
from photoglue.export.extractor import export_extractor
from photoglue.export.lint import lint, opencv_matcher
from photoglue.export.load import certified_file, is_exported_matcher, load_extractor, load_matcher, named_matcher
from photoglue.export.matcher import export_matcher
from photoglue.export.pipeline import export_pipeline
from photoglue.export.runtime import StagedMatcher
from photoglue.export.staged import export_staged
from photoglue.export.staged_matcher import StagedLightGlue
from photoglue.export.verify import verify
from photoglue.exported import Certificate, Check, OnnxFile, Port
from photoglue.extractors.onnx import OnnxExtractor
from photoglue.matchers.onnx import OnnxMatcher

__all__ = [
    "Bundle",
    "Certificate",
    "Check",
    "OnnxExtractor",
    "OnnxFile",
    "OnnxMatcher",
    "Port",
    "StagedLightGlue",
    "StagedMatcher",
    "certified_file",
    "export_bundle",
    "export_extractor",
    "export_matcher",
    "export_pipeline",
    "export_staged",
    "is_exported_matcher",
    "lint",
    "load_extractor",
    "load_matcher",
    "named_matcher",
    "opencv_matcher",
    "verify",
]
