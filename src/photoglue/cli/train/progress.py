"""What a training run shows: one line that moves, and a line for each validation that stays."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from photoglue.training.progress import BASELINE, Report, Score


class TrainingLine:
    """The progress of a run on a console; in a file or pipe, a line now and then instead of one that moves."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.terminal = console.is_terminal
        self._progress = Progress(
            BarColumn(bar_width=24), TextColumn("{task.description}"), console=console, transient=True
        )
        self._task = self._progress.add_task("starting", total=1.0)
        self._shown = -1.0

    @contextmanager
    def shown(self) -> Iterator["TrainingLine"]:
        """Inside, it is visible."""
        if not self.terminal:
            yield self
            return
        with self._progress:
            yield self

    def report(self, report: Report) -> None:
        """Show how the run stands."""
        text = describe(report)
        if self.terminal:
            self._progress.update(self._task, completed=report.progress, description=text)
        elif report.progress >= self._shown + 0.02 or report.progress >= 1:
            self._shown = report.progress
            self.console.print(text, soft_wrap=True)

    def validation(self, pairs: int, score: Score) -> None:
        """A line that stays; before the first one, a line for the baseline, which never changes."""
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
    """Such as "2 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
