"""The extractor of a training run: one of ours, or a class of the user's."""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from photoglue.errors import ConfigError
from photoglue.extractors import EXTRACTORS, create_extractor
from photoglue.extractors.base import Extractor

OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # As in the official training.
        "superpoint": {"nms_radius": 3, "detection_threshold": 0.0},
        # Several points at one place, with other orientations, would contradict each other as labels; SIFT's default
        # suppresses them already.
        "doghardnet": {"nms_radius": 3},
    }
)
"""Options that differ from the defaults of the extractors in training."""


def training_extractor(
    name: str, *, max_keypoints: int, allow_noncommercial: bool, resize: int | None = None
) -> Extractor:
    """The extractor of a training run.

    Args:
        name: Name of one of ours; or "package.module:Class" or "path/file.py:Class", a subclass of ``Extractor`` that
            is made without arguments.
        max_keypoints: Keypoints of each image, at most; a class of the user's keeps its own number.
        allow_noncommercial: Accept weights whose licence forbids commercial use.
        resize: Longer side of the images that it sees, pixels; None: images have the right size already.

    Raises:
        ConfigError: If there is no such extractor, or the class is none.
        LicenceError: If the weights are non-commercial and that was not accepted.
    """
    if ":" not in name:
        if name not in EXTRACTORS:
            raise ConfigError(
                f"There are no features {name!r}. There are: {', '.join(EXTRACTORS)}; or name a class of yours, as "
                "package.module:Class or path/file.py:Class."
            )
        options = {**OPTIONS.get(name, {}), "max_keypoints": max_keypoints, "resize": resize}
        return create_extractor(name, allow_noncommercial=allow_noncommercial, **options)
    place, _, class_name = name.rpartition(":")
    module = _module(place)
    made = getattr(module, class_name, None)
    if not (isinstance(made, type) and issubclass(made, Extractor)):
        found = "is not there" if made is None else "is no subclass of photoglue.Extractor"
        raise ConfigError(f"{class_name!r} {found} in {place!r}. Write a class with kind, descriptor_dim and detect().")
    try:
        make: Callable[[], Extractor] = made  # its constructor is its own
        extractor = make()
    except TypeError as error:
        raise ConfigError(f"{name!r} cannot be made without arguments: {error}. Give them defaults.") from error
    missing = [attribute for attribute in ("kind", "descriptor_dim") if not hasattr(extractor, attribute)]
    if missing:
        raise ConfigError(f"{name!r} does not define {' and '.join(missing)}; every extractor must.")
    extractor.config = replace(extractor.config, resize=resize)
    return extractor


def _module(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix != ".py":
        return _imported(place, Path.cwd())
    if not path.is_file():
        raise ConfigError(f"There is no file {place!r}; features of your own are path/file.py:Class.")
    module = _imported(path.stem, path.resolve().parent)
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise ConfigError(f"Python has another module {path.stem!r} ({module.__file__}). Give {place!r} another name.")
    return module


def _imported(name: str, folder: Path) -> ModuleType:
    """An ordinary import, so that worker processes find the class as well."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"The module of the features, {name!r}, cannot be imported: {error}. Is it spelt right, installed, or in "
            f"{str(folder)!r}?"
        ) from error
