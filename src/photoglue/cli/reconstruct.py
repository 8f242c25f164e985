"""`photoglue verify` and `photoglue reconstruct`: the steps of `photoglue map` that follow the matching, alone."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import tyro
from rich.console import Console

from photoglue import batch
from photoglue.cli.extract import print_summary, progress_bar
from photoglue.cli.map import MapperFlags, MappingFlags, VerifyFlags, print_models
from photoglue.datasets.photos import pairs_in, photos_of
from photoglue.sfm import Cameras, find_cameras, reconstruct, verify_matches, write_database
from photoglue.solvers.colmap_facts import numbers_in
from photoglue.store import FeatureStore, MatchStore


@dataclass(frozen=True, kw_only=True)
class Stores(MappingFlags):
    """Options of the commands that follow the matching."""

    images: tyro.conf.Positional[tuple[Path, ...]]
    """The photos, or folders of photos, that the features were extracted from."""
    features_store: Path
    """The HDF5 file of features."""
    matches: Path
    """The HDF5 file of matches."""
    pairs: Path | None = None
    """A text file with two names in each line; None: all pairs that were matched."""

    def wanted(self) -> list[tuple[str, str]]:
        """The pairs that the work is about."""
        if self.pairs is not None:
            return pairs_in(self.pairs)
        with MatchStore.open(self.matches) as store:
            return store.pairs()

    def found(self) -> tuple[Path, Cameras]:
        """The folder that names are relative to, and the cameras of the photos that have features."""
        photos = photos_of(self.images)
        with FeatureStore.open(self.features_store) as store:
            paths = {name: photos.path(i) for i, name in enumerate(photos.names) if name in store}
        return photos.root, find_cameras(paths, self.cameras)


@final
@dataclass(frozen=True, kw_only=True)
class Verify(VerifyFlags, Stores):
    """Check the matches of many pairs against the geometry of two photos, and keep those that agree.

    Where both focal lengths are known (EXIF, --intrinsics) it is an essential matrix, else a fundamental one; flat
    scenes and cameras that only turned are told apart. What is in the file and has not changed is left alone.
    """

    store: Path
    """The HDF5 file of verified pairs; made, or added to."""
    jobs: int = 0
    """Processes that do the work; 0: this one."""

    def run(self, console: Console) -> int:
        """Verify the pairs; returns 1 if one could not be read (the others are stored), else 0."""
        engine = batch.Processes(workers=self.jobs) if self.jobs else batch.Inline()
        with progress_bar(console, "verifying") as told:
            summary = verify_matches(
                self.wanted(),
                self.features_store,
                self.matches,
                self.store,
                self.found()[1],
                options=self.verification,
                engine=engine,
                progress=told,
            )
        print_summary(console, summary)
        return 1 if summary.failed else 0


@final
@dataclass(frozen=True, kw_only=True)
class Reconstruct(MapperFlags, Stores):
    """Write a COLMAP database of verified pairs, and place photos and points with COLMAP."""

    verified: Path
    """The HDF5 file of verified pairs."""
    out: Path
    """The folder for database.db and sparse/0, sparse/1, …; made if need be."""

    def run(self, console: Console) -> int:
        """Place the photos; returns 1 if none could be, else 0."""
        self.out.mkdir(parents=True, exist_ok=True)
        root, cameras = self.found()
        database, model = self.out / "database.db", self.out / "sparse" / "0"
        write_database(
            database,
            features=self.features_store,
            matches=self.matches,
            verified=self.verified,
            cameras=cameras,
            pairs=self.wanted(),
            first=numbers_in(model) if self.extend and model.is_dir() else None,
        )
        console.print(f"{cameras} → {database}", soft_wrap=True)
        if self.mapping is None:
            return 0
        options = self.mapping
        if self.intrinsics is not None:
            options = replace(options, refine_focal_length=False, refine_distortion=False)
        with progress_bar(console, "placing") as told:
            models = reconstruct(
                database,
                root,
                self.out,
                options=options,
                extend=self.extend,
                progress=lambda placed: told(placed, len(cameras.number_of)),
            )
        print_models(console, models, len(cameras.number_of))
        return 0 if models else 1
