"""What a run trains on and how: a recipe for each stage."""

from collections.abc import Mapping
from types import MappingProxyType

from photoglue.training.recipes.base import Recipe
from photoglue.training.recipes.confidence import ConfidenceRecipe
from photoglue.training.recipes.distilled import DistilledRecipe
from photoglue.training.recipes.homography import HomographyRecipe
from photoglue.training.recipes.posed import PosedRecipe

RECIPES: Mapping[str, type[Recipe]] = MappingProxyType(
    {kind.name: kind for kind in (HomographyRecipe, PosedRecipe, DistilledRecipe, ConfidenceRecipe)}
)
"""Every recipe, by the name that the command line and the folder of a run give it."""
