"""A whole evaluation in one call: what ``photoglue evaluate`` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from photoglue.datasets.base import DataSet
from photoglue.datasets.layouts import load_dataset
from photoglue.errors import ConfigError
from photoglue.evaluation.benchmarks.retrieval import Retrieval
from photoglue.evaluation.jobs import Job, Settings, jobs_of
from photoglue.evaluation.methods import Method
from photoglue.evaluation.rematch import Rematcher
from photoglue.evaluation.report.page import write_report
from photoglue.evaluation.results import Result, earlier_results
from photoglue.evaluation.run import Progress, measure
from photoglue.evaluation.searching import measure_searches


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation found."""

    results: tuple[Result, ...]
    """For each data set the results of the methods, in order."""
    report: Path
    """The page that shows them, with the results that the folder had before."""


def evaluate(
    data: Sequence[Path | DataSet],
    methods: Sequence[str | Method] = (),
    out: Path = Path("runs/evaluation"),
    settings: Settings | None = None,
    *,
    allow_mixed: bool = False,
    progress: Progress = lambda what, done, total: None,  # noqa: ARG005
) -> Evaluation:
    """Measure methods on data sets with a known truth, and write a report.

    ```python
    from photoglue.evaluation import Settings, evaluate

    found = evaluate([Path("strecha/fountain-P11")], ["aliked+lightglue", "sift+ratio"], Path("runs/evaluation"))
    found.results[0].values["AUC@5"]
    ```

    Args:
        data: Folders in a layout that ``load_dataset`` knows, or what it made of them; no two of one name.
        methods: Names such as ``aliked+lightglue`` (see ``Method.parse``), or methods of your own; for searches names
            such as ``aliked+vlad`` (see ``SearchMethod.parse``). None: these two.
        out: Folder for results, report and features; made if it is not there. Results that it has of other methods and
            data sets join the report.
        settings: None: the defaults.
        allow_mixed: Put results of different protocols into one report, which says so.
        progress: Called with (what is being done, how much of it is done, how much there is).

    Raises:
        ConfigError: If a data set, method, protocol or estimator does not exist, two data sets have one name, or the
            folder has results of another protocol and that was not allowed.
        ImageError: If an image cannot be read.
        OutputError: If a file cannot be written.
        LicenceError: If weights are non-commercial and that was not accepted.
        WeightsError: If weights cannot be had or are corrupt.
        MissingExtra: If the estimator's package or h5py is not installed.
    """
    settings = settings or Settings()
    datasets = [each if isinstance(each, DataSet) else load_dataset(each) for each in data]
    if any(dataset.benchmark == Retrieval.name for dataset in datasets):
        return _searches(datasets, methods, out, settings, allow_mixed=allow_mixed, progress=progress)
    methods = methods or ["aliked+lightglue"]
    jobs = jobs_of(datasets, methods, settings)
    new = {(job.dataset.name, job.method.resolved_name(settings.torch_device)) for job in jobs}
    earlier = earlier_results(out, new)
    if not allow_mixed:
        _check_cards(earlier, jobs, out)
    results = measure(datasets, methods, out, settings, progress)
    again = Rematcher(jobs, out, settings)
    page = write_report(
        [*results, *earlier],
        out,
        allow_mixed=allow_mixed,
        matches_of=again.matches_of,
        correct_of=again.correct_of,
    )
    return Evaluation(results=tuple(results), report=page)


def _searches(
    datasets: Sequence[DataSet],
    methods: Sequence[str | Method],
    out: Path,
    settings: Settings,
    *,
    allow_mixed: bool,
    progress: Progress,
) -> Evaluation:
    """Searches measured, and their report."""
    names = [method for method in methods or ["aliked+vlad"] if isinstance(method, str)]
    pairs = [dataset.name for dataset in datasets if dataset.benchmark != Retrieval.name]
    if pairs or len(names) < len(methods):
        what = f"data of pairs ({', '.join(pairs)})" if pairs else "a method that is an object"
        raise ConfigError(f"Searches have methods of their own; {what} came with them. Evaluate them separately.")
    results = measure_searches(datasets, names, out, settings, progress)
    earlier = earlier_results(out, {(result.dataset, result.method) for result in results})
    page = write_report([*results, *earlier], out, allow_mixed=allow_mixed)
    return Evaluation(results=tuple(results), report=page)


def _check_cards(earlier: Sequence[Result], jobs: Sequence[Job], out: Path) -> None:
    """Refuse before the work what the report would refuse after it."""
    cards = {job.dataset.benchmark: job.card for job in jobs}
    for result in earlier:
        card = cards.get(result.benchmark)
        differences = [] if card is None else card.differences(result.card)
        differences = [text for text in differences if not text.startswith("image_set ")]
        if differences:
            raise ConfigError(
                f"{str(out)!r} has a result of {result.method} on {result.dataset} under another protocol "
                f"({'; '.join(differences)}). Give another --out, remove it, or allow the mixture (--allow-mixed)."
            )
