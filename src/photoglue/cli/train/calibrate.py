"""`photoglue train calibrate`: what the scores of some weights mean, measured, and stored with them."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from photoglue.datasets.scenes import read_folders
from photoglue.evaluation.calibration.measure import FEWEST_TO_JUDGE, Calibration, ScoreErrors, calibrate, store_verdict
from photoglue.extractors.named import training_extractor
from photoglue.files import check_output
from photoglue.metrics import roc_auc

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
    skip_missing: bool = False
    """Leave out photos that are missing or whose depth is, and say how many, instead of an error."""
    features: str = "sift"
    """sift, aliked, disk, superpoint, doghardnet, …; or a class of yours: package.module:Class, path/file.py:Class."""
    out: Path | None = None
    """Write the weights with their calibration to this .safetensors file, or over the old one; None: only measure."""
    keypoints: int = 2048
    """Points of each photo, at most; many pairs are matched with fewer."""
    pairs_per_scene: int = 18
    """Overlapping pairs of each scene, from little to much overlap; in all there are as many unrelated ones."""
    resize: int | None = None
    """Length of the longer side of the photos that the extractor sees, in pixels; None: as they are."""
    seed: int = 0
    """Seed of the choice of pairs."""
    device: str | None = None
    """Where to compute, such as cpu or cuda; None: on a GPU if there is one."""
    allow_noncommercial: bool = False
    """Accept extractor weights that may not be used commercially."""

    def run(self, console: Console) -> int:
        """Measure, print what was measured, and write the weights if they are wanted."""
        if self.out is not None:
            check_output(self.out, (".safetensors",))
        extractor = training_extractor(
            self.features,
            max_keypoints=self.keypoints,
            allow_noncommercial=self.allow_noncommercial,
            resize=self.resize,
        )
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
            tasks = {what: bars.add_task(what, total=None) for what in ("extracting", "matching")}
            found = calibrate(
                self.weights,
                read_folders(self.scenes, only=self.only, skip_missing=self.skip_missing),
                extractor,
                keypoints=self.keypoints,
                pairs_per_scene=self.pairs_per_scene,
                seed=self.seed,
                device=self.device,
                progress=lambda what, done, total: bars.update(tasks[what], completed=done, total=total),
            )
        console.print(f"{found.pairs} overlapping pairs and as many unrelated ones, {extractor.kind} features")
        _print_left_out(console, found)
        verdict, calibration = found.verdict, found.verdict.calibration
        console.print(
            f"calibration by all scenes: slope {calibration.slope:.3f}, offset {calibration.offset:.3f}; overlap: "
            f"evidence {verdict.evidence:.2f}, offset {verdict.offset:.2f}, failures {verdict.failures:.2f}",
            soft_wrap=True,
        )
        if self.out is None:
            console.print("Nothing was written: --out FILE.safetensors stores this with the weights.")
            return 0
        store_verdict(self.weights, verdict, self.out)
        console.print(f"weights with this calibration → {self.out}", soft_wrap=True)
        return 0


def _print_left_out(console: Console, found: Calibration) -> None:
    """How far scores are from the share of correct matches, without and with a calibration by the other scenes."""
    console.print("expected calibration error of each scene, as the scores are → as the other scenes calibrate them")
    for name, errors in found.scenes.items():
        console.print(f"  {name}: {_described(errors)}", soft_wrap=True)
    if not len(found.probabilities):
        console.print(f"How well pairs are told apart was not measured; that takes {FEWEST_TO_JUDGE} scenes.")
        return
    overlaps, probabilities = found.overlaps, found.probabilities
    likely, area = probabilities > LIKELY, roc_auc(probabilities[overlaps], probabilities[~overlaps])
    console.print(
        f"overlap likelier than not: {likely[overlaps].mean():.1%} of overlapping pairs, "
        f"{likely[~overlaps].mean():.1%} of unrelated ones, ROC AUC {area:.3f}",
        soft_wrap=True,
    )


def _described(errors: ScoreErrors) -> str:
    if not errors.matches:
        return "no matches"
    return f"{errors.matches:,} matches, {errors.correct:.0%} correct, {errors.before:.3f} → {errors.after:.3f}"
