"""Exported files as ordinary matchers and extractors."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from photoglue.errors import ConfigError
from photoglue.export.staged_matcher import CERTIFICATE, StagedLightGlue
from photoglue.extractors.onnx import OnnxExtractor
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.matchers.onnx import OnnxMatcher


def load_matcher(path: str | os.PathLike[str], *, providers: Sequence[str] | None = None) -> Matcher:
    """The matcher in an exported file, or in the folder of a staged one; give it as ``matcher=`` wherever one is taken.

    Args:
        path: What ``export_matcher`` or ``export_staged`` wrote.
        providers: Providers of onnxruntime, such as "CUDAExecutionProvider"; None: the fastest that are there.

    Raises:
        WeightsError: If it is missing, cut off, no ONNX file, none of ours, or no matcher.
        ConfigError: If a provider is not there.
        MissingExtra: If onnxruntime is not installed.
    """
    if Path(path).is_dir():
        return StagedLightGlue(path, providers=providers)
    return OnnxMatcher.from_file(path, providers=providers)


def is_exported_matcher(path: Path) -> bool:
    """Whether a path is an ONNX file, or a folder as ``export_staged`` writes it."""
    return certified_file(path).is_file() and (path.suffix == ".onnx" or path.is_dir())


def certified_file(path: Path) -> Path:
    """The file whose content says which matcher it is: of a staged one, its certificate."""
    return path / CERTIFICATE if path.is_dir() else path


def load_extractor(
    path: str | os.PathLike[str],
    *,
    providers: Sequence[str] | None = None,
    allow_noncommercial: bool = False,
    **options: Any,
) -> OnnxExtractor:
    """The extractor in an exported file; see ``OnnxExtractor.from_file``."""
    return OnnxExtractor.from_file(path, providers=providers, allow_noncommercial=allow_noncommercial, **options)


def named_matcher(name: str) -> Matcher | None:
    """The matcher that the command line calls "nearest", or that of an exported file; None for "lightglue".

    Raises:
        ConfigError: If it is none of these, and no file.
        WeightsError: If the file is no matcher.
        MissingExtra: If onnxruntime is not installed.
    """
    if name == "lightglue":
        return None
    if name == "nearest":
        return NearestNeighbor()
    if not Path(name).exists():
        raise ConfigError(
            f"There is no matcher {name!r}. There are: lightglue, nearest, and files of `photoglue export matcher`."
        )
    return load_matcher(name)
