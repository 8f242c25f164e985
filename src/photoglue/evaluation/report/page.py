"""A report of evaluations: one page that a person wants to read, and the same as Markdown."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from photoglue.errors import ConfigError, OutputError, PhotoGlueWarning
from photoglue.evaluation.report.content import Report, report_of
from photoglue.evaluation.report.html import html_of
from photoglue.evaluation.report.markdown import markdown_of
from photoglue.evaluation.report.pictures import CorrectOf, MatchesOf, PictureSource
from photoglue.evaluation.results import Result
from photoglue.files import write_whole

FILES = "report_files"
"""The folder of the pictures of ``report.md``; ``report.html`` needs none."""


def write_report(
    results: Sequence[Result],
    folder: Path,
    *,
    allow_mixed: bool = False,
    matches_of: MatchesOf | None = None,
    correct_of: CorrectOf | None = None,
    worst_pairs: int = 10,
) -> Path:
    """Write ``report.html``, which is one file, and ``report.md`` with its pictures in ``report_files``.

    Each file appears when it is whole, the page last. Files of those names are replaced; others stay.

    Args:
        results: Of any benchmarks, data sets and methods; those of a benchmark and data set share a table.
        folder: Where; it is made if it does not exist.
        allow_mixed: Accept results with different protocol cards in one table, which then says which row has which.
        matches_of: The matches of a pair, in pixels of the images as read, to be drawn on the pictures of the worst
            pairs; None: the photos alone.
        correct_of: Which of those matches are right: they are drawn in blue, the others in orange.
        worst_pairs: How many pairs of the best method of each data set are shown.

    Returns:
        The path of ``report.html``.

    Raises:
        ConfigError: If there is no result, two cannot be told apart, or cards differ and that was not allowed.
        OutputError: If a file cannot be written.
        MissingExtra: If matches are to be drawn and matplotlib is not installed.
    """
    if worst_pairs < 0:
        raise ConfigError(f"worst_pairs is {worst_pairs}; it must be 0 (no pictures) or more.")
    source = PictureSource(matches_of=matches_of, correct_of=correct_of)
    report = report_of(results, allow_mixed=allow_mixed, worst_pairs=worst_pairs, source=source)
    _warn_of_missing_photos(report)
    text, pictures = markdown_of(report, FILES)
    page = html_of(report)
    try:
        (folder / FILES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {str(folder / FILES)!r} cannot be made: {error.strerror}.") from error
    for name, content in pictures.items():
        write_whole(folder / FILES / name, content)
    write_whole(folder / "report.md", text.encode())
    write_whole(folder / "report.html", page.encode())
    return folder / "report.html"


def _warn_of_missing_photos(report: Report) -> None:
    problems = [picture.problem for section in report.sections for picture in section.worst if picture.problem]
    if problems:
        warnings.warn(
            f"{len(problems)} pairs are without a picture in the report, because a photo cannot be read. The first: "
            f"{problems[0]}",
            PhotoGlueWarning,
            stacklevel=3,
        )
