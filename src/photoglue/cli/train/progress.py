"""What a training run shows: a bar while features are extracted, one line that moves, and lines that stay."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from photoglue.training.progress import BASELINE, Hooks, Report, Score


@contextmanager
def printing(console: Console) -> Iterator[Hooks]:
    """Hooks that print on a console what a run reports, until the block ends."""
    progress = TrainingProgress(console)
    try:
        yield Hooks(
            on_message=progress.message,
            on_extraction=progress.extraction,
            on_report=progress.report,
            on_validation=progress.validation,
        )
    finally:
        progress.stop()


class TrainingProgress:
    """The progress of a run on a console; in a file or pipe, a line now and then instead of one that moves."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._shown = -1.0

    def message(self, text: str) -> None:
        """Print a line that stays."""
        line = Text(text)
        line.highlight_regex("^skipped:", "yellow")
        self.console.print(line, soft_wrap=True)

    def extraction(self, photos: int, total: int) -> None:
        """Show how many photos' features are extracted."""
        self._show((TextColumn("extracting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()), photos, total)
        if photos >= total:
            self.stop()

    def report(self, report: Report) -> None:
        """Show how the run stands."""
        text = describe(report)
        if self.console.is_terminal:
            self._show((BarColumn(bar_width=24), TextColumn("{task.description}")), report.progress, 1.0, text)
        elif report.progress >= self._shown + 0.02 or report.progress >= 1:
            self._shown = report.progress
            self.console.print(text, soft_wrap=True)

    def stop(self) -> None:
        """Remove the bar or line that moves, if there is one."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None

    def _show(self, columns: tuple[ProgressColumn, ...], done: int | float, total: int | float, text: str = "") -> None:
        if self._bar is None:
            self._bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
            self._bar.add_task(text)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=text)

    def validation(self, pairs: int, score: Score) -> None:
        """Print a line that stays; before the first one, a line for the baseline, which never changes."""
        baseline = {name: number for name, number in score.numbers.items() if name.startswith(BASELINE)}
        learned = {name: number for name, number in score.numbers.items() if name not in baseline}
        if pairs == 0 and baseline:
            self.console.print(f"baseline: {_listed(baseline)}", soft_wrap=True)
        self.console.print(f"after {pairs:,} pairs: {_listed(learned)}", soft_wrap=True)


def _listed(numbers: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name.removeprefix(BASELINE).replace('_', ' ')} {number:.3f}" for name, number in numbers.items()
    )


def describe(report: Report) -> str:
    """A report in one line."""
    skipped = f" · {report.skipped} steps skipped" if report.skipped else ""
    return (
        f"{report.pairs:,} pairs · loss {report.loss:.3f}, last layer {report.last_layer:.3f} · "
        f"{report.pairs_per_s:.1f} pairs/s, {report.waiting:.0%} waiting{skipped} · {duration(report.left_s)} left"
    )


def duration(seconds: float) -> str:
    """Seconds for people, such as "2 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
