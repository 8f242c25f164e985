"""The matched pairs that scores are calibrated with: drawn, matched, judged, and measured on scenes left out.

Pairs of posed scenes with depth overlap; photos of different scenes do not.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from photoglue.datasets.depth import read_depth
from photoglue.datasets.scenes import Frame, Scene
from photoglue.datasets.truths import Posed, Truth
from photoglue.errors import ConfigError
from photoglue.evaluation.calibration.fit import correct_by_depth, correct_matches, fit_calibration, fit_verdict
from photoglue.extractors.base import Extractor
from photoglue.geometry.pose import relative_pose
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue.verdict import PairVerdict, ScoreCalibration
from photoglue.metrics import expected_calibration_error, reliability
from photoglue.structs import Features, Matches

OVERLAP_STEPS = ((0.1, 0.3), (0.3, 0.6), (0.6, 1.01))
"""Pairs of a scene are drawn evenly from these."""
BLOCK = 8
"""Photos that are extracted at once."""
FEWEST_TO_JUDGE = 3
"""Scenes from which verdicts can be measured: without one of them, two must be left to be told apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoPair:
    """Two photos to be matched, and what is known of them."""

    paths: tuple[Path, Path]
    places: tuple[str, str]
    """What the photos show; the same twice if they overlap."""
    truth: Truth | tuple[Frame, Frame] | None = None
    """Frames: the truth is their poses and depths, which are read when the pair is judged. None: the photos are
    unrelated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedPair:
    """A matched pair, and what is true of it."""

    places: tuple[str, str]
    """What the photos show; the same twice if they overlap."""
    matches: Matches
    correct: Bool[Tensor, " k"] | None
    """Whether each match is correct; None for unrelated photos, where all are wrong."""


def overlapping_pairs(scene: Scene, count: int, chance: random.Random) -> list[PhotoPair]:
    """So many pairs of a scene, or fewer, evenly from overlaps of 0.1 to 1."""
    rows: list[int] = []
    for low, high in OVERLAP_STEPS:
        within = torch.nonzero((scene.overlaps >= low) & (scene.overlaps < high)).flatten().tolist()
        rows += chance.sample(within, min(count // len(OVERLAP_STEPS), len(within)))
    frames = [(scene.frames[i], scene.frames[j]) for i, j in scene.pairs[rows].tolist()]
    places = (scene.name, scene.name)
    return [PhotoPair(paths=(a.image_path, b.image_path), places=places, truth=(a, b)) for a, b in frames]


def unrelated_pairs(overlapping: Sequence[PhotoPair], count: int, chance: random.Random) -> list[PhotoPair]:
    """So many pairs of photos of different places, among the photos of some overlapping pairs.

    Raises:
        ConfigError: If these show only one place.
    """
    shown: dict[str, set[Path]] = {}
    for pair in overlapping:
        shown.setdefault(pair.places[0], set()).update(pair.paths)
    if len(shown) < 2:
        raise ConfigError(
            f"There are overlapping pairs of {len(shown)} scenes ({', '.join(shown) or 'none'}). A calibration needs "
            "two at least, and better ten, of different places: a photo of each makes an unrelated pair."
        )
    found = []
    for _ in range(count):
        place0, place1 = chance.sample(sorted(shown), 2)
        paths = (chance.choice(sorted(shown[place0])), chance.choice(sorted(shown[place1])))
        found.append(PhotoPair(paths=paths, places=(place0, place1)))
    return found


def extract_photos(pairs: Iterable[PhotoPair], extractor: Extractor) -> dict[Path, Features]:
    """Features of all photos of some pairs, the best points first."""
    paths = sorted({path for pair in pairs for path in pair.paths})
    found = {}
    for start in range(0, len(paths), BLOCK):
        block = paths[start : start + BLOCK]
        for path, features in zip(block, extractor.extract_many(block), strict=True):
            found[path] = features[features.scores.argsort(descending=True, stable=True)]
    return found


def judged(pair: PhotoPair, features: Mapping[Path, Features], matcher: Matcher, keypoints: int) -> JudgedPair:
    """A pair, matched with so many of the best points of each photo.

    Raises:
        ImageError: If a depth cannot be read.
    """
    first, second = (features[path][:keypoints] for path in pair.paths)
    matches = matcher.match(first, second).cpu()
    correct = None
    if isinstance(pair.truth, tuple):
        frame0, frame1 = pair.truth
        pose = relative_pose(frame0.cam_from_world, frame1.cam_from_world)
        truth = Posed(camera0=frame0.camera, camera1=frame1.camera, cam1_from_cam0=pose.numpy())
        correct = correct_by_depth(matches, truth, read_depth(frame0), read_depth(frame1))
    elif pair.truth is not None:
        correct = correct_matches(matches, pair.truth)
    return JudgedPair(places=pair.places, matches=matches, correct=correct)


def pooled(pairs: Iterable[JudgedPair]) -> tuple[Float64[Tensor, " k"], Bool[Tensor, " k"], list[str]]:
    """(scores, whether they are correct, places) of all matches of the overlapping pairs."""
    found = [(pair.matches.scores.double(), pair.correct, pair.places[0]) for pair in pairs if pair.correct is not None]
    if not found:
        return torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.bool), []
    scores, correct, places = zip(*found, strict=True)
    return torch.cat(scores), torch.cat(correct), np.repeat(places, [len(flags) for flags in correct]).tolist()


def fit_pairs(pairs: Sequence[JudgedPair], calibration: ScoreCalibration | None = None) -> PairVerdict:
    """The calibration of the scores, all scenes alike, and the verdict that builds on it.

    Args:
        pairs: Overlapping and unrelated ones.
        calibration: Use this one; None: fit it.

    Raises:
        ConfigError: If no match is correct, or all are, or overlapping or unrelated pairs are missing.
    """
    counts = [None if pair.correct is None else int(pair.correct.sum()) for pair in pairs]
    return fit_verdict([pair.matches for pair in pairs], counts, calibration or fit_calibration(*pooled(pairs)))


@dataclass(frozen=True, kw_only=True)
class ScoreErrors:
    """How far the scores of some matches are from the shares of correct ones."""

    matches: int
    correct: float
    """Share of the matches that are correct; nan if there are none."""
    before: float
    """Expected calibration error (ten bins, 0…1) of the scores as the matcher gives them; nan if there are none."""
    after: float
    """Expected calibration error of the calibrated scores."""

    @classmethod
    def of(cls, scores: Tensor, calibrated: Tensor, correct: Bool[Tensor, " k"]) -> "ScoreErrors":
        """Measured on matches with known correctness, without and with a calibration."""
        flags = correct.numpy()
        before, after = (
            expected_calibration_error(reliability(values.double().numpy(), flags)) for values in (scores, calibrated)
        )
        return cls(matches=len(flags), correct=float(correct.double().mean()), before=before, after=after)


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOut:
    """What calibrations are worth on scenes that they were not fitted to: each scene was left out once."""

    scenes: Mapping[str, ScoreErrors]
    """The errors of each scene."""
    whole: ScoreErrors
    """The errors of all of them together."""
    probabilities: Float64[np.ndarray, " p"]
    """Verdicts in (0, 1), one for each pair and scene of it; empty if there are fewer than three scenes."""
    overlaps: Bool[np.ndarray, " p"]
    """Whether those pairs overlap."""


def leave_scenes_out(pairs: Sequence[JudgedPair]) -> LeftOut:
    """Fit without each scene, and measure on it.

    Raises:
        ConfigError: If the rest is too little to be fitted to.
    """
    places = sorted({pair.places[0] for pair in pairs if pair.correct is not None})
    parts: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    probabilities: list[float | None] = []
    overlaps: list[bool] = []
    for place in places:
        rest = [pair for pair in pairs if place not in pair.places]
        held = [pair for pair in pairs if place in pair.places]
        calibration = fit_calibration(*pooled(rest))
        scores, correct, _ = pooled(held)
        parts[place] = scores, calibration(scores), correct
        if len(places) >= FEWEST_TO_JUDGE:
            verdict = fit_pairs(rest, calibration)
            probabilities += [verdict(pair.matches) for pair in held]
            overlaps += [pair.correct is not None for pair in held]
    scores, calibrated, correct = (torch.cat(columns) for columns in zip(*parts.values(), strict=True))
    return LeftOut(
        scenes={place: ScoreErrors.of(*part) for place, part in parts.items()},
        whole=ScoreErrors.of(scores, calibrated, correct),
        probabilities=np.array(probabilities, dtype=np.float64),
        overlaps=np.array(overlaps, dtype=bool),
    )
