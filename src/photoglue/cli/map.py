"""`photoglue map PHOTOS --out DIR`: from a folder of photos to a 3D model with the place of every camera."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from photoglue.cli.extract import ManyPhotos
from photoglue.cli.match import MatcherName
from photoglue.cli.pairs import RuleName
from photoglue.sfm import CameraOptions, MapOptions, MapperOptions, PairOptions, VerifyOptions, map_photos
from photoglue.sfm.cameras import MODELS
from photoglue.sfm.stages import Progress as Told
from photoglue.sfm.summary import Delivery
from photoglue.sfm.unplaced import what_helps
from photoglue.solvers.colmap_facts import ColmapModel

if TYPE_CHECKING:  # the names are known when the program runs
    CameraModel: TypeAlias = str
else:
    CameraModel = Literal[tuple(MODELS)]
UNPLACED_SHOWN = 50
DELIVERIES: tuple[Delivery, ...] = ("undistort", "nerfstudio", "ply", "text")


@dataclass(frozen=True, kw_only=True)
class MappingFlags:
    """Options of all commands that deal with cameras and models."""

    camera_model: CameraModel | None = None
    """COLMAP's camera model; None: SIMPLE_RADIAL, or PINHOLE with --intrinsics."""
    intrinsics: str | None = None
    """The cameras, if they are known: a cameras.json with K of each photo; or numbers for all, in stored pixels: "f",
    "fx,fy,cx,cy" or, with --camera-model, its parameters as COLMAP lists them."""
    single_camera: bool = False
    """All photos were taken with one camera, at one focal length."""

    @property
    def cameras(self) -> CameraOptions:
        """What is known of the cameras."""
        return CameraOptions(model=self.camera_model, intrinsics=self.intrinsics, single=self.single_camera)


@dataclass(frozen=True, kw_only=True)
class VerifyFlags:
    """Options of all commands that verify matches."""

    threshold: float | None = None
    """Largest error of a match that geometry accepts, in pixels of the photos; None: 1 pixel of the photos as the
    extractor saw them."""
    min_inliers: int = 15
    """A pair with fewer matches that geometry accepts is none."""

    @property
    def verification(self) -> VerifyOptions:
        """Which matches geometry accepts."""
        return VerifyOptions(threshold_px=self.threshold, min_inliers=self.min_inliers)


@dataclass(frozen=True, kw_only=True)
class MapperFlags:
    """Options of all commands that place photos."""

    mapper: Literal["incremental", "global", "none"] = "incremental"
    """Photo by photo; all at once (GLOMAP, pycolmap 4 or newer); or none: stop at the database."""
    refine_principal_point: bool = False
    """Improve the principal points of the cameras from the beginning on; for many photos from all around only."""
    keep_principal_point: bool = False
    """Leave the principal points in the middle of the photos, however plainly these say that they are elsewhere."""
    seed: int = 0
    """Seed of all random choices: the same photos give the same bytes, with one thread."""
    threads: int = 1
    """Threads of COLMAP; -1: all. More than one are faster for hundreds of photos, but bytes may differ each time."""
    extend: bool = False
    """Add photos to the model in --out, instead of beginning a new one."""
    snapshot_photos: int = 0
    """Keep the model each time so many photos were added, and go on from there after an interruption; 0: never."""

    @property
    def mapping(self) -> MapperOptions | None:
        """How photos are placed; None: not at all."""
        if self.mapper == "none":
            return None
        return MapperOptions(
            mapper=self.mapper,
            seed=self.seed,
            threads=self.threads,
            refine_principal_point=self.refine_principal_point,
            shift_principal_point=not self.keep_principal_point,
            snapshot_photos=self.snapshot_photos,
        )


