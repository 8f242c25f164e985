"""The commands that begin a run and go on with one: they parse, and print what the run reports."""

from abc import ABC
from dataclasses import dataclass
from pathlib import Path
from typing import final

import tyro
from rich.console import Console

from photoglue.cli.train.progress import duration, printing
from photoglue.training import ConfidenceRecipe, DistilledRecipe, HomographyRecipe, Outcome, PosedRecipe, resume, train
from photoglue.training.distributed import is_first
from photoglue.training.recipes.base import Recipe
from photoglue.training.recipes.presets import PresetName


@dataclass(frozen=True, kw_only=True)
class NewRun(ABC):
    """A run from its beginning."""

    recipe: Recipe
    out: Path = Path("run")
    """Folder of the run: checkpoints, metrics, and in the end the weights with their card."""
    preset: PresetName
    """Values to begin with; the options below change single ones. With --help, they are shown as the defaults."""

    @final
    def run(self, console: Console) -> int:
        """Train from the beginning."""
        with printing(console) as hooks:
            outcome = train(self.recipe, out=self.out, hooks=hooks)
        return _print_outcome(console, outcome, self.out)


@final
@dataclass(frozen=True, kw_only=True)
class TrainHomography(NewRun):
    """Train on random homographies of photos: the first stage, for which any photos do."""

    recipe: HomographyRecipe
    preset: PresetName = "warm-start"


@final
@dataclass(frozen=True, kw_only=True)
class TrainPosed(NewRun):
    """Train on pairs of real photos with known depth and poses: the second stage."""

    recipe: PosedRecipe
    preset: PresetName = "warm-start-posed"


@final
@dataclass(frozen=True, kw_only=True)
class TrainDistilled(NewRun):
    """Train on photos without poses, by what another matcher, the teacher, finds in them."""

    recipe: DistilledRecipe
    preset: PresetName = "warm-start-posed"


@final
@dataclass(frozen=True, kw_only=True)
class TrainConfidence(NewRun):
    """Train only the confidence heads of --init, for early exit and pruning; all else stays as it is."""

    recipe: ConfidenceRecipe
    preset: PresetName = "confidence"


@final
@dataclass(frozen=True, kw_only=True)
class TrainResume:
    """Go on with a run, exactly as if it had not been interrupted."""

    folder: tyro.conf.Positional[Path]
    """Folder of the run: its --out."""
    workers: int | None = None
    """Processes that read pairs ahead; None: as before."""

    def run(self, console: Console) -> int:
        """Train on from the last checkpoint."""
        with printing(console) as hooks:
            outcome = resume(self.folder, workers=self.workers, hooks=hooks)
        return _print_outcome(console, outcome, self.folder)


def _print_outcome(console: Console, outcome: Outcome, folder: Path) -> int:
    position = outcome.position
    if not is_first():
        return 0
    if not outcome.finished:
        console.print(
            f"Interrupted after {position.pairs:,} pairs; all is saved. Go on with:\n  photoglue train resume {folder}",
            soft_wrap=True,
        )
        return 130
    console.print(f"{position.pairs:,} pairs in {duration(position.elapsed_s)}")
    for path in outcome.files:
        console.print(f"  → {path}", soft_wrap=True)
    return 0
