"""What LightGlue's scores and the pair verdict are worth: fitted on training photos, measured on others.

    python benchmarks/calibrate.py --data DIR [--features aliked]

DIR is laid out as the README in ../shared/data says. Fitted on pairs of depth_scenes (overlap from 0.1 on) and on
unrelated photos of depth_scenes and train_images, each matched with a number of keypoints, a depth and a precision that
are drawn for it; and on parts of the clean photos of train_images, which share nothing, 20, 40 or 60 % (the last three
of a third of those photos only whose halves give nearly no match). Measured on the scenes left out of the fit in turn,
and on DIR/eval, which has no photo of them: pairs of Strecha's three scenes, Reichstag, Oxford-affine and EVD, against
pairs of photos of different places among them.

A match is correct up to 3 px: by depth on the training photos where it is known, by the homography on Oxford-affine and
EVD, else by its distance to the epipolar line, which lets a wrong match pass now and then.

About 8 minutes of one core for ALIKED, 10 for DISK. It prints the row for the table in
src/photoglue/matchers/lightglue/verdict.py.
"""

import argparse
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.look_alikes import cut
from photoglue.datasets.scenes import read_scenes
from photoglue.evaluation.calibration.fit import JudgedPair, fit_calibration, fit_verdict, pooled
from photoglue.evaluation.calibration.measure import (
    PhotoPair,
    ScoreErrors,
    extract_photos,
    judged,
    measured,
    overlapping_pairs,
    score_errors,
)
from photoglue.extractors import Extractor, create_extractor
from photoglue.geometry.homography import warp_points
from photoglue.image import load_image
from photoglue.machine import version_line
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.matchers.lightglue.kinds import model_of
from photoglue.matchers.lightglue.verdict import PairVerdict
from photoglue.metrics import roc_auc
from photoglue.solvers.poselib import verify
from photoglue.structs import Features

PAIRS_PER_SCENE = 18
NEGATIVES = 120
"""Unrelated pairs to measure on, with each number of keypoints."""
RECALL = 0.95
KEYPOINTS = (256, 1024, 2048)
"""Best points of each photo, drawn for each pair to learn from."""
MEASURED_KEYPOINTS = (256, 2048)
"""Best points of each photo of the pairs to measure on: all pairs with both numbers."""
PLACES = {"hololens_a": "hololens", "hololens_b": "hololens", "evd/graf": "graf", "oxford_affine/graf": "graf"}
"""Scenes that show one place, under the name of the place; any other scene is a place of its own."""
PHOTO_SOURCES = ("debian", "oceanic", "dim", "naturewall", "budgie", "deepin")
"""Sources in train_images of photos that belong to no scene. Pairs are made between sources, never within one."""
SMALLEST = 200
"""Photos with a shorter side are not cut, pixels."""
ALIKE = 5.0
"""Sum of scores between halves of a photo from which they look alike."""
PART_SHARES = (0.2, 0.4, 0.6)
PART_PX = 3.0
MEASURED_SETS = {"strecha": 48, "imb_reichstag": 24, "oxford_affine": None, "evd": None}
"""Folder in eval → how many of its pairs, evenly from all; None: all. So few that it takes minutes."""