@final
@dataclass(frozen=True, kw_only=True)
class Map(MapperFlags, VerifyFlags, MappingFlags, ManyPhotos):
    """Make a 3D model of photos, with the place of every camera, that COLMAP and its friends read.

    What is in the folder and has not changed is left alone; an interrupted run goes on where it was.
    """

    out: Path
    """The folder for all files: features.h5, matches.h5, verified.h5, database.db, sparse/0, …; made, or added to."""
    max_keypoints: int | None = 4096
    """At most so many points in each photo, the best; None: all."""
    pairs: Path | None = None
    """A text file with two names in each line; None: those that --by finds."""
    by: tuple[RuleName, ...] = ("auto",)
    """Rules that find the pairs, as in `photoglue pairs`; auto: all pairs of up to 60 photos, of more retrieval, and
    the next five of each if names are numbered."""
    descriptors: Path | None = None
    """For retrieval: the HDF5 file of hloc with a vector of each photo, by NetVLAD, MegaLoc or any other network."""
    neighbors: int = 20
    """Partners of each photo that retrieval and gps look for."""
    transitive: int = 5
    """After verification, each photo is also matched with so many photos that have verified partners in common with it;
    0: with none."""
    matcher: MatcherName = "lightglue"
    """LightGlue, mutual nearest neighbours, or a file that `photoglue export matcher` wrote."""
    preset: Literal["default", "fast", "best", "realtime"] = "default"
    """default: LightGlue on all pairs; fast: nearest neighbours where they are plainly enough, and LightGlue on the
    others; best: as default, and keypoints are refined to fractions of a pixel; realtime: earlier exits, for keyframes
    of `photoglue track`."""
    rotation: Literal["auto", "off"] = "auto"
    """auto: photos that nothing connects with the others are looked at in four turns, and taken turned if one fits;
    off: photos are taken as they are."""
    check_loops: bool = False
    """Drop verified pairs that the rotations of many others contradict, as those of look-alike walls."""
    undistort: bool = False
    """Also write undistorted/images and their PINHOLE model, undistorted/sparse/0, for 3DGS and gsplat."""
    nerfstudio: bool = False
    """Also write nerfstudio/transforms.json and its sparse_pc.ply."""
    ply: bool = False
    """Also write the points with their colours, points.ply."""
    text: bool = False
    """Also write the model as COLMAP's text files, text/*.txt."""

    def run(self, console: Console) -> int:
        """Map the photos; returns 1 if a photo could not be read, nothing could be placed, or something not made."""
        with stages(console) as told:
            summary = map_photos(self.images, self.out, self.options, engine=self.where, progress=told)
        for line in summary.notes:
            console.print(line, soft_wrap=True)
        console.print(f"{summary.cameras}", soft_wrap=True)
        if self.mapper != "none":
            print_models(console, summary.models, len(summary.names), summary.unplaced)
        for path in summary.delivered if self.mapper != "none" else [self.out / "database.db"]:
            console.print(f"→ {path}", soft_wrap=True)
        for name, reason in summary.undelivered.items():
            console.print(Text.assemble(("not made:", "red"), f" {name}: {reason}"), soft_wrap=True)
        seconds = ", ".join(f"{name} {value:.1f} s" for name, value in summary.seconds.items())
        console.print(seconds, soft_wrap=True)
        unreadable = any(reason.startswith("unreadable") for reason in summary.unplaced.values())
        return 1 if unreadable or summary.undelivered or (self.mapper != "none" and not summary.models) else 0

    @property
    def options(self) -> MapOptions:
        """All options as Python takes them."""
        return MapOptions(
            features=self.features,
            max_keypoints=self.max_keypoints,
            resize=self.resize,
            ignore_alpha=self.ignore_alpha,
            allow_noncommercial=self.allow_noncommercial,
            masks=self.masks,
            matcher=self.matcher,
            preset=self.preset,
            pairs=self.pairs,
            by=self.by,
            descriptors=self.descriptors,
            pair_options=PairOptions(neighbors=self.neighbors, transitive=self.transitive),
            cameras=self.cameras,
            verify=self.verification,
            rotation=self.rotation,
            check_loops=self.check_loops,
            mapper=self.mapping,
            extend=self.extend,
            jobs=self.jobs,
            device=self.device,
            deliver=("report", *(name for name in DELIVERIES if getattr(self, name))),
        )


@contextmanager
def stages(console: Console) -> Iterator[Told]:
    """Show a progress bar with the time that is left for each stage; gives a function that moves them."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def told(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage)
            bar.update(tasks[stage], completed=done, total=total)

        try:
            yield told
        except KeyboardInterrupt:
            console.print("What was done is kept: the same command goes on from there.")
            raise


def print_models(
    console: Console,
    models: tuple[ColmapModel, ...],
    photos: int | None = None,
    unplaced: Mapping[str, str] | None = None,
) -> None:
    """Print a table of the models, and one of the photos without a place in the first."""
    if not models:
        console.print("No photo could be placed.")
    else:
        table = Table("model", "photos", "points", "mean track", "error px")
        for model in models:
            placed = f"{len(model.placed)} of {photos}"
            numbers = (str(model.points), f"{model.mean_track:.2f}", f"{model.error_px:.2f}")
            table.add_row(str(model.path), placed, *numbers)
        console.print(table)
    if unplaced:
        table = Table("not placed", "why")
        for name, reason in list(unplaced.items())[:UNPLACED_SHOWN]:
            table.add_row(Text(name), Text(reason))
        console.print(table)
        if len(unplaced) > UNPLACED_SHOWN:
            console.print(f"and {len(unplaced) - UNPLACED_SHOWN} more; run.json has them all")
        for line in what_helps(unplaced):
            console.print(Text.assemble(("what helps with ", "bold"), line), soft_wrap=True)
