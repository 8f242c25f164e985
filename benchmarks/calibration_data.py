"""The matched pairs that benchmarks/calibrate.py learns from and measures on, with what is true of them."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from photoglue.data.depth import read_depth
from photoglue.data.scenes import Frame, Scene, read_scenes
from photoglue.evaluation.calibration import correct_by_depth, correct_matches
from photoglue.evaluation.datasets import load_dataset
from photoglue.evaluation.truths import Posed, Truth
from photoglue.extractors import create_extractor
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig
from photoglue.structs import Features, Matches

KEYPOINTS = (256, 1024, 2048)
"""Best points of each photo, drawn for each pair to learn from."""
MEASURED_KEYPOINTS = (256, 2048)
"""The same for each pair to measure on: all pairs with both."""
OVERLAP_STEPS = ((0.1, 0.3), (0.3, 0.6), (0.6, 1.01))
"""Pairs of a scene are drawn evenly from these."""
PLACES = {"hololens_a": "hololens", "hololens_b": "hololens", "evd/graf": "graf", "oxford_affine/graf": "graf"}
"""Scenes that show one place, under the name of the place; any other scene is a place of its own."""
PHOTO_SOURCES = ("osie", "urban", "labelmefacade", "artdeco", "sunhays", "debian")
"""Sources in train_images of photos that belong to no scene. Pairs are made between sources, never within one."""
MEASURED_SETS = {"strecha": 48, "imb_reichstag": 24, "oxford_affine": None, "evd": None}
"""Folder in eval → how many of its pairs, evenly from all; None: all. So few that it takes minutes."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A pair of photos to be matched."""

    paths: tuple[Path, Path]
    places: tuple[str, str]
    """What the photos show; the same twice if they overlap."""
    truth: Truth | tuple[Frame, Frame] | None = None
    """None: the photos are unrelated."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A matched pair, and what is true of it."""

    paths: tuple[Path, Path]
    places: tuple[str, str]
    matches: Matches
    keypoints: int
    """At most so many in each photo."""
    setting: str
    """Depth and precision of the matcher."""
    correct: np.ndarray | None
    """For each match; None for unrelated photos, where all are wrong."""

    @property
    def overlaps(self) -> bool:
        """Whether the photos show the same thing."""
        return self.correct is not None


def training_jobs(root: Path, per_scene: int, chance: random.Random) -> list[Job]:
    """Pairs of depth scenes, and as many unrelated ones: half of two scenes, half with a photo of no scene."""
    scenes = read_scenes(root / "depth_scenes")
    positives = [job for scene in scenes for job in _overlapping(scene, per_scene, chance)]
    shown = {scene.name: sorted({path for job in positives for path in job.paths if scene.name in path.parts})
             for scene in scenes}  # fmt: skip
    photos = {
        source: chance.sample(sorted((root / "train_images").glob(f"{source}*.jpg")), 12) for source in PHOTO_SOURCES
    }
    everything = shown | photos
    negatives: list[Job] = []
    while len(negatives) < len(positives):
        among = list(shown) if len(negatives) % 2 else list(everything)
        first, second = chance.sample(among, 2)
        if _place(first) != _place(second):
            paths = (chance.choice(everything[first]), chance.choice(everything[second]))
            negatives.append(Job(paths=paths, places=(_place(first), _place(second))))
    return positives + negatives


def measured_jobs(root: Path, negatives: int, chance: random.Random) -> list[Job]:
    """Pairs of the development split that are known to overlap, and unrelated ones of different places."""
    positives, shown = [], {}
    for name, count in MEASURED_SETS.items():
        dataset = load_dataset(root / "eval" / name, max_pairs=count)
        for pair in dataset.pairs:
            place = _place(name if pair.scene == name else f"{name}/{pair.scene}")
            paths = (dataset.folder / pair.name0, dataset.folder / pair.name1)
            positives.append(Job(paths=paths, places=(place, place), truth=pair.truth))
            shown.setdefault(place, set()).update(paths)
    found: dict[tuple[Path, Path], Job] = {}
    pairs_of_places = list(combinations(sorted(shown), 2))
    while len(found) < negatives:
        places = chance.choice(pairs_of_places)
        paths = tuple(chance.choice(sorted(shown[place])) for place in places)
        found[paths] = Job(paths=paths, places=places)
    return positives + list(found.values())


def extracted(jobs: Sequence[Job], features: str, resize: int | None) -> dict[Path, Features]:
    """Features of all photos of some pairs, in the precision that suits the machine."""
    extractor = create_extractor(features, max_keypoints=max(KEYPOINTS), resize=resize)
    paths = sorted({path for job in jobs for path in job.paths})
    found = {}
    for start in range(0, len(paths), 8):
        block = paths[start : start + 8]
        found |= dict(zip(block, extractor.extract_many(block), strict=True))
    return found


def matched_variously(jobs: Sequence[Job], features: dict[Path, Features], chance: random.Random) -> Iterator[Sample]:
    """Each pair once, with a number of keypoints, a depth and a precision that are drawn for it."""
    kind = next(iter(features.values())).kind
    matchers = {
        f"{depth} {precision}": LightGlue.pretrained(kind, config, precision=precision)
        for depth, config in (("adaptive", LightGlueConfig()), ("full", LightGlueConfig.accurate()))
        for precision in ("float32", "bfloat16")
    }
    for job in jobs:
        setting = chance.choice(sorted(matchers))
        yield _matched(job, features, matchers[setting], chance.choice(KEYPOINTS), setting)


def matched_as_users_do(jobs: Sequence[Job], features: dict[Path, Features]) -> Iterator[Sample]:
    """Each pair with each number of keypoints, with the defaults of ``photoglue match``."""
    matcher = LightGlue.pretrained(next(iter(features.values())).kind)
    for count in MEASURED_KEYPOINTS:
        for job in jobs:
            yield _matched(job, features, matcher, count, "adaptive auto")


def _matched(job: Job, features: dict[Path, Features], matcher: LightGlue, count: int, setting: str) -> Sample:
    # Extractors give the best points first.
    first, second = (features[path][:count] for path in job.paths)
    matches = matcher.match(first, second)
    correct = None
    if isinstance(job.truth, tuple):
        frame0, frame1 = job.truth
        pose = frame1.cam_from_world @ torch.linalg.inv(frame0.cam_from_world)
        truth = Posed(camera0=frame0.camera, camera1=frame1.camera, cam1_from_cam0=pose.numpy())
        correct = correct_by_depth(matches, truth, read_depth(frame0), read_depth(frame1)).numpy()
    elif job.truth is not None:
        correct = correct_matches(matches, job.truth).numpy()
    return Sample(
        paths=job.paths, places=job.places, matches=matches, keypoints=count, setting=setting, correct=correct
    )


def _overlapping(scene: Scene, count: int, chance: random.Random) -> list[Job]:
    """So many pairs of a scene, or fewer, evenly from little to much overlap."""
    rows: list[int] = []
    for low, high in OVERLAP_STEPS:
        within = torch.nonzero((scene.overlaps >= low) & (scene.overlaps < high)).flatten().tolist()
        rows += chance.sample(within, min(count // len(OVERLAP_STEPS), len(within)))
    pairs = [(scene.frames[i], scene.frames[j]) for i, j in scene.pairs[rows].tolist()]
    place = _place(scene.name)
    return [Job(paths=(a.image_path, b.image_path), places=(place, place), truth=(a, b)) for a, b in pairs]


def _place(scene: str) -> str:
    return PLACES.get(scene, scene)
