"""What a training run shows, on a terminal and in a file."""

import io

import pytest
from rich.console import Console

from photoglue.cli.train.progress import duration, printing
from photoglue.training.progress import Report, Score


def report(progress):
    return Report(
        pairs=round(1000 * progress), progress=progress, elapsed_s=1.0, left_s=600.0, pairs_per_s=2.5, waiting=0.01,
        learning_rate=1e-4, gradient_norm=1.0, loss=1.5, last_layer=1.25, skipped=0,
    )  # fmt: skip


def shown(calls, terminal):
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=terminal, color_system="standard" if terminal else None)
    with printing(console) as hooks:
        calls(hooks)
    return file.getvalue()


def everything(hooks):
    hooks.on_message("skipped: a[b].png: unreadable, and a reason that is longer than the line is")
    hooks.on_extraction(0, 2)
    hooks.on_extraction(2, 2)
    hooks.on_validation(0, Score(score=0.5, numbers={"baseline_precision": 0.25, "precision": 0.5}))
    for progress in (0.001, 0.002, 0.03, 1.0):
        hooks.on_report(report(progress))


def test_in_a_file_lines_stay_and_are_few():
    lines = shown(everything, terminal=False).splitlines()
    assert lines[:3] == [
        "skipped: a[b].png: unreadable, and a reason that is longer than the line is",
        "baseline: precision 0.250",
        "after 0 pairs: precision 0.500",
    ]
    assert [line.split()[0] for line in lines[3:]] == ["1", "30", "1,000"]  # one for each 2 %
    assert lines[3] == "1 pairs · loss 1.500, last layer 1.250 · 2.5 pairs/s, 1% waiting · 10 min left"


def test_on_a_terminal_the_line_moves_and_is_gone_in_the_end():
    text = shown(everything, terminal=True)
    assert "\x1b[33mskipped:\x1b[0m a[b].png" in text
    assert "extracting" in text
    assert "1,000 pairs" in text
    assert text.endswith("\x1b[2K")  # erased


def test_the_bar_is_gone_when_a_run_fails():
    def fails(hooks):
        hooks.on_extraction(1, 2)
        raise KeyboardInterrupt

    console = Console(file=io.StringIO(), force_terminal=True)
    with pytest.raises(KeyboardInterrupt), printing(console) as hooks:
        fails(hooks)
    with console.status("another one may be shown"):
        pass


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5.4, "5 s"), (89.0, "89 s"), (600.0, "10 min"), (3600.0, "1 h 00 min"), (7500.0, "2 h 05 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
