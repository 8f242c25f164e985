"""Features of the images of a data set, extracted once and kept in a file."""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from photoglue.datasets.base import DataSet
from photoglue.errors import OutputError, PhotoGlueWarning
from photoglue.evaluation.results import ResizeSide
from photoglue.extractors.base import Extractor
from photoglue.image import Resize, load_image
from photoglue.store import FeatureStore, atomic_store
from photoglue.structs import Features
from photoglue.version import __version__

IMAGES_AT_ONCE = 8
"""Read and extracted together."""


def resize_to(image_size: tuple[int, int], side: ResizeSide, length: int | None) -> Resize:
    """The resize that makes the longer or shorter side so long, up or down.

    Args:
        image_size: (width, height), pixels.
        side: Which side is meant.
        length: Pixels; None: no resize.
    """
    if side == "long" or length is None:
        return Resize.long_side(image_size, length)
    scale = length / min(image_size)
    width, height = (max(1, round(extent * scale)) for extent in image_size)
    return Resize(original_size=image_size, resized_size=(width, height))


def feature_file(
    dataset: DataSet,
    extractor: Callable[[], Extractor],
    options: dict[str, Any],
    folder: Path,
    progress: Callable[[int, int], None],
) -> Path:
    """The file with the features of all images of a data set; made, or completed, if need be.

    Its name tells the options apart, and they are recorded in it with the size and date of each image: features that
    were made otherwise are never used. A file that cannot be read is made anew, with a notice.

    Args:
        dataset: Whose images.
        extractor: Makes the extractor, if anything is to be extracted.
        options: What the features depend on: method, protocol, device. ``resize`` and ``resize_side`` are used.
        folder: For the file; it exists.
        progress: Called with (images done, images in all).

    Raises:
        ImageError: If an image cannot be read.
        OutputError: If the file cannot be written.
        MissingExtra: If h5py is not installed.
    """
    names = sorted({name for pair in dataset.pairs for name in (pair.name0, pair.name1)})
    options = {**options, "photoglue": __version__, "images": _fingerprint(dataset)}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"{dataset.name}.{options['extractor']}.{digest}.h5"
    missing, damaged = _missing(path, options, names)
    progress(len(names) - len(missing), len(names))
    if not missing:
        return path
    model = extractor()
    with atomic_store(path, options, FeatureStore, overwrite=damaged) as store:
        todo = [name for name in missing if name not in store]
        for start in range(0, len(todo), IMAGES_AT_ONCE):
            batch = todo[start : start + IMAGES_AT_ONCE]
            extracted = _extract(dataset, batch, model, options["resize_side"], options["resize"])
            for name, features in zip(batch, extracted, strict=True):
                store.write(name, features)
            progress(len(names) - len(todo) + start + len(batch), len(names))
    return path


def _extract(
    dataset: DataSet, names: Sequence[str], model: Extractor, side: ResizeSide, length: int | None
) -> list[Features]:
    """Features in pixels of the images as read and turned, in main memory."""
    images, resizes = [], []
    for name in names:
        image = load_image(dataset.folder / name).to(model.device)
        image = torch.rot90(image, dataset.turns.get(name, 0), dims=(1, 2)).contiguous()
        resize = resize_to((image.shape[2], image.shape[1]), side, length)
        images.append(resize.apply(image))
        resizes.append(resize)
    return [
        replace(
            features,
            keypoints=resize.undo(features.keypoints),
            scales=None if features.scales is None else features.scales / resize.mean_scale,
            image_size=resize.original_size,
        ).cpu()
        for features, resize in zip(model.extract_many(images), resizes, strict=True)
    ]


def _missing(path: Path, options: dict[str, Any], names: Sequence[str]) -> tuple[list[str], bool]:
    """The images without features in a file, and whether the file has to be made anew."""
    if not path.exists():
        return list(names), False
    try:
        with FeatureStore.open(path, "r", options=options) as store:
            missing = [name for name in names if name not in store]
            for name in set(names) - set(missing):
                store[name]  # all of it, so that damage is found now and not in the middle of the matching
            return missing, False
    except OutputError as error:
        warnings.warn(f"{error} The features in it are extracted again.", PhotoGlueWarning, stacklevel=3)
        return list(names), True


def _fingerprint(dataset: DataSet) -> str:
    """Changes when an image does."""
    facts = []
    for name in sorted(dataset.sizes):
        status = (dataset.folder / name).stat()
        facts.append((name, status.st_size, status.st_mtime_ns, dataset.turns.get(name, 0)))
    text = json.dumps([str(dataset.folder.resolve()), facts])
    return hashlib.sha256(text.encode()).hexdigest()
