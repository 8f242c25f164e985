"""Training LightGlue: ``train`` runs a recipe, ``resume`` goes on with a run; the command line does no more."""

from photoglue.training.config import TrainingConfig
from photoglue.training.progress import Hooks, Outcome
from photoglue.training.recipes import RECIPES
from photoglue.training.recipes.confidence import ConfidenceRecipe
from photoglue.training.recipes.distilled import DistilledRecipe
from photoglue.training.recipes.homography import HomographyRecipe
from photoglue.training.recipes.posed import PosedRecipe
from photoglue.training.recipes.presets import PRESETS
from photoglue.training.run import resume, train

__all__ = [
    "PRESETS",
    "RECIPES",
    "ConfidenceRecipe",
    "DistilledRecipe",
    "HomographyRecipe",
    "Hooks",
    "Outcome",
    "PosedRecipe",
    "TrainingConfig",
    "resume",
    "train",
]
