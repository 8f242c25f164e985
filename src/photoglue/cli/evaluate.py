"""`photoglue evaluate DATA… --methods …`: how good methods are on data with a known truth."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.look_alikes import is_look_alikes, write_look_alikes
from photoglue.datasets.photos import photos_below
from photoglue.errors import ConfigError
from photoglue.evaluation import (
    LocalisationOptions,
    Settings,
    evaluate,
    localising,
    measure_localisation,
    measure_maps,
    measure_tracking,
)
from photoglue.evaluation.maps.run import COLUMNS, Intrinsics, row_of
from photoglue.evaluation.report.groups import groups_of
from photoglue.evaluation.report.tables import values_grid
from photoglue.evaluation.results import Result
from photoglue.evaluation.run import Progress as OnProgress
from photoglue.evaluation.tracking.run import COLUMNS as TRACKING_COLUMNS
from photoglue.evaluation.tracking.run import row_of as tracking_row

BenchmarkName: TypeAlias = Literal[
    "relative_pose",
    "homography",
    "correspondences",
    "overlap",
    "look_alikes",
    "retrieval",
    "sfm",
    "localisation",
    "tracking",
]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure methods on data sets with a known truth, and write a report.

    A method is EXTRACTOR+MATCHER: extractors as in `photoglue extract`, or a class of yours, path/file.py:Class;
    matchers lightglue, lightglue-adaptive (or lightglue-adaptive:0.9:off, confidences of depth and width), nn, ratio
    (or ratio0.9), or a file of LightGlue weights. @float32 or @bfloat16 behind it fixes the precision, ~refined at the
    end refines matches to fractions of a pixel. Methods of search: EXTRACTOR+vlad, EXTRACTOR+mean, efficientnet,
    EXTRACTOR+vlad+efficientnet; all but the third also with +rerank. Methods of sfm: the presets of `photoglue map`,
    such as default and fast, FEATURES+PRESET, colmap and hloc; of localisation EXTRACTOR+MATCHER. Methods of tracking:
    tracker, tracker:EVERY, klt, orb, and aliked+lightglue on every frame.
    """

    data: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of data sets: with cameras.json or pairs.json, sequences of HPatches, Oxford-affine or EVD, WxBS, or the
    lists of SuperGlue, LoFTR and glue-factory; or folders of such folders, as one data set. Reading LoFTR's MegaDepth
    files can run code in them: use only those that LoFTR released."""
    methods: tuple[str, ...] = ()
    """What to measure; none: aliked+lightglue, aliked+vlad for searches, default and colmap for sfm,
    aliked+lightglue and sift+ratio for localisation, tracker and klt for tracking."""
    protocol: str = "photoglue"
    """photoglue, lightglue-paper, glue-factory, loftr or superglue."""
    out: Path = Path("runs/evaluation")
    """Folder for results, report, and features. Results that it has of other methods and data join the report."""
    benchmark: BenchmarkName | None = None
    """Which kind, if a folder has several; overlap: pairs of photos of different scenes; look_alikes: the photos of a
    folder, of façades, are cut into parts that share nothing or little; retrieval: each photo of a bag of scenes, or of
    places.tsv, is searched for; sfm: a model is made of each scene's images/; localisation: every fourth photo of a
    scene is placed in a map of the others; tracking: videos with trajectory_tum.txt are tracked."""
    all_pairs: bool = False
    """All pairs of cameras.json, whatever pairs.txt lists."""
    max_pairs: int | None = None
    """At most so many pairs of each data set, evenly taken."""
    max_photos: int | None = None
    """For sfm and localisation: at most so many photos of each scene, evenly taken."""
    max_frames: int | None = None
    """For tracking: at most so many frames of each video, from the beginning."""
    intrinsics: tuple[Intrinsics, ...] = ("known", "unknown")
    """For sfm and localisation: whether the true cameras are told; with both, each scene is done twice."""
    metres: bool = False
    """For localisation: the unit of the poses is the metre, though cameras.json does not say so."""
    strangers: tuple[Path, ...] = ()
    """For localisation: photos of other places, or folders of them, none of which should get a place."""
    skip_missing: bool = False
    """Leave out pairs whose images are missing, and say how many, instead of an error."""
    seeds: int = 1
    """Solve the geometry with so many seeds, and show mean ± standard deviation."""
    estimator: str | None = None
    """poselib, opencv or magsac, instead of the protocol's."""
    threshold_px: float | None = None
    """Inlier threshold in pixels, instead of the protocol's."""
    device: str | None = None
    """Where to compute, such as cpu or cuda:0; None: on a GPU if there is one."""
    workers: int | None = None
    """Processes that solve geometry; 0: none, None: one for each core but one."""
    time_singly: bool = False
    """Match pairs one by one, each by all methods in turn: slower, but times of methods can be compared."""
    allow_mixed: bool = False
    """Put results of different protocols into one report, which says so."""
    allow_noncommercial: bool = False
    """Accept weights that may not be used commercially (SuperPoint, HardNet)."""

    def run(self, console: Console) -> int:
        """Measure, and print a table for each data set and where the report is."""
        other = {"sfm": self._maps, "localisation": self._places, "tracking": self._tracking}.get(self.benchmark or "")
        if other is not None:
            return other(console)
        settings = Settings(
            protocol=self.protocol,
            estimator=self.estimator,
            threshold_px=None if self.threshold_px is None else float(self.threshold_px),
            seeds=self.seeds,
            device=self.device,
            workers=self.workers,
            time_singly=self.time_singly,
            allow_noncommercial=self.allow_noncommercial,
        )
        datasets = [
            load_dataset(
                self._cut(folder) if self.benchmark == "look_alikes" else folder,
                self.benchmark,
                all_pairs=self.all_pairs,
                max_pairs=self.max_pairs,
                skip_missing=self.skip_missing,
            )
            for folder in self.data
        ]
        with _progress(console) as progress:
            found = evaluate(
                datasets, self.methods, self.out, settings, allow_mixed=self.allow_mixed, progress=progress
            )
        for name in dict.fromkeys(result.dataset for result in found.results):
            _print(console, [result for result in found.results if result.dataset == name])
        console.print(f"report → {found.report}", soft_wrap=True)
        return 0

    def _cut(self, folder: Path) -> Path:
        """The folder with parts of the photos of a folder; it itself if it has such."""
        if is_look_alikes(folder):
            return folder
        photos = photos_below(folder)
        parts = self.out / "look_alikes" / folder.resolve().name
        write_look_alikes([folder / name for name in photos.names], parts)
        return parts

    def _maps(self, console: Console) -> int:
        """Measure mappers, and print a table of all models."""
        self._check_unused("sfm maps as photoglue map does")
        with _progress(console) as progress:
            results = measure_maps(
                self.data,
                self.methods or ("default", "colmap"),
                self.out,
                intrinsics=self.intrinsics,
                max_photos=self.max_photos,
                progress=progress,
            )
        _print_rows(console, COLUMNS, [row_of(result) for result in results])
        console.print(f"table → {self.out / 'maps.md'}", soft_wrap=True)
        return 0

    def _tracking(self, console: Console) -> int:
        """Measure trackers, and print a table of all videos."""
        given = (self.estimator, self.threshold_px, self.max_pairs, self.max_photos, self.seeds, self.all_pairs)
        if given != (None, None, None, None, 1, False):
            raise ConfigError(
                "tracking is measured in one way: leave out --estimator, --threshold-px, --seeds, --max-pairs, "
                "--max-photos and --all-pairs."
            )
        with _progress(console) as progress:
            results = measure_tracking(
                self.data,
                self.methods or ("tracker", "klt"),
                self.out,
                max_frames=self.max_frames,
                device=self.device,
                progress=progress,
            )
        _print_rows(console, TRACKING_COLUMNS, [tracking_row(result) for result in results])
        console.print(f"table → {self.out / 'tracking.md'}", soft_wrap=True)
        return 0

    def _places(self, console: Console) -> int:
        """Measure localisation, and print a table."""
        self._check_unused("localisation places photos as photoglue localize does")
        options = LocalisationOptions(
            intrinsics=self.intrinsics,
            max_photos=self.max_photos,
            metres=self.metres or None,
            strangers=self.strangers,
            allow_noncommercial=self.allow_noncommercial,
        )
        methods = self.methods or ("aliked+lightglue", "sift+ratio")
        with _progress(console) as progress:
            results = measure_localisation(self.data, methods, self.out, options, progress=progress)
        _print_rows(console, localising.COLUMNS, [localising.row_of(result) for result in results])
        console.print(f"table → {self.out / 'localisation.md'}", soft_wrap=True)
        return 0

    def _check_unused(self, why: str) -> None:
        if (self.estimator, self.threshold_px, self.max_pairs, self.seeds) != (None, None, None, 1) or self.all_pairs:
            raise ConfigError(f"{why}: leave out --estimator, --threshold-px, --seeds, --max-pairs and --all-pairs.")


