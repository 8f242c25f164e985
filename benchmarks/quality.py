"""How good the default methods are, on the development split: the table of docs/quality.md.

    python benchmarks/quality.py --data ../shared/data/eval               # a look: prints the table
    python benchmarks/quality.py --data ../shared/data/eval --docs docs   # writes docs/quality.json and docs/quality.md
    python benchmarks/quality.py --data ../shared/data/eval --sets Herz-Jesus-P8 imb_reichstag --peers

Protocol `photoglue` (long side 1024, 2048 points, PoseLib), geometry solved with 5 seeds, for unrelated photos with
one. Several processes of one thread each, by default one for each core, share the work: two cores computing two things
are faster than two computing one. What is done stays in --out and is not done again, as long as data, protocol and
versions are the same; after a change of the code, remove the folder. Nothing is downloaded: a method whose weights are
not on this machine is left out, and the reason printed.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from pages import replace_between
from peer_methods import PEERS, UnavailableError
from quality_table import markdown, shown_in

from photoglue import weights
from photoglue.cli.evaluate import earlier_results
from photoglue.datasets.base import DataSet
from photoglue.datasets.layouts import load_dataset
from photoglue.errors import MissingExtra, WeightsError
from photoglue.evaluation.jobs import Job, Settings, jobs_of
from photoglue.evaluation.methods import Method
from photoglue.evaluation.results import Result, write_whole
from photoglue.evaluation.run import evaluate
from photoglue.machine import machine, version_line

METHODS = ("aliked+lightglue", "aliked+lightglue-adaptive", "aliked+nn", "sift+ratio", "sift+lightglue-adaptive")
"""The default ones."""
FULL_DEPTH = "aliked+lightglue"
"""Published numbers to compare with are of it, and here of poses: by default, it is left out on other sets."""
FLOAT32 = "aliked+lightglue@float32"
"""What the official code is compared with: the same arithmetic."""
SEEDS = 5
UNRELATED = 40
"""Pairs of photos of different places."""
SAME_PLACE = (frozenset({"evd/graf", "oxford_affine/graf"}),)
"""Scenes of different data sets that show one place."""


@dataclass(frozen=True)
class StandingSet:
    """A data set of the development split."""

    name: str
    load: Callable[[Path], DataSet]
    """From the folder with all of them."""


def _posed(folder: str) -> StandingSet:
    return StandingSet(Path(folder).name, lambda data: load_dataset(data / folder, all_pairs=True))


def unrelated(data: Path, count: int = UNRELATED) -> DataSet:
    """Photos of different places, evenly taken from all such pairs."""
    dataset = load_dataset(data, "overlap")
    scenes = [
        list(members)
        for scene, members in groupby(dataset.pairs, key=lambda pair: pair.scene)
        if frozenset(scene.split(" | ")) not in SAME_PLACE
    ]
    # One pair of each two scenes, so that a scene of many photos does not outweigh the others.
    pairs = [members[i % len(members)] for i, members in enumerate(scenes)]
    count = min(count, len(pairs))
    kept = tuple(pairs[i * len(pairs) // count] for i in range(count))
    return replace(dataset, name="unrelated", pairs=kept, image_set=f"{count} pairs of photos of different scenes")


SETS = (
    _posed("strecha/fountain-P11"),
    _posed("strecha/Herz-Jesus-P8"),
    _posed("strecha/entry-P10"),
    _posed("imb_reichstag"),
    _posed("scannet15"),
    StandingSet("evd", lambda data: load_dataset(data / "evd")),
    StandingSet("oxford_affine", lambda data: load_dataset(data / "oxford_affine")),
    StandingSet("wxbs_sample", lambda data: load_dataset(data / "wxbs_sample")),
    StandingSet("unrelated", unrelated),
)


@dataclass(frozen=True)
class Group:
    """Methods on one data set that share features, and so a process."""

    dataset: DataSet
    names: tuple[str, ...]
    """Methods and peers."""
    out: Path
    ledger: Path
    """A file of its own, since processes run side by side."""


def main() -> None:
    """Measure what is not measured yet, print the table, write it."""
    args = arguments()
    print(version_line())
    start = time.perf_counter()
    skipped: dict[str, str] = {}
    found: dict[tuple[str, str], Result] = {}
    names = chosen_names(args)
    groups = groups_of(args, names)
    for measured, reasons in each_measured(groups, args.processes):
        skipped |= reasons
        for name, result in measured.items():
            found[result.dataset, name] = result
            print(f"{result.dataset:14} {result.method:36} {shown_in(result)}", flush=True)
    for name, reason in skipped.items():
        print(f"left out: {name}: {reason}")
    results = [found[each, name] for each in args.sets for name in names if (each, name) in found]
    report = summary(results, skipped, Ledger.all_seconds(args.out / "cpu_s"))
    print(
        f"\n{markdown(report)}\n{sum(row['cpu_s'] for row in report['rows']):.0f} CPU seconds; this time "
        f"{time.perf_counter() - start:.0f} seconds"
    )
    if args.docs:
        write_docs(args.docs, report)


def groups_of(args: argparse.Namespace, names: Sequence[str]) -> list[Group]:
    """The work in parts that have no file in common, the longest first."""
    groups = []
    (args.out / "cpu_s").mkdir(parents=True, exist_ok=True)
    for each in (each for each in SETS if each.name in args.sets):
        dataset = each.load(args.data)
        if args.max_pairs is not None and len(dataset.pairs) > args.max_pairs:
            dataset = replace(dataset, pairs=dataset.pairs[: args.max_pairs], image_set=f"{args.max_pairs} pairs")
        members = [name for name in names if args.methods or name != FULL_DEPTH or dataset.benchmark == "relative_pose"]
        # The official code and ours in float32, its rival, use the same features.
        extractors = ["aliked" if name in PEERS else name.partition("+")[0] for name in members]
        for extractor in dict.fromkeys(extractors):
            together = tuple(name for name, other in zip(members, extractors, strict=True) if other == extractor)
            ledger = args.out / "cpu_s" / f"{each.name}.{extractor}.json"
            groups.append(Group(dataset=dataset, names=together, out=args.out, ledger=ledger))
    return sorted(groups, key=lambda group: -len(group.dataset.pairs) * len(group.names))


def each_measured(groups: Sequence[Group], processes: int) -> Iterator[tuple[dict[str, Result], dict[str, str]]]:
    """What ``measure`` gives of each group, as they are done."""
    if processes == 1:
        yield from map(measure, groups)
        return
    # Fresh processes: a forked copy of one that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for done in as_completed([pool.submit(measure, group) for group in groups]):
                yield done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def measure(group: Group) -> tuple[dict[str, Result], dict[str, str]]:
    """The results of a group by name of the method; and why methods were left out, by theirs."""
    ledger = Ledger(group.ledger)
    results: dict[str, Result] = {}
    skipped: dict[str, str] = {}
    # Looking for a geometry where there is none takes the estimator longest.
    seeds = 1 if group.dataset.benchmark == "overlap" else SEEDS
    settings = Settings(seeds=seeds, workers=0, device="cpu")
    for name in group.names:
        try:
            method = PEERS[name]() if name in PEERS else Method.parse(name)
        except UnavailableError as reason:
            skipped[name] = str(reason)
            continue
        (job,) = jobs_of([group.dataset], [method], settings)
        result = measured(job, group.out, settings, ledger, skipped)
        if result is not None:
            results[name] = result
    return results, skipped


def arguments() -> argparse.Namespace:
    """The options."""
    names = [each.name for each in SETS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the development split")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"), help="features, results; kept between runs")
    parser.add_argument("--sets", nargs="+", choices=names, default=names)
    parser.add_argument("--methods", nargs="+", help=f"instead of {' '.join(METHODS)}")
    parser.add_argument("--peers", nargs="*", choices=tuple(PEERS), help="other implementations; without names: all")
    parser.add_argument("--max-pairs", type=int, help="the first so many of each set: a look")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="1: all in this process")
    parser.add_argument("--docs", type=Path, help="a folder: quality.json, and the table in quality.md")
    return parser.parse_args()


def chosen_names(args: argparse.Namespace) -> list[str]:
    """Methods and peers; with the official code, ours in its precision."""
    names = list(args.methods or METHODS)
    if args.peers is None:
        return names
    device = torch.device("cpu")
    ours = {Method.parse(name).resolved_name(device) for name in names}
    names += args.peers or PEERS
    if "official" in names and Method.parse(FLOAT32).resolved_name(device) not in ours:
        names.append(FLOAT32)
    return names


class Ledger:
    """CPU seconds that each data set and method took, in a file: of all starts of a run together."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def all_seconds(folder: Path) -> dict[str, float]:
        """Of all files in a folder."""
        return {name: s for path in sorted(folder.glob("*.json")) for name, s in json.loads(path.read_text()).items()}

    @contextmanager
    def entry(self, name: str) -> Iterator[None]:
        """Adds what is computed inside."""
        start = time.process_time()
        try:
            yield
        finally:
            seconds = json.loads(self.path.read_text()) if self.path.is_file() else {}
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - start
            write_whole(self.path, (json.dumps(seconds, indent=1) + "\n").encode())


