"""Where a photo was taken: retrieval → matches → points of a map → pose, or the reason why not."""

import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import final

import torch

from photoglue.decode import Photo
from photoglue.errors import ConfigError, require
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import named_extractor
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame
from photoglue.image import ImageSource, load_photo
from photoglue.limits.rotation import extract_turned
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.pipeline import create_matcher
from photoglue.precision import choose_device
from photoglue.retrieval import Describer
from photoglue.sfm.cameras import ColmapCamera
from photoglue.sfm.locating.answer import Localisation
from photoglue.sfm.locating.cameras import guesses_of
from photoglue.sfm.locating.known import KnownMap, setting
from photoglue.sfm.locating.placing import Clock, LocalizeOptions, Placing, Prior, Tools
from photoglue.sfm.locating.search import Query
from photoglue.solvers.colmap import pycolmap

QUARTERS = (0, 3, 1, 2)
"""By how many quarters a photo is turned, counterclockwise, in the order in which they are tried: phones held on their
side are more frequent than upside down."""


@final
class Localizer:
    """Places photos in a map. Models and the index of the map's photos are loaded once.

    ```python
    from photoglue.sfm import Localizer

    with Localizer("map") as localizer:
        answer = localizer.localize("photo.jpg")
        print(answer.cam_from_world if answer.localised else answer.reason)
    ```

    Args:
        folder: The folder of a map: of ``map_photos`` (``photoglue map``), or of ``adopt_model``.
        options: What is matched and what is believed; None: the defaults.
        device: Where to compute; None: on a GPU if there is one.
        extractor: An extractor to use as it is; None: the one that the map was made with.
        matcher: A matcher to use as it is; None: LightGlue for these features.

    Raises:
        ConfigError: If there is no map with a model, or it was made with other features than the extractor's.
        OutputError: If a file cannot be read.
        MissingExtra: If pycolmap or h5py is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        options: LocalizeOptions | None = None,
        *,
        device: str | torch.device | None = None,
        extractor: Extractor | None = None,
        matcher: Matcher | None = None,
    ) -> None:
        require("h5py", extra="sfm")
        pycolmap()
        self.options = options or LocalizeOptions()
        self.map = KnownMap(Path(folder))
        chosen, record = choose_device(device), self.map.record
        self.extractor = extractor or named_extractor(
            setting(record, "features", "aliked"),
            allow_noncommercial=bool(setting(record, "allow_noncommercial", default=False)),
            max_keypoints=setting(record, "max_keypoints", 4096),
            resize=setting(record, "resize", 1024),
            ignore_alpha=bool(setting(record, "ignore_alpha", default=False)),
        ).to(chosen)
        kind = self.map.kind
        if kind != self.extractor.kind:
            raise ConfigError(
                f"The map {os.fspath(folder)!r} was made of {kind!r} features and the photos would get "
                f"{self.extractor.kind!r}: give no extractor, or one of the map's features."
            )
        nearest = setting(record, "matcher", "lightglue") == "nearest"
        index = self.map.index
        self.tools = Tools(
            matcher=matcher or (NearestNeighbor() if nearest else create_matcher(kind, None, None, chosen, "auto")),
            index=index,
            describer=None if index is None else Describer.of_name(index.made_by),
        )

    def __enter__(self) -> "Localizer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.map.close()

    def localize(
        self,
        photo: ImageSource,
        *,
        camera: PinholeCamera | ColmapCamera | None = None,
        prior: Localisation | Prior | None = None,
        mask: ImageSource | None = None,
        name: str | None = None,
    ) -> Localisation:
        """Where a photo was taken; ``reason`` says why that is not known, instead of a pose that may be wrong.

        Args:
            photo: A path, PIL image, numpy array (h × w × c) or tensor (c × h × w).
            camera: Its camera, of the upright photo, or as COLMAP has it (stored pixels); if it does not fit the
                matches, an estimated one is used and said. None: from a photo of the map by the same camera, from EXIF,
                or estimated.
            prior: About where it was taken, such as the answer for the photo before: photos of the map near there are
                matched first. A pose is ``cam_from_world`` in the frame of the map.
            mask: No keypoints where it is black; a file or PIL image is in stored pixels, an array upright.
            name: What the answer calls it; None: the path.

        Raises:
            ImageError: If the photo or the mask cannot be read, or their sizes differ.
            ConfigError: If the camera is of another size, or features of the map are not those of its model.
        """
        clock = Clock()
        with clock("read"):
            loaded = load_photo(photo)
        frame = StoredFrame(orientation=loaded.orientation, upright_size=(loaded.image.shape[2], loaded.image.shape[1]))
        called = (loaded.path or "") if name is None else name
        answer = Localisation(name=called, localised=False, frame=frame)
        if frame.mirrors:
            reason = f"its EXIF orientation {frame.orientation} mirrors it; save it anew without"
            return replace(answer, reason=reason, seconds=clock.seconds)
        guesses = guesses_of(photo if not isinstance(photo, Photo) else loaded, frame, camera, self.map.cameras)
        near = prior.cam_from_world if isinstance(prior, Localisation) else prior
        best: Localisation | None = None
        for quarters in QUARTERS if self.options.turn else QUARTERS[:1]:
            with clock("extract"):
                (features,) = extract_turned(self.extractor, [loaded], [quarters], [mask])
            if not len(features):
                return replace(answer, reason="no keypoints were found in it", seconds=clock.seconds)
            query = Query.of(features, frame, guesses, self.extractor.config.resize)
            placing = Placing(self.map, self.tools, self.options, query, clock)
            found = placing.answer(replace(answer, turned_deg=-90 * quarters % 360), near)
            if best is None or (found.localised, found.inliers) > (best.localised, best.inliers):
                best = found
            if best.localised and min(best.inliers, best.matches) >= self.options.enough:
                break
        assert best is not None
        return replace(best, seconds=clock.seconds)