def _print_rows(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    shown = Table(*columns)
    for column in shown.columns[2:]:
        column.justify = "right"
    for row in rows:
        shown.add_row(*map(Text, row))
    console.print(shown)


@contextmanager
def _progress(console: Console) -> Iterator[OnProgress]:
    """A bar for each thing that is being done, with the time that is left; nothing until the first is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=console, transient=True)
    tasks: dict[str, TaskID] = {}
    with ExitStack() as shown:

        def show(what: str, done: int, total: int) -> None:
            if not tasks:
                shown.enter_context(bars)
            if what not in tasks:
                tasks[what] = bars.add_task(what.replace("[", "\\["), total=total)
            bars.update(tasks[what], completed=done, visible=done < total)

        yield show


def _print(console: Console, results: Sequence[Result]) -> None:
    """The table of one data set."""
    first, card = results[0], results[0].card
    shown = Table(
        title=f"{first.dataset} · {first.benchmark} · {card.image_set}\n{card.protocol}, {card.geometry}"
        f"{f', {card.seeds} seeds' if card.seeds > 1 else ''}",
        title_justify="left",
    )
    grid = values_grid(groups_of(results, allow_mixed=False)[0], brief=True)
    shown.add_column(grid.corner)
    for column in grid.columns:
        shown.add_column(f"{column.title} {column.unit}".strip(), justify="right")
    for row in grid.rows:
        shown.add_row(row.head, *(f"{cell.text} ± {cell.spread}" if cell.spread else cell.text for cell in row.cells))
    console.print(shown)
    for result in results:
        if result.warning is not None:
            console.print(f"{result.method}: {result.warning}", style="yellow", markup=False, soft_wrap=True)
