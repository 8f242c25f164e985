"""Which pairs of photos are worth matching."""

import os
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64

from photoglue.batch import extract
from photoglue.batch.extract import Photos
from photoglue.batch.filling import Progress
from photoglue.errors import ConfigError, ImageError, PhotoGlueWarning
from photoglue.extractors import create_extractor
from photoglue.image import read_gps
from photoglue.retrieval import Describer, PhotoIndex, read_global_descriptors
from photoglue.sfm.indexing import POINTS, SIDE, index_of, named_photos
from photoglue.sfm.poses import known_poses, named_alike
from photoglue.solvers.colmap_model import read_model

ALL_PAIRS = 60
"""All pairs are taken of up to so many photos, 1,770 of them."""
NUMBERED = 0.9
"""Photos are a sequence if the names of so many, in each folder, differ in their last number only."""
EARTH_M = 6_371_000.0
"""Mean radius."""
ROWS_AT_ONCE = 512

Rows: TypeAlias = list[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """How many pairs are taken; each rule has use for some of these.

    Raises:
        ConfigError: If a number makes no sense.
    """

    neighbors: int = 20
    """Partners of each photo that retrieval, gps, poses and model look for; pairs are those of either photo."""
    overlap: int = 10
    """Photos that follow in a sequence and are paired with each; besides, those 2, 4, 8, … further on are."""
    max_distance_m: float | None = None
    """Metres up to which gps pairs photos; None: however far the nearest are."""
    max_angle_deg: float = 30.0
    """Largest angle between the optical axes of two photos that poses pairs, degrees."""
    transitive: int = 5
    """After verification, each photo is also matched with so many photos that have verified partners in common with it;
    0: with none. ``find_pairs`` has no use for this, ``map_photos`` has, unless all pairs were matched."""
    network: bool = False
    """Whether retrieval also uses EfficientNet-lite0: better, a twentieth of a second a photo, extra ``retrieval``."""

    def __post_init__(self) -> None:
        for name in ("neighbors", "overlap"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.transitive < 0:
            raise ConfigError(f"transitive is {self.transitive}; it must be at least 0.")
        if self.max_distance_m is not None and not self.max_distance_m > 0:
            raise ConfigError(f"max_distance_m is {self.max_distance_m}; it must be a positive number of metres.")
        if not 0 < self.max_angle_deg <= 180:
            raise ConfigError(f"max_angle_deg is {self.max_angle_deg}; it must be in (0, 180] degrees.")


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What all rules are given."""

    names: tuple[str, ...]
    paths: Mapping[str, Path]
    options: PairOptions
    features: Path | None
    model: Path | None
    descriptors: Path | None
    progress: Progress


def find_pairs(
    photos: Photos,
    *,
    by: str | Sequence[str] = "auto",
    features: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | None = None,
    descriptors: str | os.PathLike[str] | None = None,
    options: PairOptions | None = None,
    progress: Progress | None = None,
) -> list[tuple[str, str]]:
    """The pairs of photos that are worth matching, each once, none of a photo with itself.

    Args:
        photos: A folder, whose photos get their paths below it as names; a photo; a sequence of both; or photos by
            name.
        by: A rule, or several, whose pairs are all taken. ``all``: every pair. ``sequence``: photos that follow each
            other by the numbers in their names, folder by folder, the next ten and those 2, 4, 8, … further on.
            ``gps``: the nearest by EXIF. ``retrieval``: those that look most alike. ``poses``: the nearest that look
            the same way. ``model``: those that share most points of a COLMAP model. ``auto``: all pairs of up to 60
            photos; of more retrieval and, if their names are numbered, the next five of each.
        features: The file of ``batch.extract`` with the local features of the photos, for retrieval; None: 1024 ALIKED
            points of each are extracted at 640 pixels, and thrown away.
        model: For poses a ``cameras.json``, a TUM trajectory or a folder with a COLMAP model; for model the latter.
        descriptors: For retrieval the HDF5 file of another program with a vector of each photo, as hloc writes it
            (``retrieval.read_global_descriptors``), instead of those that are made here.
        options: How many; None: the defaults.
        progress: Called with (photos done, photos in all) while features are extracted and vectors made.

    Returns:
        Pairs of names, in the order of the photos. What was left out, such as photos without GPS, is said by warnings.

    Raises:
        ConfigError: If there is no such rule or no photo, what a rule needs is missing, or not two photos have it.
        ImageError: If a file or folder of ``photos`` does not exist.
        OutputError: If a file of features or descriptors cannot be read.
        MissingExtra: If a rule needs h5py or pycolmap and it is not installed.
    """
    rules = [by] if isinstance(by, str) else list(by)
    for rule in rules:
        if rule not in RULES:
            raise ConfigError(f"There is no rule {rule!r} to find pairs by. There are: {', '.join(RULES)}.")
    if not rules:
        raise ConfigError(f"There is no rule to find pairs by. There are: {', '.join(RULES)}.")
    _, photos = named_photos(photos)
    if len(photos) < 2:
        raise ConfigError(f"There {'is one photo' if photos else 'are no photos'}: a pair has two.")
    request = _Request(
        names=tuple(sorted(photos, key=_natural)),
        paths=photos,
        options=options or PairOptions(),
        features=None if features is None else Path(features),
        model=None if model is None else Path(model),
        descriptors=None if descriptors is None else Path(descriptors),
        progress=progress or (lambda *_: None),
    )
    rows = {(min(pair), max(pair)) for rule in rules for pair in RULES[rule](request) if pair[0] != pair[1]}
    return [(request.names[i], request.names[j]) for i, j in sorted(rows)]


def is_numbered(names: Sequence[str]) -> bool:
    """Whether photos look like a sequence: in each folder most names differ in their last number only."""
    patterns: dict[str, list[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        stem = file.rpartition(".")[0] or file
        patterns.setdefault(folder, []).append(re.sub(r"\d+(?=\D*$)", "#", stem))
    alike = sum(max(found.count(each) if "#" in each else 0 for each in set(found)) for found in patterns.values())
    return len(names) > 1 and alike >= NUMBERED * len(names)


def _auto(request: _Request) -> Rows:
    if len(request.names) <= ALL_PAIRS:
        return _all(request)
    found = _by_retrieval(request)
    if is_numbered(request.names):
        found += _following(request, range(1, max(1, request.options.overlap // 2) + 1))
    return found


def _all(request: _Request) -> Rows:
    return list(combinations(range(len(request.names)), 2))


def _by_sequence(request: _Request) -> Rows:
    powers = [2**j for j in range(1, len(request.names).bit_length())]
    return _following(request, {*range(1, request.options.overlap + 1), *powers})


def _following(request: _Request, steps: Sequence[int] | set[int] | range) -> Rows:
    found: Rows = []
    numbered = enumerate(request.names)
    for _, group in groupby(numbered, key=lambda row: row[1].rpartition("/")[0]):
        rows = [row for row, _ in group]
        found += [(rows[i], rows[i + step]) for step in steps for i in range(len(rows) - step)]
    return found


def _by_gps(request: _Request) -> Rows:
    rows, points = [], []
    for row, name in enumerate(request.names):
        try:
            position = read_gps(request.paths[name])
        except ImageError:
            position = None
        if position is not None:
            north, east = np.deg2rad([position.latitude_deg, position.longitude_deg])
            rows.append(row)
            points.append([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])
    _check_known(request, rows, "a position in their EXIF data", "Choose another rule.")
    # Over a chord: for the nearest, and for some 100 metres, that is the way on the ground.
    return _nearest(rows, np.array(points) * EARTH_M, request.options.neighbors, request.options.max_distance_m)


def _by_poses(request: _Request) -> Rows:
    if request.model is None:
        raise ConfigError("The rule poses needs a model: cameras.json, a TUM trajectory, or a COLMAP model.")
    placed = known_poses(request.model, request.names)
    row_of = {name: row for row, name in enumerate(request.names)}
    rows = [row_of[name] for name in placed.names]
    _check_known(request, rows, f"a pose in {str(request.model)!r}", "Choose another rule.")
    limit = float(np.cos(np.deg2rad(request.options.max_angle_deg)))
    return _nearest(rows, placed.centres, request.options.neighbors, None, axes=placed.axes, min_cosine=limit)


def _by_model(request: _Request) -> Rows:
    if request.model is None:
        raise ConfigError("The rule model needs a model: a folder with a COLMAP model.")
    model = read_model(request.model)
    stored = named_alike(request.names, {image.name: image.name for image in model.images})
    row_of = {stored[name]: row for row, name in enumerate(request.names) if name in stored}
    _check_known(request, list(row_of.values()), f"a place in the model {str(request.model)!r}", "Choose another rule.")
    shared: dict[int, Rows] = {row: [] for row in row_of.values()}
    for (name0, name1), count in model.shared_points().items():
        if name0 in row_of and name1 in row_of:
            shared[row_of[name0]].append((-count, row_of[name1]))
            shared[row_of[name1]].append((-count, row_of[name0]))
    return [(row, other) for row, others in shared.items() for _, other in sorted(others)[: request.options.neighbors]]


def _by_retrieval(request: _Request) -> Rows:
    if request.descriptors is not None:
        index = read_global_descriptors(request.descriptors)
        stored = named_alike(request.names, {name: row for row, name in enumerate(index.names)})
        kept = list(stored.values())
        index = PhotoIndex(
            names=tuple(stored), codes=index.codes[kept], scales=index.scales[kept], made_by=index.made_by
        )
        what, advice = f"a vector in {str(request.descriptors)!r}", "Is it a file of these photos?"
    else:
        index, what, advice = _looked_at(request), "local features", "Extract them first, into the same file."
    row_of = {name: row for row, name in enumerate(request.names)}
    rows = [row_of[name] for name in index.names]
    _check_known(request, rows, what, advice)
    best = index.neighbors(request.options.neighbors).rows
    return [(rows[i], rows[j]) for i, chosen in enumerate(best.tolist()) for j in chosen]


def _looked_at(request: _Request) -> PhotoIndex:
    """The index of photos by their local features, those of a file or coarse ones."""
    with tempfile.TemporaryDirectory() as folder:
        features = request.features
        if features is None:
            features = Path(folder) / "features.h5"
            extractor = create_extractor("aliked", max_keypoints=POINTS, resize=SIDE)
            Describer.pretrained(extractor.kind, network=request.options.network)  # what is missing, before the work
            extract(request.paths, features, extractor, progress=request.progress)
        return index_of(request.paths, features, network=request.options.network, progress=request.progress)


RULES: Mapping[str, Callable[[_Request], Rows]] = MappingProxyType(
    {
        "auto": _auto,
        "all": _all,
        "sequence": _by_sequence,
        "gps": _by_gps,
        "retrieval": _by_retrieval,
        "poses": _by_poses,
        "model": _by_model,
    }
)
"""Name → rule."""


def _check_known(request: _Request, rows: Sequence[int], what: str, advice: str) -> None:
    known, total = set(rows), len(request.names)
    without = [name for i, name in enumerate(request.names) if i not in known]
    if len(rows) < 2:
        raise ConfigError(f"{len(rows)} of {total} photos have {what}; a pair needs two. {advice}")
    if without:
        listed = ", ".join(without[:5]) + ", …" * (len(without) > 5)
        warnings.warn(f"{len(without)} of {total} photos are without {what}: {listed}.", PhotoGlueWarning, stacklevel=4)


def _nearest(
    rows: Sequence[int],
    points: Float64[np.ndarray, "n 3"],
    count: int,
    max_distance: float | None,
    *,
    axes: Float64[np.ndarray, "n 3"] | None = None,
    min_cosine: float = -1.0,
) -> Rows:
    """For each point the nearest others, within a distance and, if there are axes, an angle; in blocks."""
    points = points - points.mean(axis=0)
    found: Rows = []
    for first in range(0, len(points), ROWS_AT_ONCE):
        block = points[first : first + ROWS_AT_ONCE]
        distances = np.sqrt(sum((block[:, None, i] - points[None, :, i]) ** 2 for i in range(3)))
        distances[np.arange(len(block)), first + np.arange(len(block))] = np.inf
        if max_distance is not None:
            distances[distances > max_distance] = np.inf
        if axes is not None:
            distances[axes[first : first + ROWS_AT_ONCE] @ axes.T < min_cosine] = np.inf
        best = np.argsort(distances, axis=1, kind="stable")[:, :count]
        found += [
            (rows[first + i], rows[j]) for i, chosen in enumerate(best) for j in chosen if distances[i, j] < np.inf
        ]
    return found


def _natural(name: str) -> tuple[str, list[tuple[int, str]], str]:
    """Order of names in which img2 comes before img10, folder by folder."""
    folder, _, file = name.rpartition("/")
    words = [(int(word), "") if word.isdigit() and word.isascii() else (-1, word) for word in re.split(r"(\d+)", file)]
    return folder, words, name
