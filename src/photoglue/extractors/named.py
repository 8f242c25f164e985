"""Extractors by name: those of this package, and classes of the user's."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from photoglue.errors import ConfigError
from photoglue.extractors import EXTRACTORS, create_extractor
from photoglue.extractors.base import Extractor
from photoglue.files import digest_of_file

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
    """The extractor of a training run: ``named_extractor`` with the options of ``OPTIONS``.

    Args:
        name: As ``named_extractor`` takes it.
        max_keypoints: Most keypoints of an image; a class of the user's keeps its own number.
        allow_noncommercial: Accept weights whose licence forbids commercial use.
        resize: Length in pixels of the longer side of the images that it sees; None: as they are.
    """
    options = {} if is_class(name) else {**OPTIONS.get(name, {}), "max_keypoints": max_keypoints}
    return named_extractor(name, allow_noncommercial=allow_noncommercial, resize=resize, **options)


def is_class(name: str) -> bool:
    """Whether a name means a class of the user's: "package.module:Class" or "path/file.py:Class"."""
    return ":" in name and not is_exported(name)


def label_of(name: str) -> str:
    """What tables and files call an extractor: its name, the class alone, or an exported file without its folder."""
    return Path(name).name if is_exported(name) else name.rpartition(":")[2]


def is_exported(name: str) -> bool:
    """Whether a name means a file that ``photoglue export extractor`` wrote."""
    return name.endswith(".onnx")


def source_digest(name: str) -> str | None:
    """A short name for what is in the file of a user's class, or in an exported file: another one once it changes.

    None for names of ``EXTRACTORS``, and where it is not known.

    Raises:
        ConfigError: If there is no such class.
    """
    if not is_class(name) and not is_exported(name):
        return None
    try:
        if is_exported(name):
            return digest_of_file(Path(name))
        return digest_of_file(Path(inspect.getfile(extractor_class(name))))
    except (TypeError, OSError):
        return None


def named_extractor(name: str, *, allow_noncommercial: bool = False, **options: Any) -> Extractor:
    """An extractor by name, in evaluation mode: one of ours with its released weights, or a class of the user's.

    Args:
        name: A key of ``EXTRACTORS``; or "package.module:Class" or "path/file.py:Class", a subclass of ``Extractor``
            that is made without arguments; or a file that ``photoglue export extractor`` wrote, ending in .onnx.
        allow_noncommercial: Accept released weights whose licence forbids commercial use.
        **options: Fields of its config to change from their defaults. A class of the user's is made first, and its
            ``config`` replaced then.

    Raises:
        ConfigError: If there is no such extractor or option, or the class cannot be used.
        LicenceError: If the weights are non-commercial and that was not accepted.
        WeightsError: If the weights cannot be had or are corrupt.
    """
    if is_exported(name):
        return create_extractor(name, backend="onnx", allow_noncommercial=allow_noncommercial, **options)
    if is_class(name):
        return _made(extractor_class(name), name, options)
    if name not in EXTRACTORS:
        raise ConfigError(
            f"There are no features {name!r}. There are: {', '.join(EXTRACTORS)}; or name a class of yours, as "
            "package.module:Class or path/file.py:Class, or an exported file, FILE.onnx."
        )
    return create_extractor(name, allow_noncommercial=allow_noncommercial, **options)


def extractor_class(name: str) -> type[Extractor]:
    """The class that "package.module:Class" or "path/file.py:Class" names.

    Raises:
        ConfigError: If the module cannot be imported, or has no such class.
    """
    place, _, class_name = name.rpartition(":")
    named = getattr(_module(place), class_name, None)
    if not (isinstance(named, type) and issubclass(named, Extractor)):
        problem = "is not there" if named is None else "is no subclass of photoglue.Extractor"
        raise ConfigError(
            f"{class_name!r} {problem} in {place!r}. Write a class with kind, descriptor_dim and detect()."
        )
    return named


def _made(kind: type[Extractor], name: str, options: Mapping[str, Any]) -> Extractor:
    """An extractor of a user's class, with these options."""
    try:
        make: Callable[[], Extractor] = kind  # its constructor is its own
        extractor = make()
    except TypeError as error:
        raise ConfigError(f"{name!r} cannot be made without arguments: {error}. Give them defaults.") from error
    missing = [attribute for attribute in ("kind", "descriptor_dim") if not hasattr(extractor, attribute)]
    if missing:
        raise ConfigError(f"{name!r} does not define {' and '.join(missing)}; every extractor must.")
    try:
        extractor.config = replace(extractor.config, **options)
    except TypeError as error:
        raise ConfigError(f"The config of {name!r} does not take {', '.join(options)}: {error}.") from error
    return extractor.eval().requires_grad_(False)


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
    """The module of that name, imported as Python's ``import`` does: worker processes find its classes as well."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"The module of the features, {name!r}, cannot be imported: {error}. Is it spelt right, installed, or in "
            f"{str(folder)!r}?"
        ) from error
    except Exception as error:  # whatever a user's module raises
        raise ConfigError(
            f"The module of the features, {name!r}, cannot be imported: {type(error).__name__}: {error}."
        ) from error
