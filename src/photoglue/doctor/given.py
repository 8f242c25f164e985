"""A user's own file of features, as it is: the types and mistakes that are to be found are still in it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.errors import ConfigError, OutputError, require
from photoglue.extractors import create_extractor
from photoglue.store import FeatureStore
from photoglue.structs import Features

NEEDED = ("keypoints", "descriptors")
FORMATS = (".h5", ".hdf5", ".npz")


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenFeatures:
    """Features of one photo as somebody made them; nothing of it has been checked but the numbers of rows."""

    origin: str
    """Where they are from, for people."""
    keypoints: np.ndarray
    """n × 2, of the type that they are stored in."""
    descriptors: np.ndarray
    """n × d, of the type that they are stored in."""
    image_size: tuple[int, int] | None
    """(width, height) that is stated; None: none is."""
    kind: str | None = None
    """Name of the method, such as "aliked-n16"; None: it is not known."""
    scales: np.ndarray | None = None
    """Size of each point."""
    orientations: np.ndarray | None = None
    """Angle of each point."""

    def features(self, photo_size: tuple[int, int], kind: str | None) -> Features:
        """What can be matched of them: the points without NaN.

        Args:
            photo_size: (width, height) of the photo, for a file that states no size.
            kind: What to call them where the file does not.
        """
        parts = [self.keypoints, self.descriptors, self.scales, self.orientations]
        columns = [part.reshape(len(part), -1).astype(np.float64) for part in parts if part is not None]
        good = np.isfinite(np.concatenate(columns, axis=1)).all(axis=1)
        rows = [None if part is None else part[good].astype(np.float32) for part in parts]
        size = self.image_size or photo_size
        return Features.from_arrays(
            rows[0], rows[1], size, kind=self.kind or kind, scales=rows[2], orientations=rows[3]
        )


def read_features(path: str | os.PathLike[str], photo: str | os.PathLike[str] | None = None) -> GivenFeatures:
    """The features of one photo in a file, whoever wrote it, with all its mistakes.

    Args:
        path: HDF5 as PhotoGlue and hloc write it (keypoints n × 2, descriptors d × n, perhaps image_size, scales,
            orientations; one group a photo), or .npz with arrays of these names, descriptors n × d or d × n.
        photo: The photo that they are of: which group of an HDF5 file is read. None: the only one.

    Raises:
        ConfigError: If there is no such file, it is of another format, has no features of the photo, or the arrays do
            not belong together.
        OutputError: If it is damaged.
        MissingExtra: If h5py is not installed.
    """
    path = Path(path)
    if not path.is_file() or path.suffix.lower() not in FORMATS:
        what = "is not a file" if not path.is_file() else "has no known format"
        raise ConfigError(f"{str(path)!r} {what}; features are in a file that ends in {', '.join(FORMATS)}.")
    read = _read_npz if path.suffix.lower() == ".npz" else _read_hdf5
    try:
        origin, arrays, kind = read(path, None if photo is None else os.fspath(photo))
    except (ConfigError, OutputError):
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise OutputError(f"{str(path)!r} is damaged, or no file of features: {error}.") from error
    return _given(origin, arrays, kind)


def recognized(given: GivenFeatures, image: Float[Tensor, "c h w"]) -> tuple[str, float] | None:
    """The extractor that made features whose file does not say, as the command line spells it.

    Descriptors of 128 channels without a negative value are SIFT's, those of 256 most likely SuperPoint's. ALIKED and
    DISK describe the photo at the same points: the one whose descriptors agree made them.

    Args:
        given: The features.
        image: The photo that they are of.

    Returns:
        The name and how sure it is (for ALIKED and DISK the mean cosine between the descriptors, else 1), or None if
        nothing fits, as with points that are not pixels. The right one has 0.6 to 1, by the size at which it saw the
        photo, the other one 0.0.
    """
    rows = given.descriptors.astype(np.float32)
    if rows.shape[1] in (128, 256) and len(rows) >= 20 and bool((rows >= 0).all()):
        return ("sift", 1.0) if rows.shape[1] == 128 else None
    if rows.shape[1] == 256:
        return "superpoint", 1.0
    size = np.array([image.shape[2], image.shape[1]])
    points = given.keypoints.astype(np.float32)
    good = ((points >= 0) & (points < size)).all(axis=1) & np.isfinite(rows).all(axis=1)
    chosen = np.flatnonzero(good)[:256]
    if rows.shape[1] != 128 or len(chosen) < 20:
        return None
    wanted = torch.nn.functional.normalize(torch.from_numpy(rows[chosen]), dim=1)
    cosines = {}
    for name in ("aliked", "disk"):
        described = create_extractor(name).describe(image, torch.from_numpy(points[chosen])).descriptors.cpu()
        cosines[name] = float((wanted * torch.nn.functional.normalize(described, dim=1)).sum(dim=1).mean())
    best = max(cosines, key=cosines.__getitem__)
    return (best, cosines[best]) if cosines[best] > 0.3 else None


def given_of(features: Features, origin: str) -> GivenFeatures:
    """Features in memory, to be looked at as those of a file."""
    arrays = {name: getattr(features, name) for name in (*NEEDED, "scales", "orientations")}
    numpy = {name: value.detach().cpu().float().numpy() for name, value in arrays.items() if value is not None}
    return _given(origin, {**numpy, "image_size": np.array(features.image_size)}, features.kind)


def _read_npz(path: Path, photo: str | None) -> tuple[str, dict[str, np.ndarray], str | None]:  # noqa: ARG001
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    kind = arrays.pop("kind", None)
    return str(path), arrays, None if kind is None else str(kind)


def _read_hdf5(path: Path, photo: str | None) -> tuple[str, dict[str, np.ndarray], str | None]:
    h5py = require("h5py", extra="store")
    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(
            lambda name, item: names.append(name) if hasattr(item, "keys") and "keypoints" in item else None
        )
        name = _entry_of(photo, names, path)
        arrays = {key: np.asarray(item[()]) for key, item in file[name].items() if hasattr(item, "shape")}
        kind, turned = file[name].attrs.get("kind"), int(file[name].attrs.get("exif_orientation", 1)) != 1
    if "descriptors" in arrays:
        arrays["descriptors"] = arrays["descriptors"].T
    if turned:  # the file is in stored pixels, and what is said here is of the photo as it is seen
        with FeatureStore.open(path) as store:
            upright = store[name]
        arrays["keypoints"] = upright.keypoints.numpy().astype(arrays["keypoints"].dtype)
        arrays["image_size"] = np.array(upright.image_size)
        if upright.orientations is not None:
            arrays["orientations"] = upright.orientations.numpy()
    return f"{path} ({name})", arrays, kind if isinstance(kind, str) else None


def _entry_of(photo: str | None, names: list[str], path: Path) -> str:
    """The entry of a photo: that with the longest common end of its path, or the only one."""
    if not names:
        raise ConfigError(f"{str(path)!r} has no features: no group in it has keypoints.")
    parts = PurePath(photo or "").parts
    ends = [name for name in names if parts[-len(PurePath(name).parts) :] == PurePath(name).parts]
    named = [name for name in names if parts and PurePath(name).name == parts[-1]]
    for fitting in (sorted(ends, key=len)[-1:], named, names):
        if len(fitting) == 1:
            return fitting[0]
    raise ConfigError(f"{str(path)!r} has no features of {photo!r}; it has {len(names)} photos, such as {names[0]!r}.")


def _given(origin: str, arrays: Mapping[str, np.ndarray], kind: str | None) -> GivenFeatures:
    missing = [name for name in NEEDED if name not in arrays]
    if missing:
        raise ConfigError(f"{origin} has no {' and no '.join(missing)}; it has {', '.join(arrays) or 'nothing'}.")
    keypoints, descriptors = arrays["keypoints"], arrays["descriptors"]
    if keypoints.ndim != 2 or keypoints.shape[1] != 2 or descriptors.ndim != 2:
        shapes = f"{keypoints.shape} and {descriptors.shape}"
        raise ConfigError(f"keypoints and descriptors of {origin} have shapes {shapes}; n × 2 and n × d were expected.")
    n = len(keypoints)
    if len(descriptors) != n and descriptors.shape[1] == n:
        descriptors = descriptors.T
    if len(descriptors) != n:
        raise ConfigError(f"{origin} has {n} keypoints, but descriptors of shape {descriptors.shape}.")
    extra = {name: arrays[name].reshape(-1) for name in ("scales", "orientations") if name in arrays}
    if bad := [name for name, values in extra.items() if len(values) != n]:
        raise ConfigError(f"{origin} has {n} keypoints, but {len(extra[bad[0]])} {bad[0]}.")
    size = arrays.get("image_size")
    width, height = (int(side) for side in np.ravel(size)[:2]) if size is not None and np.size(size) >= 2 else (0, 0)
    return GivenFeatures(
        origin=origin,
        keypoints=keypoints,
        descriptors=descriptors,
        image_size=(width, height) if min(width, height) > 0 else None,
        kind=kind,
        scales=extra.get("scales"),
        orientations=extra.get("orientations"),
    )
