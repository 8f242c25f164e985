"""The matched pairs that benchmarks/calibrate.py learns from and measures on, with what is true of them."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from photoglue.datasets.layouts import load_dataset
from photoglue.datasets.scenes import Scene, read_scenes
from photoglue.evaluation.calibration.pairs import JudgedPair, PhotoPair, extract_photos, judged, overlapping_pairs
from photoglue.extractors import create_extractor
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.precision import Precision
from photoglue.structs import Features

KEYPOINTS = (256, 1024, 2048)
"""Best points of each photo, drawn for each pair to learn from."""
HALF_AND_SINGLE: tuple[Precision, ...] = ("float32", "bfloat16")
MEASURED_KEYPOINTS = (256, 2048)
"""The same for each pair to measure on: all pairs with both."""
PLACES = {"hololens_a": "hololens", "hololens_b": "hololens", "evd/graf": "graf", "oxford_affine/graf": "graf"}
"""Scenes that show one place, under the name of the place; any other scene is a place of its own."""
PHOTO_SOURCES = ("osie", "urban", "labelmefacade", "artdeco", "sunhays", "debian")
"""Sources in train_images of photos that belong to no scene. Pairs are made between sources, never within one."""
MEASURED_SETS = {"strecha": 48, "imb_reichstag": 24, "oxford_affine": None, "evd": None}
"""Folder in eval → how many of its pairs, evenly from all; None: all. So few that it takes minutes."""


def training_jobs(root: Path, per_scene: int, chance: random.Random) -> list[PhotoPair]:
    """Pairs of depth scenes, and as many unrelated ones: half of two scenes, half with a photo of no scene."""
    scenes = read_scenes(root / "depth_scenes")
    positives = [job for scene in scenes for job in _overlapping(scene, per_scene, chance)]
    shown = {scene.name: sorted({path for job in positives for path in job.paths if scene.name in path.parts})
             for scene in scenes}  # fmt: skip
    photos = {
        source: chance.sample(sorted((root / "train_images").glob(f"{source}*.jpg")), 12) for source in PHOTO_SOURCES
    }
    everything = shown | photos
    negatives: list[PhotoPair] = []
    while len(negatives) < len(positives):
        among = list(shown) if len(negatives) % 2 else list(everything)
        first, second = chance.sample(among, 2)
        if _place(first) != _place(second):
            paths = (chance.choice(everything[first]), chance.choice(everything[second]))
            negatives.append(PhotoPair(paths=paths, places=(_place(first), _place(second))))
    return positives + negatives


def measured_jobs(root: Path, negatives: int, chance: random.Random) -> list[PhotoPair]:
    """Pairs of the development split that are known to overlap, and unrelated ones of different places."""
    positives: list[PhotoPair] = []
    shown: dict[str, set[Path]] = {}
    for name, count in MEASURED_SETS.items():
        dataset = load_dataset(root / "eval" / name, max_pairs=count)
        for pair in dataset.pairs:
            place = _place(name if pair.scene == name else f"{name}/{pair.scene}")
            paths = (dataset.folder / pair.name0, dataset.folder / pair.name1)
            positives.append(PhotoPair(paths=paths, places=(place, place), truth=pair.truth))
            shown.setdefault(place, set()).update(paths)
    found: dict[tuple[Path, Path], PhotoPair] = {}
    pairs_of_places = list(combinations(sorted(shown), 2))
    while len(found) < negatives:
        places = chance.choice(pairs_of_places)
        paths = (chance.choice(sorted(shown[places[0]])), chance.choice(sorted(shown[places[1]])))
        found[paths] = PhotoPair(paths=paths, places=places)
    return positives + list(found.values())


def extracted(jobs: Sequence[PhotoPair], features: str, resize: int | None) -> dict[Path, Features]:
    """Features of all photos of some pairs, in the precision that suits the machine."""
    return extract_photos(jobs, create_extractor(features, max_keypoints=max(KEYPOINTS), resize=resize))


def kind_of(features: Mapping[Path, Features]) -> str:
    """The kind that all of them have."""
    kind = next(iter(features.values())).kind
    assert kind is not None  # what an extractor makes has one
    return kind


def matched_variously(
    jobs: Sequence[PhotoPair], features: dict[Path, Features], chance: random.Random
) -> Iterator[JudgedPair]:
    """Each pair once, with a number of keypoints, a depth and a precision that are drawn for it."""
    kind = kind_of(features)
    matchers = {
        f"{depth} {precision}": LightGlue.pretrained(kind, config, precision=precision)
        for depth, config in (("adaptive", LightGlueConfig()), ("full", LightGlueConfig.accurate()))
        for precision in HALF_AND_SINGLE
    }
    for job in jobs:
        setting = chance.choice(sorted(matchers))
        yield judged(job, features, matchers[setting], chance.choice(KEYPOINTS))


def matched_as_users_do(jobs: Sequence[PhotoPair], features: dict[Path, Features]) -> Iterator[JudgedPair]:
    """Each pair with each number of keypoints, with the defaults of ``photoglue match``."""
    matcher = LightGlue.pretrained(kind_of(features))
    for count in MEASURED_KEYPOINTS:
        for job in jobs:
            yield judged(job, features, matcher, count)


def _overlapping(scene: Scene, count: int, chance: random.Random) -> list[PhotoPair]:
    place = _place(scene.name)
    return [replace(pair, places=(place, place)) for pair in overlapping_pairs(scene, count, chance)]


def _place(scene: str) -> str:
    return PLACES.get(scene, scene)
