"""Extractors: from an image to its local features. The table of names is for the command line."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from photoglue.errors import ConfigError
from photoglue.extractors.aliked import ALIKED, ALIKEDConfig
from photoglue.extractors.base import Extractor, ExtractorConfig
from photoglue.extractors.disk import DISK, DISKConfig
from photoglue.extractors.doghardnet import DoGHardNet, DoGHardNetConfig
from photoglue.extractors.onnx import OnnxExtractor
from photoglue.extractors.sift import SIFT, SIFTConfig
from photoglue.extractors.superpoint import SuperPoint, SuperPointConfig

Backend: TypeAlias = Literal["torch", "onnx"]

EXTRACTORS: Mapping[str, tuple[Callable[..., Extractor], ExtractorConfig]] = MappingProxyType(
    {
        "aliked": (ALIKED.pretrained, ALIKEDConfig()),
        "aliked-t16": (ALIKED.pretrained, ALIKEDConfig(variant="t16")),
        "aliked-n16": (ALIKED.pretrained, ALIKEDConfig(variant="n16")),
        "aliked-n16rot": (ALIKED.pretrained, ALIKEDConfig(variant="n16rot")),
        "aliked-n32": (ALIKED.pretrained, ALIKEDConfig(variant="n32")),
        "disk": (DISK.pretrained, DISKConfig()),
        "superpoint": (SuperPoint.pretrained, SuperPointConfig()),
        "sift": (SIFT.pretrained, SIFTConfig()),
        "doghardnet": (DoGHardNet.pretrained, DoGHardNetConfig()),
    }
)
"""Extractors by name: the function that builds one with its weights, and its default config."""


def create_extractor(
    name: str, *, backend: Backend = "torch", allow_noncommercial: bool = False, **options: Any
) -> Extractor:
    """The extractor of a name, with its released weights, or that of an exported file.

    Args:
        name: A key of ``EXTRACTORS``; with ``backend="onnx"`` a file that ``photoglue export extractor`` wrote.
        backend: "torch", or "onnx": the network runs in onnxruntime, see ``OnnxExtractor``.
        allow_noncommercial: Accept weights whose licence forbids commercial use.
        **options: Fields of its config to change from their defaults.

    Raises:
        ConfigError: If the name or an option does not exist; the message lists those that do.
        LicenceError: If the weights are non-commercial and that was not accepted.
        WeightsError: If the weights cannot be had or are corrupt, or it is no such file.
        MissingExtra: If onnxruntime is needed and not installed.
    """
    if backend not in get_args(Backend):
        raise ConfigError(f"backend is {backend!r}; it must be torch or onnx.")
    if backend == "onnx":
        if name in EXTRACTORS:
            raise ConfigError(
                f'backend="onnx" takes an exported file, and {name!r} is none. Write one with `photoglue export '
                f"extractor --features {name} --out {name}.onnx`, and give {name}.onnx."
            )
        return OnnxExtractor.from_file(name, allow_noncommercial=allow_noncommercial, **options)
    if name not in EXTRACTORS:
        hint = ' Exported files need backend="onnx".' if name.endswith(".onnx") else ""
        raise ConfigError(f"There are no features {name!r}. There are: {', '.join(EXTRACTORS)}.{hint}")
    build, config = EXTRACTORS[name]
    known = [field.name for field in fields(config)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"{name} has no option {', '.join(unknown)}. It has: {', '.join(known)}.")
    return build(replace(config, **options), allow_noncommercial=allow_noncommercial)


__all__ = [
    "ALIKED",
    "DISK",
    "EXTRACTORS",
    "SIFT",
    "ALIKEDConfig",
    "DISKConfig",
    "DoGHardNet",
    "DoGHardNetConfig",
    "Extractor",
    "ExtractorConfig",
    "OnnxExtractor",
    "SIFTConfig",
    "SuperPoint",
    "SuperPointConfig",
    "create_extractor",
]
