"""What the scores of some weights mean: pairs are drawn from scenes, matched, judged, and fitted to.

Pairs of posed scenes with depth overlap; photos of different scenes do not.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from photoglue.datasets.depth import project_points, read_depth, sample_depth
from photoglue.datasets.scenes import Frame, Scene
from photoglue.datasets.truths import Posed, Truth, match_errors
from photoglue.errors import ConfigError
from photoglue.evaluation.calibration.fit import JudgedPair, fit_calibration, fit_verdict, pooled
from photoglue.extractors.base import Extractor
from photoglue.geometry.pose import relative_pose
from photoglue.matchers.base import Matcher
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, pretrained
from photoglue.matchers.lightglue.verdict import PairVerdict
from photoglue.metrics import expected_calibration_error, reliability
from photoglue.precision import choose_device
from photoglue.structs import Features, Matches

CORRECT_PX = 3.0
"""A match is correct up to this error, pixels of the images as read."""
OVERLAP_STEPS = ((0.1, 0.3), (0.3, 0.6), (0.6, 1.01))
"""Pairs of a scene are drawn evenly from these."""
KEYPOINT_SHARES = (8, 2, 1)
"""Each pair is matched with an eighth, half or all of the points, so that verdicts hold for few and for many."""
TOGETHER = "together"
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What the scores of some weights mean, and what such a fit is worth on scenes that it was not fitted to."""

    verdict: PairVerdict
    """Fitted to all pairs."""
    scenes: Mapping[str, ScoreErrors]
    """The errors of each scene, calibrated by the others; ``TOGETHER`` has those of all of them."""
    probabilities: Float64[np.ndarray, " p"]
    """Verdicts by the other scenes, in (0, 1), one for each pair and scene of it; empty if there are fewer than three
    scenes."""
    overlaps: Bool[np.ndarray, " p"]
    """Whether those pairs overlap."""
    pairs: int
    """Overlapping pairs that were used."""


