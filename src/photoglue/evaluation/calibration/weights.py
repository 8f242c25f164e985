"""The calibration of weights of one's own: measured on scenes, and stored with the weights."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from photoglue.datasets.scenes import Scene
from photoglue.errors import ConfigError
from photoglue.evaluation.calibration.pairs import (
    LeftOut,
    extract_photos,
    fit_pairs,
    judged,
    leave_scenes_out,
    overlapping_pairs,
    unrelated_pairs,
)
from photoglue.extractors.base import Extractor
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, pretrained
from photoglue.matchers.lightglue.verdict import PairVerdict
from photoglue.precision import choose_device

KEYPOINT_SHARES = (8, 2, 1)
"""Each pair is matched with an eighth, half or all of the points, so that verdicts hold for few and for many."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What the scores of some weights mean."""

    verdict: PairVerdict
    """Fitted to all scenes."""
    left_out: LeftOut
    """What such a fit is worth on a scene that it has not seen."""
    pairs: int
    """Overlapping pairs that were used, and as many unrelated ones."""


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
        pairs_per_scene: Overlapping pairs, from little to much overlap.
        seed: Seed of the choice of pairs.
        device: Where to compute; None: on a GPU if there is one.
        progress: Called with (what is being done, how much of it is done, how much there is).

    Raises:
        ConfigError: If there are no such weights, they are for other features, or there are too few scenes.
        ImageError: If a photo or depth cannot be read.
        WeightsError: If the weights cannot be had or are corrupt.
    """
    adaptive = _model(weights, None)
    kinds = adaptive.config.kinds
    if kinds is not None and extractor.kind not in kinds:
        raise ConfigError(
            f"{weights!r} is for features of the kind {' or '.join(kinds)}; those of the extractor are "
            f"{extractor.kind}."
        )
    full = _model(weights, replace(adaptive.config, depth_confidence=None, width_confidence=None))
    chance = random.Random(seed)
    overlapping = [pair for scene in scenes for pair in overlapping_pairs(scene, pairs_per_scene, chance)]
    pairs = overlapping + unrelated_pairs(overlapping, len(overlapping), chance)
    chosen = choose_device(device)
    progress("extracting", 0, 1)
    features = extract_photos(pairs, extractor.to(chosen))
    progress("extracting", 1, 1)
    matchers = [adaptive.to(chosen), full.to(chosen)]
    counts = [max(1, keypoints // share) for share in KEYPOINT_SHARES]
    found = []
    for number, pair in enumerate(pairs):
        progress("matching", number, len(pairs))
        found.append(judged(pair, features, chance.choice(matchers), chance.choice(counts)))
    progress("matching", len(pairs), len(pairs))
    return Calibration(verdict=fit_pairs(found), left_out=leave_scenes_out(found), pairs=len(overlapping))


def store_verdict(weights: str, verdict: PairVerdict, out: Path) -> None:
    """Write weights with a verdict to a ``.safetensors`` file, the tensors in the precision of their file.

    Raises:
        ConfigError: If there are no such weights.
        OutputError: If the file cannot be written.
        WeightsError: If the weights cannot be had or are corrupt.
    """
    config = _model(weights, None).config
    released = weights in pretrained.WEIGHTS
    state = pretrained.released(weights)[0] if released else pretrained.checkpoint(Path(weights))[0]
    pretrained.save(state, config, out, verdict)


def _model(weights: str, config: LightGlueConfig | None) -> LightGlue:
    if weights in pretrained.WEIGHTS:
        return LightGlue.pretrained(weights, config)
    if not Path(weights).is_file():
        names = ", ".join(pretrained.WEIGHTS)
        raise ConfigError(f"{weights!r} is no weight file, and no released model; those are {names}.")
    return LightGlue.from_checkpoint(weights, config)
