"""How long a pair takes on an idle machine, and while other processes want the same cores.

    python benchmarks/contention.py [--rounds 5] [--pairs 3] [--busy 2]

Each setting runs in a process of its own, settings in turns, medians over the rounds. ``torch's own`` is what a process
gets that imports torch first; ``default`` is what `photoglue` and ``import photoglue`` get.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "torch's own": {"FIRST": "torch"},
    "no spinning": {"GOMP_SPINCOUNT": "0"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}

PROGRAM = """
import os, sys, time
if os.environ.get("FIRST"):
    import torch
from photoglue import Pipeline
pipeline = Pipeline.pretrained(sys.argv[3], precision=sys.argv[4])
pipeline.match(*sys.argv[1:3])
for _ in range(int(sys.argv[5])):
    start = time.perf_counter()
    pipeline.match(*sys.argv[1:3])
    print(time.perf_counter() - start)
"""


def main() -> None:
    """Print a table: medians of milliseconds a pair, photos to matches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=3, help="timed pairs a process")
    parser.add_argument("--busy", type=int, default=os.cpu_count() or 1, help="competing processes when loaded")
    parser.add_argument("--features", default="aliked")
    parser.add_argument("--precision", default="auto")
    args = parser.parse_args()
    from skimage import data

    photos = [str(Path(data.__file__).parent / f"motorcycle_{side}.png") for side in ("left", "right")]
    arguments = [*photos, args.features, args.precision, str(args.pairs)]
    columns = {"idle": _measured(args.rounds, arguments, busy=0)}
    columns[f"{args.busy} busy processes"] = _measured(args.rounds, arguments, busy=args.busy)
    sys.stdout.write(f"| ms a pair | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n")
    for setting in SETTINGS:
        cells = [f"{1000 * statistics.median(times[setting]):.0f}" for times in columns.values()]
        sys.stdout.write(f"| {setting} | {' | '.join(cells)} |\n")


def _measured(rounds: int, arguments: list[str], busy: int) -> dict[str, list[float]]:
    rivals = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    time.sleep(1)
    times: dict[str, list[float]] = {setting: [] for setting in SETTINGS}
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    try:
        for _ in range(rounds):
            for setting, variables in SETTINGS.items():
                program = [sys.executable, "-c", PROGRAM, *arguments]
                done = subprocess.run(program, env=ours | variables, capture_output=True, text=True, check=True)
                times[setting] += [float(line) for line in done.stdout.split()]
    finally:
        for rival in rivals:
            rival.kill()
    return times


if __name__ == "__main__":
    main()