def measured(job: Job, out: Path, settings: Settings, ledger: Ledger, skipped: dict[str, str]) -> Result | None:
    """The result of a job, from an earlier run if there is one; None if its weights or packages are missing."""
    name = job.method.resolved_name(settings.torch_device)
    for result in earlier_results(out, set()):
        same = [(record.name0, record.name1) for record in result.records] == [
            (pair.name0, pair.name1) for pair in job.dataset.pairs
        ]
        if (result.dataset, result.method) == (job.dataset.name, name) and result.card == job.card and same:
            return result
    try:
        with without_downloads(), ledger.entry(f"{job.dataset.name} {name}"):
            return evaluate([job.dataset], [job.method], out, settings)[0]
    except (WeightsError, MissingExtra, UnavailableError) as error:
        skipped[name] = str(error)
        return None


@contextmanager
def without_downloads() -> Iterator[None]:
    """Weights that would be downloaded are missing."""

    def refuse(record: weights.WeightsRecord) -> Path:
        raise WeightsError(f"the weights {record.name!r} ({record.file}) are not on this machine")

    with mock.patch.object(weights, "_download", refuse):
        yield


def summary(results: Sequence[Result], skipped: Mapping[str, str], seconds: Mapping[str, float]) -> dict[str, Any]:
    """All that docs/quality.json holds."""
    rows = [
        {
            "set": result.dataset,
            "benchmark": result.benchmark,
            "pairs": len(result.records),
            "method": result.method,
            "values": {name: round(value, 5) for name, value in result.values.items() if name != "match_s"},
            "spread": {name: round(value, 5) for name, value in result.spread.items() if name != "match_s"},
            "cpu_s": round(seconds.get(f"{result.dataset} {result.method}", 0.0), 1),
        }
        for result in results
    ]
    cards = {result.benchmark: result.card for result in results}
    protocols = {
        name: {"estimator": card.estimator, "threshold_px": card.threshold_px, "resize": card.resize,
               "max_keypoints": card.max_keypoints, "seeds": card.seeds}
        for name, card in cards.items()
    }  # fmt: skip
    versions = dict(results[0].card.versions) if results else {}
    return {"machine": machine(), "versions": versions, "protocols": protocols, "skipped": dict(skipped), "rows": rows}


def write_docs(folder: Path, report: Mapping[str, Any]) -> None:
    """The JSON file, and the table between its markers in the page."""
    (folder / "quality.json").write_text(json.dumps(report, indent=1) + "\n")
    replace_between(folder / "quality.md", "quality", markdown(report))


if __name__ == "__main__":
    main()
