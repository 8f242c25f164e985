"""Vectors of whole photos that another program made, in the HDF5 layout of hloc (Sarlin et al., CVPR 2019)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from photoglue.errors import OutputError, require
from photoglue.retrieval.index import ROWS_AT_ONCE, PhotoIndex, quantised

KEY = "global_descriptor"
"""Name of the dataset in the group of a photo."""


def read_global_descriptors(path: str | os.PathLike[str]) -> PhotoIndex:
    """The vectors in a file of hloc's ``extract_features``: NetVLAD, MegaLoc, OpenIBL, DIR or of your own.

    The file has a group for each photo, whose name is the photo's (a "/" in it nests groups), with a dataset
    ``global_descriptor`` of F numbers, float16 or float32. They get unit length, so that products are cosines.

    Args:
        path: The HDF5 file.

    Returns:
        An index of all photos in the file, in the order of their names.

    Raises:
        OutputError: If there is no such file, it has no such vectors, they are not all of one length, or one has a
            number that is not finite.
        MissingExtra: If h5py is not installed.
    """
    h5py = require("h5py", extra="store")
    try:
        with h5py.File(path, "r") as file:
            names = sorted(_names(h5py, file))
            if not names:
                raise ValueError(f"it has no dataset {KEY!r}, as hloc writes it for each photo")
            parts = [
                quantised(
                    torch.from_numpy(np.stack([_vector(file, name, names[0]) for name in names[i : i + ROWS_AT_ONCE]]))
                )
                for i in range(0, len(names), ROWS_AT_ONCE)
            ]
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise OutputError(f"{os.fspath(path)!r} has no global descriptors that can be read: {error}.") from error
    codes, scales = (torch.cat(each) for each in zip(*parts, strict=True))
    return PhotoIndex(names=tuple(names), codes=codes, scales=scales, made_by=Path(path).name)


def _names(h5py: Any, group: Any, above: str = "") -> Iterator[str]:
    """Names of the groups that have a vector."""
    for name, inside in group.items():
        if isinstance(inside, h5py.Group):
            if KEY in inside:
                yield above + name
            yield from _names(h5py, inside, f"{above}{name}/")


def _vector(file: Any, name: str, first: str) -> np.ndarray:
    vector = np.asarray(file[name][KEY][()], dtype=np.float32)
    wanted = file[first][KEY].shape
    if vector.ndim != 1 or vector.shape != wanted:
        raise ValueError(
            f"that of {name!r} has the shape {vector.shape}, that of {first!r} {wanted}; all are to be (F,)"
        )
    if not np.isfinite(vector).all():
        raise ValueError(f"that of {name!r} has numbers that are not finite")
    return cast(np.ndarray, vector)
