"""`photoglue evaluate DATA… --methods …`: how good methods are on data with a known truth."""

import warnings
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from photoglue.datasets.layouts import load_dataset
from photoglue.errors import ConfigError, PhotoGlueWarning
from photoglue.evaluation import run
from photoglue.evaluation.benchmarks.terms import term_of
from photoglue.evaluation.jobs import Settings, jobs_of
from photoglue.evaluation.rematch import Rematcher
from photoglue.evaluation.report.page import write_report
from photoglue.evaluation.results import ProtocolCard, Result, table_of

SHOWN = (
    *("AUC@1", "AUC@3", "AUC@5", "AUC@10", "AUC@20", "AUC_DLT@1", "AUC_DLT@3", "AUC_DLT@5", "mAA@10", "mAA@20"),
    *("false_pairs@15", "false_pairs@30", "epipolar_precision@5e-4", "precision@3px", "recall@3px"),
    *("matches", "inliers", "match_s"),
)
"""Values for which the terminal has room; the files have all."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure methods on data sets with a known truth, and write a report.

    A method is EXTRACTOR+MATCHER: extractors as in `photoglue extract`; matchers lightglue, lightglue-adaptive (or
    lightglue-adaptive:0.9:off, confidences of depth and width), nn, ratio (or ratio0.9), or a file of LightGlue
    weights. @float32 or @bfloat16 behind it fixes the precision.
    """

    data: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of data sets: with cameras.json or pairs.json, HPatches-like sequences, WxBS, or the lists of SuperGlue,
    LoFTR and glue-factory; or folders of such folders, as one data set. Reading LoFTR's MegaDepth files can
    run code in them: use only those that LoFTR released."""
    methods: tuple[str, ...] = ("aliked+lightglue",)
    """What to measure."""
    protocol: str = "photoglue"
    """photoglue, lightglue-paper, glue-factory, loftr or superglue."""
    out: Path = Path("runs/evaluation")
    """Folder for results, report, and features. Results that it has of other methods and data join the report."""
    benchmark: Literal["relative_pose", "homography", "correspondences", "overlap"] | None = None
    """Which kind, if a folder has several; overlap: pairs of photos of different scenes."""
    all_pairs: bool = False
    """All pairs of cameras.json, whatever pairs.txt lists."""
    max_pairs: int | None = None
    """At most so many pairs of each data set, evenly taken."""
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
        """Do it, from top to bottom."""
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
            load_dataset(folder, self.benchmark, all_pairs=self.all_pairs, max_pairs=self.max_pairs)
            for folder in self.data
        ]
        jobs = jobs_of(datasets, self.methods, settings)
        new = {(job.dataset.name, job.method.resolved_name(settings.torch_device)) for job in jobs}
        earlier = earlier_results(self.out, new)
        if not self.allow_mixed:
            _check_cards(earlier, {job.dataset.benchmark: job.card for job in jobs}, self.out)
        with _progress(console) as progress:
            results = run.evaluate(datasets, self.methods, self.out, settings, progress)
        for name in dict.fromkeys(result.dataset for result in results):
            _print(console, [result for result in results if result.dataset == name])
        again = Rematcher(jobs, self.out, settings)
        page = write_report(
            [*results, *earlier],
            self.out,
            allow_mixed=self.allow_mixed,
            matches_of=again.matches_of,
            correct_of=again.correct_of,
        )
        console.print(f"report → {page}", soft_wrap=True)
        return 0


def earlier_results(folder: Path, new: Set[tuple[str, str]]) -> list[Result]:
    """The results in a folder, without those of the data sets and methods in ``new``; damaged ones are left out."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(Result.from_json(path))
        except ConfigError as error:
            warnings.warn(f"{error} It is left out: remove it, or measure it again.", PhotoGlueWarning, stacklevel=2)
    return [result for result in found if (result.dataset, result.method) not in new]


def _check_cards(earlier: Sequence[Result], cards: dict[str, ProtocolCard], out: Path) -> None:
    """Says before the work what the report would refuse after it."""
    for result in earlier:
        card = cards.get(result.benchmark)
        differences = [] if card is None else card.differences(result.card)
        differences = [text for text in differences if not text.startswith("image_set ")]
        if differences:
            raise ConfigError(
                f"{str(out)!r} has a result of {result.method} on {result.dataset} under another protocol "
                f"({'; '.join(differences)}). Give another --out, remove it, or allow the mixture (--allow-mixed)."
            )


@contextmanager
def _progress(console: Console) -> Iterator[run.Progress]:
    """A bar for each thing that is being done, with the time that is left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what.replace("[", "\\["), total=total)
            bars.update(tasks[what], completed=done, visible=done < total)

        yield show


def _print(console: Console, results: Sequence[Result]) -> None:
    """One data set."""
    first, table = results[0], table_of(results)
    card = first.card
    shown = Table(
        title=f"{first.dataset} · {first.benchmark} · {card.image_set}\n{card.protocol}, {card.estimator} "
        f"{card.threshold_px:g} px{f', {card.seeds} seeds' if card.seeds > 1 else ''}",
        title_justify="left",
    )
    columns = [i for name in SHOWN for i, (_, value) in enumerate(table.columns) if value == name]
    terms = [term_of(table.columns[i][1], first.benchmark) for i in columns]
    shown.add_column("method")
    for term in terms:
        shown.add_column(f"{term.words} {term.unit}".strip(), justify="right")
    for method, row in table.rows.items():
        cells = []
        for i, term in zip(columns, terms, strict=True):
            value, spread = row[i], table.spreads[method][i]
            text = "–" if value is None else term.shown(value)
            cells.append(f"{text} ± {term.shown(spread)}" if spread and term.kind == "share" else text)
        shown.add_row(method, *cells)
    console.print(shown)
