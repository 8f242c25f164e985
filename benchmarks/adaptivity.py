"""What early exit and pruning save and cost: the paper's Table 6, and a sweep over both confidences.

    python benchmarks/adaptivity.py --data ../shared/data/eval --threads 1 --cpu-time --docs docs

On pairs with known pose (Strecha, reichstag), which are easy, medium or hard by the angle between the two cameras, a
third each. All settings match a pair one after the other, then the next pair the other way round; speed-ups are ratios
of times within that run. --cpu-time counts the seconds that this process computes instead of those that pass: for one
thread on a machine that does other work too. What is measured stays in --out until a run is complete, so that a killed
one goes on.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from pages import replace_between
from tradeoff import Setting, adaptivity_table, markdown_table, plot_sweep, sweep_table

from photoglue.datasets.base import DataSet
from photoglue.datasets.layouts import load_dataset
from photoglue.evaluation.jobs import Settings
from photoglue.evaluation.results import Result
from photoglue.evaluation.run import evaluate
from photoglue.machine import version_line

SETS = ("strecha/fountain-P11", "strecha/Herz-Jesus-P8", "strecha/entry-P10", "imb_reichstag")
DEPTHS = (None, 0.99, 0.95, 0.9, 0.8)
WIDTHS = (None, 0.99, 0.95)


def main() -> None:
    """Measure what was asked for, print it, and write it into the page."""
    args = arguments()
    torch.set_num_threads(args.threads)
    print(version_line())
    clock: Literal["wall", "cpu"] = "cpu" if args.cpu_time else "wall"
    settings = Settings(time_singly=True, clock=clock, workers=0, device="cpu", seeds=args.seeds)
    pairs = known_poses(args.data, args.sets)
    if args.every:
        table = table_text(subset(pairs, args.every), args, settings)
        print(f"\n{table}", flush=True)
        if args.docs:
            replace_between(args.docs / "quality.md", "adaptivity", table)
    if args.sweep_every:
        table = sweep_text(subset(pairs, args.sweep_every), args, settings)
        print(f"\n{table}", flush=True)
        if args.docs:
            replace_between(args.docs / "quality.md", "sweep", table)


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the development split")
    parser.add_argument("--out", type=Path, default=Path("runs/adaptivity"), help="features, results")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--features", default="aliked")
    parser.add_argument("--depths", nargs="+", type=confidence, default=list(DEPTHS), metavar="CONFIDENCE")
    parser.add_argument("--widths", nargs="+", type=confidence, default=list(WIDTHS), metavar="CONFIDENCE")
    parser.add_argument("--every", type=int, default=2, help="the table is of each second pair; 0: no table")
    parser.add_argument("--sweep-every", type=int, default=4, help="the sweep is of each fourth pair; 0: no sweep")
    parser.add_argument("--seeds", type=int, default=1, help="of the estimator; records are those of the first")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--plot", type=Path, help="a .png file; with --docs: images/tradeoff.png there")
    parser.add_argument("--docs", type=Path, help="a folder: the tables in quality.md, the plot in images/")
    args = parser.parse_args()
    if args.docs and args.plot is None:
        args.plot = args.docs / "images" / "tradeoff.png"
    return args


def confidence(text: str) -> float | None:
    """A number, or None for "off"."""
    return None if text == "off" else float(text)


def known_poses(data: Path, sets: Sequence[str]) -> DataSet:
    """All pairs of some sets as one data set, so that one third of all pairs is easy."""
    everything = load_dataset(data, "relative_pose", all_pairs=True)
    pairs = tuple(pair for pair in everything.pairs if pair.scene in sets)
    missing = set(sets) - {pair.scene for pair in pairs}
    if missing:
        raise SystemExit(f"{data} has no pairs of {', '.join(sorted(missing))}")
    used = {name for pair in pairs for name in (pair.name0, pair.name1)}
    sizes = {name: size for name, size in everything.sizes.items() if name in used}
    return replace(everything, name="known-poses", pairs=pairs, sizes=sizes, image_set=f"{len(pairs)} pairs")


def subset(dataset: DataSet, every: int) -> DataSet:
    """Each so many-th pair."""
    kept = dataset.pairs[::every]
    return replace(dataset, pairs=kept, image_set=f"{len(kept)} of {len(dataset.pairs)} pairs")


def table_text(dataset: DataSet, args: argparse.Namespace, settings: Settings) -> str:
    """Easy, medium and hard pairs at the default confidences."""
    names = [f"{args.features}+lightglue", f"{args.features}+lightglue-adaptive"]
    full, adaptive = evaluate([dataset], names, args.out, settings)
    angles = sorted(record.values["rotation_angle_deg"] for record in full.records)
    edges = (angles[len(angles) // 3], angles[2 * len(angles) // 3])
    return (
        f"{dataset.image_set}; thirds at rotations of about {edges[0]:.0f}° and {edges[1]:.0f}°.\n\n"
        + markdown_table(adaptivity_table(adaptive, full))
    )


def sweep_text(dataset: DataSet, args: argparse.Namespace, settings: Settings) -> str:
    """All confidences of depth with all of width; also writes the plot."""
    grid = [(depth, width) for depth in args.depths for width in args.widths]
    names = [f"{args.features}+lightglue-adaptive:{said(depth)}:{said(width)}" for depth, width in grid]
    results: list[Result] = evaluate([dataset], names, args.out, settings)
    tried = [
        Setting(depth_confidence=depth, width_confidence=width, result=result)
        for (depth, width), result in zip(grid, results, strict=True)
    ]
    if args.plot:
        plot_sweep(tried, title=f"{args.features}, {dataset.image_set}").savefig(args.plot, dpi=80)
    return f"{dataset.image_set}.\n\n{markdown_table(sweep_table(tried))}"


def said(value: float | None) -> str:
    """As the names of methods have it."""
    return "off" if value is None else f"{value:g}"


if __name__ == "__main__":
    main()
