"""hloc, the peer: its own extraction, matching and reconstruction, with the settings that it comes with."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from photoglue.errors import ConfigError, MissingExtra
from photoglue.evaluation.maps.colmap import CpuWatch, MapRun, Progress, one_camera, set_cameras
from photoglue.geometry.camera import PinholeCamera
from photoglue.solvers.colmap import pycolmap


@dataclass(frozen=True, kw_only=True)
class HlocMapper:
    """hloc's pipeline on all pairs of photos, on as many threads as it takes."""

    features: str = "aliked-n16"
    """Name of a configuration of hloc's ``extract_features``."""
    matcher: str = "aliked+lightglue"
    """Name of a configuration of hloc's ``match_features``."""

    def __call__(
        self, photos: Path, out: Path, cameras: Mapping[str, PinholeCamera] | None, progress: Progress
    ) -> MapRun:
        """Extract, match all pairs, verify and map.

        Known cameras are written into its database before it verifies, and its mapper does not refine them.

        Raises:
            ConfigError: If hloc has no configuration of such a name.
            MissingExtra: If hloc, LightGlue's package that it uses, or pycolmap is not installed.
        """
        colmap = pycolmap()
        extraction, exhaustive, matching, reconstruction = (
            _part(name) for name in ("extract_features", "pairs_from_exhaustive", "match_features", "reconstruction")
        )
        for name, confs in ((self.features, extraction.confs), (self.matcher, matching.confs)):
            if name not in confs:
                raise ConfigError(f"hloc has no configuration {name!r}. There are: {', '.join(sorted(confs))}.")
        try:
            importlib.import_module("lightglue")  # hloc imports it in the middle of the work
        except ImportError as error:
            raise _missing("LightGlue's package, which hloc uses,", error, "cvg/LightGlue") from error
        watch = CpuWatch(progress=progress)
        pairs, matches, database = out / "pairs.txt", out / "matches.h5", out / "database.db"
        with watch.stage("extract"):
            features = extraction.main(extraction.confs[self.features], photos, out)
        with watch.stage("match"):
            exhaustive.main(pairs, features=features)
            matching.main(matching.confs[self.matcher], pairs, features=features, matches=matches)
        with watch.stage("verify"):
            reconstruction.create_empty_db(database)
            mode = colmap.CameraMode.SINGLE if one_camera(photos) else colmap.CameraMode.AUTO
            mode = mode if cameras is None else colmap.CameraMode.PER_IMAGE
            reconstruction.import_images(photos, database, mode)
            if cameras is not None:
                set_cameras(database, cameras)
            numbers = reconstruction.get_image_ids(database)
            with colmap.Database.open(database) as opened:
                reconstruction.import_features(numbers, opened, features)
                reconstruction.import_matches(numbers, opened, pairs, matches)
            reconstruction.estimation_and_geometric_verification(database, pairs)
        with watch.stage("map"):
            refine = cameras is None
            options = {"ba_refine_focal_length": refine, "ba_refine_extra_params": refine, "min_model_size": 3}
            model = reconstruction.run_reconstruction(out / "sparse", database, photos, options=options)
        return MapRun(model=None if model is None else out / "sparse", cpu_seconds=dict(watch.seconds))


def _part(name: str) -> ModuleType:
    """One of hloc's programs."""
    try:
        return importlib.import_module(f"hloc.{name}")
    except ImportError as error:
        raise _missing("The peer hloc", error, "cvg/Hierarchical-Localization") from error


def _missing(what: str, error: ImportError, repository: str) -> MissingExtra:
    return MissingExtra(
        f"{what} cannot be imported here ({error}). It is on no package index: "
        f"pip install git+https://github.com/{repository}"
    )