def calibrate(
    weights: str,
    scenes: Sequence[Scene],
    extractor: Extractor,
    *,
    keypoints: int = 2048,
    pairs_per_scene: int = 18,
    seed: int = 0,
    device: str | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,  # noqa: ARG005
) -> Calibration:
    """Measure how likely a match of some score is correct, and how likely photos with such matches overlap.

    Args:
        weights: A weight file, or the name of a released model.
        scenes: Scenes of different places, two at least, none of which the weights were trained on.
        extractor: Makes the features that the weights are for.
        keypoints: Points of each photo, at most; many pairs are matched with fewer.
        pairs_per_scene: Overlapping pairs, from little to much overlap; in all there are as many unrelated ones.
        seed: Seed of the choice of pairs.
        device: Where to compute; None: on a GPU if there is one.
        progress: Called with (what is being done, how much of it is done, how much there is).

    Raises:
        ConfigError: If there are no such weights, they are for other features, or there are too few scenes.
        ImageError: If a photo or depth cannot be read.
        WeightsError: If the weights cannot be had or are corrupt.
    """
    adaptive = _model(weights, None)
    kinds = adaptive.shape.kinds
    if kinds is not None and extractor.kind not in kinds:
        raise ConfigError(f"{weights!r} is for features of the kind {' or '.join(kinds)}, not {extractor.kind}.")
    full = _model(weights, replace(adaptive.config, depth_confidence=None, width_confidence=None))
    chance = random.Random(seed)
    overlapping = [pair for scene in scenes for pair in overlapping_pairs(scene, pairs_per_scene, chance)]
    pairs = overlapping + unrelated_pairs(overlapping, len(overlapping), chance)
    chosen = choose_device(device)
    progress("extracting", 0, 1)
    features = extract_photos(pairs, extractor.to(chosen))
    progress("extracting", 1, 1)
    matchers = [adaptive.to(chosen), full.to(chosen)]
    found = []
    for number, pair in enumerate(pairs):
        progress("matching", number, len(pairs))
        matcher, share = chance.choice(matchers), chance.choice(KEYPOINT_SHARES)
        found.append(judged(pair, features, matcher, max(1, keypoints // share)))
    progress("matching", len(pairs), len(pairs))
    return measured(found)


def store_verdict(weights: str, verdict: PairVerdict, out: Path) -> None:
    """Write weights with a verdict to a ``.safetensors`` file, the tensors in the precision of their file.

    Raises:
        ConfigError: If there are no such weights.
        OutputError: If the file cannot be written.
        WeightsError: If the weights cannot be had or are corrupt.
    """
    stored = pretrained.released(weights) if weights in pretrained.WEIGHTS else pretrained.checkpoint(Path(weights))
    pretrained.save(replace(stored, config=_model(weights, None).config, verdict=verdict), out)


def _model(weights: str, config: LightGlueConfig | None) -> LightGlue:
    if weights in pretrained.WEIGHTS:
        return LightGlue.pretrained(weights, config)
    if not Path(weights).is_file():
        names = ", ".join(pretrained.WEIGHTS)
        raise ConfigError(f"{weights!r} is no weight file, and no released model; those are {names}.")
    return LightGlue.from_checkpoint(weights, config)


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
    every = zip(paths, extractor.extract_many(paths), strict=True)
    return {path: features[features.scores.argsort(descending=True, stable=True)] for path, features in every}


def judged(pair: PhotoPair, features: Mapping[Path, Features], matcher: Matcher, keypoints: int) -> JudgedPair:
    """A pair, matched with so many of the best points of each photo. A match is correct up to 3 px (``match_errors``).

    Raises:
        ImageError: If a depth cannot be read.
    """
    first, second = (features[path][:keypoints] for path in pair.paths)
    matches = matcher.match(first, second).cpu()
    errors = None
    if isinstance(pair.truth, tuple):
        frame0, frame1 = pair.truth
        pose = relative_pose(frame0.cam_from_world, frame1.cam_from_world)
        truth = Posed(camera0=frame0.camera, camera1=frame1.camera, cam1_from_cam0=pose.numpy())
        errors = depth_errors(matches, truth, read_depth(frame0), read_depth(frame1))
    elif pair.truth is not None:
        errors = match_errors(matches.points0, matches.points1, pair.truth)
    correct = None if errors is None else errors <= CORRECT_PX
    return JudgedPair(places=pair.places, matches=matches, correct=correct)


def depth_errors(
    matches: Matches, truth: Posed, depth0: Float[Tensor, "h0 w0"], depth1: Float[Tensor, "h1 w1"]
) -> Float64[Tensor, " k"]:
    """How far matches are from where depth says that a point should be, pixels.

    The smaller of the errors of reprojection from image 0 to 1 and back counts, because at the edge of an object one of
    the two depths is often that of the background. Where neither is known: the distance to the epipolar lines.

    Args:
        matches: In pixels of the images as read.
        truth: Poses in the unit of the depths.
        depth0: Depth of image 0 along the optical axis; NaN where unknown.
        depth1: Depth of image 1 along the optical axis; NaN where unknown.
    """
    points0, points1 = matches.points0, matches.points1
    pose = torch.from_numpy(truth.cam1_from_cam0)
    there = project_points(points0, sample_depth(depth0, points0), truth.camera0, truth.camera1, pose)
    back = project_points(points1, sample_depth(depth1, points1), truth.camera1, truth.camera0, torch.linalg.inv(pose))
    errors = torch.fmin((there - points1).norm(dim=1), (back - points0).norm(dim=1))
    lines = match_errors(points0, points1, truth)
    assert lines is not None
    return torch.where(errors.isnan(), lines, errors)


def measured(pairs: Sequence[JudgedPair]) -> Calibration:
    """Fit to all pairs, and measure on each scene what a fit without it is worth.

    Raises:
        ConfigError: If there is too little to be fitted to, also without one of the scenes.
    """
    places = sorted({pair.places[0] for pair in pairs if pair.correct is not None})
    parts: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    probabilities: list[float | None] = []
    overlaps: list[bool] = []
    for place in places:
        rest = [pair for pair in pairs if place not in pair.places]
        held = [pair for pair in pairs if place in pair.places]
        calibration = fit_calibration(rest)
        scores, correct, _ = pooled(held)
        parts[place] = scores, calibration(scores), correct
        if len(places) >= FEWEST_TO_JUDGE:
            verdict = fit_verdict(rest, calibration)
            probabilities += [verdict(pair.matches) for pair in held]
            overlaps += [pair.correct is not None for pair in held]
    scores, calibrated, correct = (torch.cat(columns) for columns in zip(*parts.values(), strict=True))
    parts[TOGETHER] = scores, calibrated, correct
    return Calibration(
        verdict=fit_verdict(pairs),
        scenes={place: score_errors(*part) for place, part in parts.items()},
        probabilities=np.array(probabilities, dtype=np.float64),
        overlaps=np.array(overlaps, dtype=bool),
        pairs=sum(pair.correct is not None for pair in pairs),
    )


def score_errors(
    scores: Float[Tensor, " k"], calibrated: Float[Tensor, " k"], correct: Bool[Tensor, " k"]
) -> ScoreErrors:
    """How far scores are from the shares of correct matches, as they are and calibrated."""
    before, after = (
        expected_calibration_error(reliability(values.double().numpy(), correct.numpy()))
        for values in (scores, calibrated)
    )
    return ScoreErrors(matches=len(correct), correct=float(correct.double().mean()), before=before, after=after)
