"""What a map knows: its photos with their features, the points that these see, and which photos see the same."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from photoglue.errors import ConfigError, PhotoGlueError
from photoglue.files import from_json
from photoglue.geometry.frames import to_colmap
from photoglue.image import read_exif, read_image_size
from photoglue.retrieval import Describer, PhotoIndex
from photoglue.retrieval.vlad import VOCABULARY_OF_KIND
from photoglue.sfm.cameras import camera_words
from photoglue.sfm.folder import FORMAT, RunRecord
from photoglue.solvers.colmap_files import CameraRecord, read_images
from photoglue.solvers.colmap_model import Model, ModelImage, read_model
from photoglue.store import FeatureStore
from photoglue.structs import Features

INDEX = "localize.h5"
"""File of the vectors of a map's photos, in its folder."""
MOVED_PX = 3.0
"""How far refined keypoints may lie from the stored ones, pixels of a photo that the extractor sees at its own size."""
FEATURES_HELD = 64
"""Photos whose features stay in memory: 4 MB each, with 4096 points."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownPhoto:
    """A photo of the map."""

    image: ModelImage
    points: Int64[np.ndarray, " n"]
    """For each of its features the point that it sees, a row of ``Model.points``; -1: none."""


@final
class KnownMap:
    """A map that photos can be placed in.

    Raises:
        ConfigError: If the folder holds no map with a model, or its features are not those that it was made of.
        OutputError: If a file cannot be read.
        MissingExtra: If h5py is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = _record(folder)
        self.root = Path(self.record.photos)
        self.model: Model = read_model(folder / "sparse" / "0")
        if not len(self.model.points):
            raise ConfigError(f"The model in {str(folder)!r} has no points, so that no photo can be placed in it.")
        if not (folder / "features.h5").is_file():
            raise ConfigError(
                f"{str(folder)!r} has no features.h5, the features that its model was made of: run photoglue map "
                "again, or give the model (--model) and its photos."
            )
        self._store = FeatureStore.open(folder / "features.h5")
        self._held: OrderedDict[str, Features] = OrderedDict()
        self._records = {record.name: record for record in read_images(folder / "sparse" / "0" / "images.bin")}
        self._rows: dict[str, KnownPhoto] = {}
        self.names = tuple(image.name for image in self.model.images if image.name in self._store)
        if not self.names:
            raise ConfigError(f"{str(folder / 'features.h5')!r} has no features of any photo of the model.")

    def __enter__(self) -> "KnownMap":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its file."""
        self._store.close()

    @cached_property
    def images(self) -> Mapping[str, ModelImage]:
        """The placed photos by name."""
        return {image.name: image for image in self.model.images}

    @cached_property
    def shared(self) -> Mapping[str, Mapping[str, int]]:
        """For each photo those that see points that it sees, with how many."""
        found: dict[str, dict[str, int]] = {name: {} for name in self.names}
        for (name0, name1), count in self.model.shared_points().items():
            if name0 in found and name1 in found:
                found[name0][name1] = found[name1][name0] = count
        return found

    @cached_property
    def kind(self) -> str:
        """The kind of its features."""
        return self.features(self.names[0]).kind or "unknown"

    @cached_property
    def cameras(self) -> Mapping[tuple[str, tuple[int, int]], CameraRecord]:
        """The camera of photos by what EXIF says of them and their stored size; of photos that can be read."""
        found: dict[tuple[str, tuple[int, int]], CameraRecord] = {}
        for image in self.model.images:
            path, camera = self.root / image.name, self.model.cameras[image.camera_id]
            try:
                words = camera_words(read_exif(path)) if path.is_file() else ""
                size = read_image_size(path, upright=False) if path.is_file() else camera.image_size
            except PhotoGlueError:
                continue
            if size == camera.image_size:
                found.setdefault((words, size), camera)
        return found

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """A name for the features of each photo."""
        return tuple(self._store.digest(name) for name in self.names)

    @cached_property
    def index(self) -> PhotoIndex | None:
        """Vectors of its photos, kept in a file of its folder; None: there is no vocabulary for its features."""
        if self.kind not in VOCABULARY_OF_KIND:
            return None
        describer, path = Describer.pretrained(self.kind), self.folder / INDEX
        if path.is_file():
            try:
                index = PhotoIndex.load(path)
            except PhotoGlueError:  # damaged: made anew
                index = None
            if index is not None and (index.names, index.digests, index.made_by) == (
                self.names,
                self.digests,
                describer.name,
            ):
                return index
        vectors = torch.stack([describer.describe(self._store[name], None) for name in self.names])
        index = PhotoIndex.of_vectors(self.names, vectors, describer.name, self.digests)
        index.save(path)
        return index

    def features(self, name: str) -> Features:
        """The features of a photo; those of the photos that were asked for last stay in memory."""
        if name not in self._held:
            self._held[name] = self._store[name]
            if len(self._held) > FEATURES_HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(name)
        return self._held[name]

    def photo(self, name: str) -> KnownPhoto:
        """A photo with the points that its features see.

        Raises:
            ConfigError: If its features are not those that the model was made of.
        """
        if name not in self._rows:
            self._rows[name] = self._known(name)
        return self._rows[name]

    def _known(self, name: str) -> KnownPhoto:
        record, features, image = self._records[name], self.features(name), self.images[name]
        stored = to_colmap(features.stored_frame.from_upright(features.keypoints).double().numpy())
        moved = np.linalg.norm(record.xy - stored, axis=1) if len(stored) == len(record.xy) else np.array([np.inf])
        if (moved > MOVED_PX * max(1.0, max(features.image_size) / 1024)).any():
            raise ConfigError(
                f"The features of {name!r} in {str(self.folder)!r} are not those that its model was made of: run "
                "photoglue map again."
            )
        points = np.full(len(stored), -1, dtype=np.int64)
        points[record.point_ids >= 0] = image.points.numpy()
        return KnownPhoto(image=image, points=points)

    @cached_property
    def centres(self) -> Float64[np.ndarray, "n 3"]:
        """Where the cameras of ``names`` stand."""
        return np.stack([self.images[name].centre.numpy() for name in self.names])

    @cached_property
    def axes(self) -> Float64[np.ndarray, "n 3"]:
        """Where the cameras of ``names`` look."""
        return np.stack([self.images[name].cam_from_world[2, :3].numpy() for name in self.names])

    @cached_property
    def xyz(self) -> Float64[np.ndarray, "m 3"]:
        """The points."""
        return np.asarray(self.model.points.numpy())

    def near(self, cam_from_world: Float64[Tensor, "4 4"], count: int) -> list[str]:
        """The photos that were taken from about the same place in about the same direction, the nearest first.

        Args:
            cam_from_world: A pose of a stored or upright photo, whichever: its turn about its axis does not count.
            count: How many at most.
        """
        matrix = cam_from_world.numpy()
        distances = np.linalg.norm(self.centres + matrix[:3, :3].T @ matrix[:3, 3], axis=1)
        scale = max(float(np.median(np.linalg.norm(self.centres - np.median(self.centres, axis=0), axis=1))), 1e-12)
        order = np.argsort(distances / scale + 2 * (1 - self.axes @ matrix[2, :3]), kind="stable")
        return [self.names[row] for row in order[:count]]


def _record(folder: Path) -> RunRecord:
    path = folder / "run.json"
    if not path.is_file() or not (folder / "sparse" / "0").is_dir():
        hint = " It is a COLMAP model: give it as --model, with --photos (adopt_model)." * (
            (folder / "images.bin").is_file() or (folder / "images.txt").is_file()
        )
        raise ConfigError(
            f"{str(folder)!r} is no folder of a map with a model: run.json and sparse/0, as photoglue map makes them, "
            f"were wanted.{hint}"
        )
    record = from_json(RunRecord, path.read_bytes(), origin=str(path))
    if record.format != FORMAT:
        raise ConfigError(f"{str(path)!r} is of {record.format!r}, not of {FORMAT!r}.")
    return record


def setting(record: RunRecord, name: str, default: Any) -> Any:
    """An option that a map was made with; those of older versions lack some."""
    return record.settings.get(name, default)
