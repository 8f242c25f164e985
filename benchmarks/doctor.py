"""How often the doctor finds something where nothing is wrong: pairs that match well, by their true geometry.

    python benchmarks/doctor.py --data ../shared/data
    python benchmarks/doctor.py --data ../shared/data --facades

A pair is healthy if its true cameras confirm at least 100 of its matches (symmetric epipolar distance of at most 3
pixels at 1000 pixels) and most of all. Of each scene so many pairs are taken as stand below, in a random order; those
that are not healthy are passed over, and counted. With --intrinsics the doctor is given the true cameras, too.

--facades asks how many look-alikes it finds: the left and the right half of photos of façades, which share nothing.
Counted are those that seem to match (a verdict of 0.9, and 30 inliers), and those that the doctor doubts.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.truths import Posed, match_errors
from photoglue.decode import Photo
from photoglue.doctor import diagnose
from photoglue.doctor.case import Asked, Case
from photoglue.doctor.geometry import look_alike
from photoglue.image import load_image
from photoglue.machine import version_line
from photoglue.matching import match_images
from photoglue.pipeline import Pipeline

SCENES = {"eval/strecha/*": 5, "eval/*": 5, "depth_scenes/*": 2, "more_depth_scenes/*": 2}
"""Folders of scenes → healthy pairs of each."""
CONFIRMED, SHARE, NEAR = 100, 0.5, 0.003
"""Matches that the true cameras confirm, their share, and the distance as a share of the longer side."""


def main() -> None:
    """Print a line for each pair with a finding, and the number of false alarms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of eval and depth_scenes")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--intrinsics", action="store_true", help="give the true cameras, too")
    parser.add_argument("--facades", action="store_true", help="look-alikes instead of healthy pairs")
    args = parser.parse_args()
    print(version_line())
    if args.facades:
        facades(sorted((args.data / "train_images").glob("urban100_*.jpg")))
        return
    examined = alarms = passed = 0
    for folder, most in SCENES.items():
        scenes = {path.parent for name in ("cameras.json", "pairs.json") for path in args.data.glob(f"{folder}/{name}")}
        for scene in sorted(scenes):
            healthy = 0
            for paths, truth in shuffled(scene, args.seed):
                if healthy == most or examined == args.pairs:
                    break
                if not is_healthy(paths, truth):
                    passed += 1
                    continue
                healthy, examined = healthy + 1, examined + 1
                alarms += alarm(paths, truth, args.intrinsics)
    print(f"{alarms} false alarms in {examined} healthy pairs; {passed} were passed over")


def facades(paths: list[Path]) -> None:
    """Print how many pairs of halves pass for the same thing, and how many of these the doctor doubts."""
    accepted = doubted = 0
    pipeline = Pipeline.pretrained("aliked")
    for path in paths:
        image = load_image(path)
        half = image.shape[2] // 2
        photos = Photo(image=image[:, :, :half].contiguous()), Photo(image=image[:, :, -half:].contiguous())
        asked = Asked(names=("left", "right"), photos=photos, given=None, features_name="aliked", options={})
        case = Case.of(asked, pipeline)
        accepted += not case.failed
        doubted += look_alike(case) is not None
    print(f"of {len(paths)} pairs that share nothing {accepted} seem to match; the doctor doubts {doubted} of them")


def shuffled(scene: Path, seed: int) -> Iterator[tuple[tuple[Path, Path], Posed]]:
    """The photos and poses of the pairs of a scene, in a random order."""
    dataset = load_dataset(scene, "relative_pose")
    for pair in random.Random(seed).sample(dataset.pairs, len(dataset.pairs)):
        assert isinstance(pair.truth, Posed)
        yield (dataset.folder / pair.name0, dataset.folder / pair.name1), pair.truth


def is_healthy(paths: tuple[Path, Path], truth: Posed) -> bool:
    """Whether the true cameras confirm enough of the matches of one pass."""
    matches = match_images(*paths, rotation="off", zoom="off", tiles="off")
    errors = match_errors(matches.points0, matches.points1, truth)
    assert errors is not None
    confirmed = int((errors < NEAR * max(truth.camera0.image_size)).sum())
    return confirmed >= CONFIRMED and confirmed >= SHARE * len(matches)


def alarm(paths: tuple[Path, Path], truth: Posed, intrinsics: bool) -> bool:
    """Whether the doctor finds anything; says what."""
    found = diagnose(*paths, camera0=truth.camera0, camera1=truth.camera1) if intrinsics else diagnose(*paths)
    for finding in found.findings:
        names = f"{paths[0].parent.parent.name}: {paths[0].name} {paths[1].name}"
        print(f"{names} | {finding.cause} {finding.confidence:.2f} | {finding.seen}", flush=True)
    return bool(found.findings)


if __name__ == "__main__":
    main()
