"""`photoglue train calibrate`: what the scores of some weights mean, measured, and stored with them."""

import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from photoglue.datasets.scenes import read_folders
from photoglue.errors import ConfigError
from photoglue.evaluation.calibration.fit import ScoreReliability
from photoglue.evaluation.calibration.pairs import (
    FEWEST_TO_JUDGE,
    LeftOut,
    extract_photos,
    fit_pairs,
    judged,
    leave_scenes_out,
    overlapping_pairs,
    unrelated_pairs,
)
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import training_extractor
from photoglue.files import check_output
from photoglue.matchers.lightglue import LightGlue, LightGlueConfig, pretrained
from photoglue.matchers.lightglue.verdict import PairVerdict
from photoglue.metrics import roc_auc
from photoglue.precision import choose_device

KEYPOINT_SHARES = (8, 2, 1)
"""Each pair is matched with an eighth, half or all of the points, so that verdicts hold for few and for many."""
LIKELY = 0.5


@dataclass(frozen=True, kw_only=True)
class TrainCalibrate:
    """Measure how likely a match of some score is correct, and how likely photos with such matches overlap."""

    weights: str
    """What is calibrated: a weight file, or the name of a released model."""
    scenes: tuple[Path, ...]
    """Folders of scenes of different places, none of which was trained on; as those of `photoglue train posed`."""
    only: tuple[str, ...] = ()
    """Use only the scenes of these names."""
    features: str = "sift"
    """sift, aliked, disk, superpoint, doghardnet, …; or a class of yours: package.module:Class, path/file.py:Class."""
    out: Path | None = None
    """Write the weights with their calibration to this .safetensors file, or over the old one; None: only measure."""
    keypoints: int = 2048
    """Of each photo, at most; many pairs are matched with fewer."""
    pairs_per_scene: int = 18
    """Overlapping pairs, from little to much overlap; in all there are as many unrelated ones."""
    resize: int | None = None
    """Length of the longer side of the photos that the extractor sees, in pixels; None: as they are."""
    seed: int = 0
    """Of the choice of pairs."""
    device: str | None = None
    """Where to compute, such as cpu or cuda; None: on a GPU if there is one."""
    allow_noncommercial: bool = False
    """Accept extractor weights that may not be used commercially."""

    def run(self, console: Console) -> int:
        """Do it, from top to bottom."""
        if self.out is not None:
            check_output(self.out, (".safetensors",))
        device = choose_device(self.device)
        adaptive = self._model(None)
        full = self._model(replace(adaptive.config, depth_confidence=None, width_confidence=None))
        extractor = self._extractor(adaptive).to(device)
        chance = random.Random(self.seed)
        scenes = read_folders(self.scenes, only=self.only)
        overlapping = [pair for scene in scenes for pair in overlapping_pairs(scene, self.pairs_per_scene, chance)]
        pairs = overlapping + unrelated_pairs(overlapping, len(overlapping), chance)
        console.print(f"{len(overlapping)} overlapping pairs and as many unrelated ones, {extractor.kind} features")
        with console.status("extracting"):
            features = extract_photos(pairs, extractor)
        matchers = [adaptive.to(device), full.to(device)]
        counts = [max(1, self.keypoints // share) for share in KEYPOINT_SHARES]
        bar = track(pairs, "matching", console=console, transient=True, disable=not console.is_terminal)
        found = [judged(pair, features, chance.choice(matchers), chance.choice(counts)) for pair in bar]
        _print_left_out(console, leave_scenes_out(found))
        verdict = fit_pairs(found)
        _print_verdict(console, verdict)
        if self.out is None:
            console.print("Nothing was written: --out FILE.safetensors stores this with the weights.")
            return 0
        pretrained.save(replace(self._stored(), config=adaptive.config, verdict=verdict), self.out)
        console.print(f"weights with this calibration → {self.out}", soft_wrap=True)
        return 0

    def _model(self, config: LightGlueConfig | None) -> LightGlue:
        if self.weights in pretrained.WEIGHTS:
            return LightGlue.pretrained(self.weights, config)
        if not Path(self.weights).is_file():
            names = ", ".join(pretrained.WEIGHTS)
            raise ConfigError(f"{self.weights!r} is no weight file, and no released model; those are {names}.")
        return LightGlue.from_checkpoint(self.weights, config)

    def _stored(self) -> pretrained.StoredNetwork:
        """The weights in the precision of their file."""
        released = self.weights in pretrained.WEIGHTS
        return pretrained.released(self.weights) if released else pretrained.checkpoint(Path(self.weights))

    def _extractor(self, model: LightGlue) -> Extractor:
        extractor = training_extractor(
            self.features,
            max_keypoints=self.keypoints,
            allow_noncommercial=self.allow_noncommercial,
            resize=self.resize,
        )
        kinds = model.shape.kinds
        if kinds is not None and extractor.kind not in kinds:
            raise ConfigError(
                f"{self.weights!r} is for features of the kind {' or '.join(kinds)}; --features {self.features} are "
                f"{extractor.kind}."
            )
        return extractor


def _print_left_out(console: Console, left_out: LeftOut) -> None:
    """How far scores are from the share of correct matches, without and with a calibration by the other scenes."""
    console.print("expected calibration error of each scene, as the scores are → as the other scenes calibrate them")
    for name, found in left_out.scenes.items():
        console.print(f"  {name}: {_described(found)}", soft_wrap=True)
    console.print(f"  together: {_described(left_out.whole)}", soft_wrap=True)
    if not len(left_out.probabilities):
        console.print(f"How well pairs are told apart was not measured; that takes {FEWEST_TO_JUDGE} scenes.")
        return
    overlaps, probabilities = left_out.overlaps, left_out.probabilities
    likely, area = probabilities > LIKELY, roc_auc(probabilities[overlaps], probabilities[~overlaps])
    console.print(
        f"overlap likelier than not: {likely[overlaps].mean():.1%} of overlapping pairs, "
        f"{likely[~overlaps].mean():.1%} of unrelated ones, ROC AUC {area:.3f}",
        soft_wrap=True,
    )


def _described(found: ScoreReliability) -> str:
    matches = int(found.before.counts.sum())
    if not matches:
        return "no matches"
    correct = float(np.nansum(found.before.counts * found.before.precision)) / matches
    before, after = found.errors
    return f"{matches:,} matches, {correct:.0%} correct, {before:.3f} → {after:.3f}"


def _print_verdict(console: Console, verdict: PairVerdict) -> None:
    calibration = verdict.calibration
    console.print(
        f"calibration by all scenes: slope {calibration.slope:.3f}, offset {calibration.offset:.3f}; overlap: evidence "
        f"{verdict.evidence:.2f}, offset {verdict.offset:.2f}, failures {verdict.failures:.2f}",
        soft_wrap=True,
    )