def main() -> None:
    """Fit, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--features", default="aliked")
    parser.add_argument("--layers", type=int, help="so many layers; of aliked-t16 5 are those of its small network")
    parser.add_argument("--per-scene", type=int, default=PAIRS_PER_SCENE, help="training pairs of each scene")
    parser.add_argument("--every", type=int, default=1, help="look-alikes of every so many of the clean photos")
    parser.add_argument("--negatives", type=int, default=NEGATIVES, help="unrelated pairs to measure on")
    options = parser.parse_args()
    print(version_line())
    start = time.process_time()
    chance = random.Random(0)
    pairs = training_pairs(options.data, options.per_scene, chance)
    features = extracted(pairs, options.features, None)
    training = list(matched_variously(pairs, features, chance, options.layers))
    print("\n| scenes left out | matches | correct | ECE before | after |\n|---|---|---|---|---|")
    for name, errors in measured(training).scenes.items():
        print(f"| {name} | {shown(errors)} |")
    alike = look_alikes(options.data / "train_images", options.features, options.every, options.layers)
    verdict = fit(training, alike)
    print_look_alikes(alike, {"neighbours do not count": fit(training), "neighbours count": verdict})
    print(f'\n"{model_of(kind_of(features), options.layers)}": {verdict}\n', flush=True)
    pairs = measured_pairs(options.data, options.negatives, random.Random(1))
    features = extracted(pairs, options.features, 1024)
    matcher = LightGlue.pretrained(kind_of(features), LightGlueConfig(n_layers=options.layers))
    by_count = {count: [judged(pair, features, matcher, count) for pair in pairs] for count in MEASURED_KEYPOINTS}
    print_scores([pair for members in by_count.values() for pair in members], verdict)
    print_pairs(by_count, verdict)
    print(f"\n{(time.process_time() - start) / 60:.1f} minutes of processor time")


def training_pairs(root: Path, per_scene: int, chance: random.Random) -> list[PhotoPair]:
    """Pairs of depth scenes, and as many unrelated ones: half of two scenes, half with a photo of no scene."""
    scenes = read_scenes(root / "depth_scenes")
    positives = [
        replace(pair, places=(place_of(scene.name),) * 2)
        for scene in scenes
        for pair in overlapping_pairs(scene, per_scene, chance)
    ]
    shown = {
        scene.name: sorted({path for pair in positives for path in pair.paths if scene.name in path.parts})
        for scene in scenes
    }
    photos = {
        source: chance.sample(sorted((root / "train_images").glob(f"{source}*.jpg")), 12) for source in PHOTO_SOURCES
    }
    everything = shown | photos
    negatives: list[PhotoPair] = []
    while len(negatives) < len(positives):
        among = list(shown) if len(negatives) % 2 else list(everything)
        first, second = chance.sample(among, 2)
        if place_of(first) != place_of(second):
            paths = (chance.choice(everything[first]), chance.choice(everything[second]))
            negatives.append(PhotoPair(paths=paths, places=(place_of(first), place_of(second))))
    return positives + negatives


def measured_pairs(root: Path, negatives: int, chance: random.Random) -> list[PhotoPair]:
    """Pairs of the development split that are known to overlap, and unrelated ones of different places."""
    positives: list[PhotoPair] = []
    shown: dict[str, set[Path]] = {}
    for name, count in MEASURED_SETS.items():
        dataset = load_dataset(root / "eval" / name, max_pairs=count)
        for pair in dataset.pairs:
            place = place_of(name if pair.scene == name else f"{name}/{pair.scene}")
            paths = (dataset.folder / pair.name0, dataset.folder / pair.name1)
            positives.append(PhotoPair(paths=paths, places=(place, place), truth=pair.truth))
            shown.setdefault(place, set()).update(paths)
    found: dict[tuple[Path, Path], PhotoPair] = {}
    pairs_of_places = list(combinations(sorted(shown), 2))
    while len(found) < negatives:
        place0, place1 = chance.choice(pairs_of_places)
        paths = (chance.choice(sorted(shown[place0])), chance.choice(sorted(shown[place1])))
        found[paths] = PhotoPair(paths=paths, places=(place0, place1))
    return positives + list(found.values())


def place_of(scene: str) -> str:
    """The place that a scene shows."""
    return PLACES.get(scene, scene)


def extracted(pairs: Sequence[PhotoPair], features: str, resize: int | None) -> dict[Path, Features]:
    """Features of all photos of some pairs, in the precision that suits the machine."""
    return extract_photos(pairs, create_extractor(features, max_keypoints=max(KEYPOINTS), resize=resize))


def kind_of(features: Mapping[Path, Features]) -> str:
    """The kind of some features, which all are of one extractor."""
    return next(iter(features.values())).kind or ""


def matched_variously(
    pairs: Sequence[PhotoPair], features: dict[Path, Features], chance: random.Random, n_layers: int | None
) -> Iterator[JudgedPair]:
    """Each pair once, with a number of keypoints, a depth and a precision that are drawn for it."""
    kind = kind_of(features)
    matchers = {
        f"{depth} {precision}": LightGlue.pretrained(kind, config, precision=precision)
        for depth, config in zip(("adaptive", "full"), configs(n_layers), strict=True)
        for precision in ("float32", "bfloat16")
    }
    for pair in pairs:
        setting = chance.choice(sorted(matchers))
        yield judged(pair, features, matchers[setting], chance.choice(KEYPOINTS))


def configs(n_layers: int | None) -> tuple[LightGlueConfig, LightGlueConfig]:
    """With exits and pruning, and without."""
    return LightGlueConfig(n_layers=n_layers), LightGlueConfig.accurate(n_layers=n_layers)


def look_alikes(folder: Path, name: str, every: int, n_layers: int | None) -> list[JudgedPair]:
    """Parts of photos that may be used for training, matched; correct are those matches that the cut allows."""
    lines = [line.split("\t") for line in (folder / "MANIFEST.tsv").read_text().splitlines()[1:]]
    found = []
    sizes = ((512, 768), (1024, 2048))
    extractors = [create_extractor(name, resize=side, max_keypoints=points) for side, points in sizes]
    matchers = [LightGlue.pretrained(extractors[0].kind, config) for config in configs(n_layers)]
    for seed, photo in enumerate([line[0] for line in lines if line[1] == "yes"][::every]):
        image, tools = load_image(folder / photo), (extractors[seed % 6 == 5], matchers[seed % 2])
        if min(image.shape[1:]) < SMALLEST:
            continue
        found.append(parts_of(image, 0.0, seed, tools))
        if alike := float(found[-1].matches.scores.sum()) > ALIKE:
            found.append(parts_of(image.transpose(1, 2).contiguous(), 0.0, seed, tools))
        found += [parts_of(image, shared, seed, tools) for shared in PART_SHARES if alike or seed % 3 == 0]
    return found


def parts_of(image: Tensor, shared: float, seed: int, tools: tuple[Extractor, LightGlue]) -> JudgedPair:
    """Two parts of a photo (c × h × w), matched."""
    left, right, homography = cut(image, shared, seed)
    matches = tools[1].match(*tools[0].extract_many([left, right])).cpu()
    correct = (warp_points(matches.points1, homography) - matches.points0).norm(dim=1) <= PART_PX
    return JudgedPair(places=("part", "part"), matches=matches, correct=correct if shared else None)


def fit(pairs: Sequence[JudgedPair], alike: Sequence[JudgedPair] = ()) -> PairVerdict:
    """The calibration of the scores, and the verdict that builds on it, rounded as they stand in the table."""
    exact = fit_calibration(pairs)
    calibration = replace(exact, slope=round(exact.slope, 3), offset=round(exact.offset, 3))
    verdict = fit_verdict(pairs, calibration, alike)
    names = ("offset", "evidence", "failures", "neighbors")
    return replace(verdict, **{name: round(getattr(verdict, name), 2) for name in names})


def print_look_alikes(alike: Sequence[JudgedPair], verdicts: Mapping[str, PairVerdict]) -> None:
    """How many of the parts that they were fitted to are taken for the same thing."""
    for name, wanted in (("share nothing", False), ("overlap", True)):
        members = [pair for pair in alike if (pair.correct is not None) == wanted]
        for label, verdict in verdicts.items():
            taken = np.mean([(verdict(pair.matches) or 0) > 0.5 for pair in members])
            print(f"{len(members)} parts that {name}, {label}: {taken:.1%} taken for the same thing")


def print_scores(pairs: Sequence[JudgedPair], verdict: PairVerdict) -> None:
    """How far scores of overlapping pairs of the development split are from the shares of correct ones."""
    print("| set | matches | correct | ECE before | after |\n|---|---|---|---|---|")
    overlapping = [pair for pair in pairs if pair.correct is not None]
    sets = {"all": overlapping}
    for pair in overlapping:
        sets.setdefault(pair.places[0].partition("/")[0], []).append(pair)
    for name, members in sets.items():
        scores, correct, _ = pooled(members)
        print(f"| {name} | {shown(score_errors(scores, verdict.calibration(scores), correct))} |")


def shown(errors: ScoreErrors) -> str:
    """As cells of a table."""
    return f"{errors.matches} | {errors.correct:.3f} | {errors.before:.3f} | {errors.after:.3f}"


def print_pairs(by_count: Mapping[int, Sequence[JudgedPair]], verdict: PairVerdict) -> None:
    """How well overlapping and unrelated pairs are told apart, by the verdict and by what else there is."""
    print("\n| keypoints | told apart by | ROC AUC | false positives at 95 % recall |\n|---|---|---|---|")
    for count, members in by_count.items():
        overlaps = np.array([pair.correct is not None for pair in members])
        columns = {
            "verdict": np.array([verdict(pair.matches) for pair in members]),
            "number of matches": np.array([len(pair.matches) for pair in members]),
            "inliers, fundamental, PoseLib 1 px": np.array(
                [len(verify(pair.matches.points0, pair.matches.points1, "fundamental")) for pair in members]
            ),
        }
        for name, values in columns.items():
            area = roc_auc(values[overlaps], values[~overlaps])
            limit = np.quantile(values[overlaps], 1 - RECALL, method="lower")
            false = float((values[~overlaps] >= limit).mean())
            print(f"| {count} | {name} | {area:.4f} | {false:.1%} ({limit:.3g}) |")
        likely = columns["verdict"] > 0.5
        print(
            f"verdict above 0.5: {likely[overlaps].mean():.1%} of {overlaps.sum()} overlapping pairs, "
            f"{likely[~overlaps].mean():.1%} of {(~overlaps).sum()} unrelated ones"
        )


if __name__ == "__main__":
    with torch.no_grad():
        main()
