"""The tables of `speed.py`."""

import os
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table


def print_head(console: Console, results: dict[str, Any]) -> None:
    """The machine, the versions, and the rates that the floor is made of."""
    facts = results["machine"]
    console.print(f"GPU: {facts['gpu'] or 'none'}")
    console.print(f"{facts['cpu']}, {facts['cores']} cores, {facts['threads']} threads, {' '.join(facts['cpu_flags'])}")
    console.print(", ".join(f"{name} {version}" for name, version in results["versions"].items()))
    for name, rate in results["rates"].items():
        console.print(f"best {name:<8} product: {rate['gflops']:.0f} GFLOP/s ({rate['kernel']}, {rate['shape']})")
    console.print(
        f"load average {os.getloadavg()[0]:.1f}: it should be near 0 before, or timings are of something else"
    )


def print_match(console: Console, rows: list[dict[str, Any]]) -> None:
    """One line a contestant."""
    table = _table("points", "mode", "", "ms", "quartiles", "times official", "min–max", "matches", "same", "layers",
                   "floor ms", "floor/time")  # fmt: skip
    for row, after in pairwise([*rows, None]):
        assert row is not None
        ms, ratio = row["ms"], row["speedup"]
        table.add_row(
            str(row["points"]), row["mode"], row["name"], f"{ms['median']:.1f}", f"{ms['low']:.1f}–{ms['high']:.1f}",
            _ratio(ratio), "" if ratio is None else f"{ratio['least']:.2f}–{ratio['most']:.2f}", str(row["matches"]),
            "" if row["same_as_official"] is None else f"{row['same_as_official']:.3f}", str(row["layers"]),
            f"{row['floor_ms']:.1f}", f"{row['share_of_floor']:.0%}",
            end_section=after is not None and (after["points"], after["mode"]) != (row["points"], row["mode"]),
        )  # fmt: skip
    console.print(table)


def print_batch(console: Console, rows: list[dict[str, Any]], pairs: int) -> None:
    """One line a way of doing it."""
    table = _table(f"{pairs} pairs", "mode", "s", "pairs/s", "times official", "min–max")
    for row in rows:
        ratio = row["speedup"]
        table.add_row(row["name"], row["mode"], f"{row['s']['median']:.2f}", f"{pairs / row['s']['median']:.1f}",
                      _ratio(ratio), f"{ratio['least']:.2f}–{ratio['most']:.2f}")  # fmt: skip
    console.print(table)


def print_stages(console: Console, rows: list[dict[str, Any]]) -> None:
    """One line a stage."""
    names = list(rows[0]["ms"])
    table = _table("two photos, ms", "points", *names, *(f"times, {name}" for name in names[1:]))
    for row in rows:
        ms = [f"{row['ms'][name]['median']:.1f}" for name in names]
        table.add_row(row["stage"], str(row["points"]), *ms, *(_ratio(row["speedup"][name]) for name in names[1:]))
    console.print(table)
    console.print(
        "bound: official without the time of its deformable convolutions, which are kornia's, not torchvision's"
    )


def print_memory(console: Console, rows: list[dict[str, Any]]) -> None:
    """One line a contestant."""
    table = _table("peak memory", "points", "layers", "GiB", "before the match", "s", "")
    for row in rows:
        facts = (
            [] if "peak_gib" not in row else [f"{row['peak_gib']:.2f}", f"{row['before_gib']:.2f}", f"{row['s']:.1f}"]
        )
        table.add_row(row["name"], str(row["points"]), str(row["layers"]), *(facts or ["", "", ""]),
                      row.get("failed", ""))  # fmt: skip
    console.print(table)


def print_keeping(console: Console, rows: list[dict[str, Any]]) -> None:
    """One line a contestant, a job and a way of memory; ratios are to the official code in both ways."""
    table = _table("job", "name", "memory", "ms", "CPU ms", "page faults", "peak GiB", "times official as it runs",
                   "times official, memory kept")  # fmt: skip
    official = {(row["job"], row["way"]): row["ms"] for row in rows if row["name"] == "official"}
    for row in rows:
        ratios = [f"{official[row['job'], way] / row['ms']:.2f}" for way in ("as it runs", "memory kept")]
        table.add_row(row["job"], row["name"], row["way"], f"{row['ms']:.0f}", f"{row['cpu_ms']:.0f}",
                      f"{row['faults']:,.0f}", f"{row['peak_gib']:.2f}", *ratios)  # fmt: skip
    console.print(table)


def print_device(console: Console, rows: list[dict[str, Any]], pairs: str) -> None:
    """One line a contestant: milliseconds a pair and pairs a second."""
    console.print(f"{pairs}; times: as fast as the fastest of the official settings, which has a star")
    table = _table("points", "mode", "", "ms/pair", "pairs/s", "quartiles", "times", "min–max", "matches", "same",
                   "peak MiB")  # fmt: skip
    for row in rows:
        ratio, count = row["speedup"], row["pairs"]
        median, low, high = (row["s"][name] for name in ("median", "low", "high"))
        table.add_row(
            str(row["points"]), row["mode"], row["name"] + " *" * row["baseline"],
            f"{1000 * median / count:.2f}", f"{count / median:.1f}", f"{count / high:.1f}–{count / low:.1f}",
            _ratio(ratio), "" if ratio is None else f"{ratio['least']:.2f}–{ratio['most']:.2f}", str(row["matches"]),
            "" if row["same_as_official"] is None else f"{row['same_as_official']:.3f}",
            "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}",
        )  # fmt: skip
    console.print(table)


def _ratio(ratio: dict[str, float] | None) -> str:
    return "" if ratio is None else f"{ratio['median']:.2f}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 or column in ("mode", "") else "right", no_wrap=True)
    return table
