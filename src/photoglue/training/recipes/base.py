"""Fields that all recipes share, and a recipe as a command."""

import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch

from photoglue.errors import ConfigError
from photoglue.extractors.base import Extractor
from photoglue.extractors.named import training_extractor
from photoglue.matchers.lightglue import LightGlueShape
from photoglue.structs import Features
from photoglue.training.config import TrainingConfig
from photoglue.training.ground_truth import DEFAULT_RULES, LabelRules
from photoglue.training.pairs.base import PairSource, TrainingPair
from photoglue.training.pairs.homography_pairs import Selection
from photoglue.training.progress import Hooks
from photoglue.training.warm_start import shape_of

AnyRecipe = TypeVar("AnyRecipe", bound="Recipe")


@dataclass(frozen=True, kw_only=True, eq=False)
class RunData:
    """Pairs that a run learns from and is validated with."""

    source: PairSource
    validation: tuple[TrainingPair, ...]
    """Pairs to validate with; may be empty. Their photos are not in ``source``, unless there is only one scene."""
    example: Features
    """Features of any image: they show the kind, the width, and whether there are scales."""
    facts: tuple[str, ...]
    """Sentences for the card: how many photos, views and points."""


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """All that decides a run: data, features, the weights to begin with, the network, and the training loop."""

    name: ClassVar[str]
    """Name on the command line and in the folder of a run."""
    heads_only: ClassVar[bool] = False
    """Whether only the confidence heads learn, and all other weights stay as they are."""

    features: str = "sift"
    """sift, aliked, disk, superpoint, doghardnet, …; or a class of yours: package.module:Class, path/file.py:Class."""
    init: str | None = None
    """Begin with the weights of a released model (aliked, disk, …), a weight file, or another run's folder."""
    keypoints: int
    """Number of keypoints of each image, at most."""
    model: Literal["full", "edge"] = "full"
    """Size of the network: 9 layers of width 256, or 5 of width 128 for small devices."""
    scale_orientation: Literal["auto", "yes", "no"] = "auto"
    """Let the network see the scale and orientation of each keypoint; auto: if the features have them."""
    cache: Path | None = None
    """File in which the features are kept, for other runs to use again; None: cache.h5 in the folder of the run."""
    cache_keypoints: int | None = None
    """Keypoints kept of each photo or view; None: as many as --keypoints."""
    select: Selection = "best"
    """Choice of keypoints if the cache has more than --keypoints: those with the best scores, or random ones."""
    build_workers: int | None = None
    """Processes that extract features; None: one for each core."""
    allow_noncommercial: bool = False
    """Accept extractor weights that may not be used commercially."""
    device: str | None = None
    """Where to compute, such as cpu or cuda; None: on a GPU if there is one."""
    data_licence: str = "not stated"
    """Terms that the photos are under, for the card."""
    labels: LabelRules = DEFAULT_RULES
    """Which points match, which have no partner, and which do not count."""
    turned: float = 0.0
    """Share of the pairs of which one image is turned by any angle, in [0, 1]; only for features with orientations."""
    config: TrainingConfig

    @abstractmethod
    def data(self, folder: Path, device: torch.device, hooks: Hooks) -> RunData:
        """Build what the run learns from, or use what is there, and say so.

        Args:
            folder: Folder of the run; caches are built in it.
            device: Where features are extracted.
            hooks: They are called with what is built and how far it is.

        Raises:
            ConfigError: If there is nothing to learn from.
        """

    def check(self) -> None:
        """Refuse what cannot work before anything is built.

        Raises:
            ConfigError: If there are no weights to begin with, or a share is none.
        """
        if not 0 <= self.turned <= 1:
            raise ConfigError(f"--turned is {self.turned:g}; it must be a share of the pairs, between 0 and 1.")
        if self.heads_only and self.init is None:
            raise ConfigError(
                "The confidence heads of which network? Give its weights, or the folder of its run, as --init."
            )
        if self.init is not None:
            shape_of(self.init)

    def network(self, example: Features) -> LightGlueShape:
        """Shape of the network that is to be trained for these features.

        Raises:
            ConfigError: If it shall see scales that the features do not have.
        """
        has_scales = example.scales is not None and example.orientations is not None
        if self.scale_orientation == "yes" and not has_scales:
            raise ConfigError(
                f"{example.kind!r} features have no scale and orientation; leave --scale-orientation auto."
            )
        make = LightGlueShape.edge if self.model == "edge" else LightGlueShape
        return make(
            input_dim=example.descriptors.shape[1],
            add_scale_ori=has_scales and self.scale_orientation != "no",
            kinds=None if example.kind is None else (example.kind,),
        )

    @property
    def cached_keypoints(self) -> int:
        """Keypoints kept of each photo or view."""
        return self.keypoints if self.cache_keypoints is None else self.cache_keypoints

    def _extractor(self, device: torch.device, resize: int | None = None) -> Extractor:
        extractor = training_extractor(
            self.features,
            max_keypoints=self.cached_keypoints,
            allow_noncommercial=self.allow_noncommercial,
            resize=resize,
        )
        return extractor.to(device)


def with_absolute_paths(recipe: AnyRecipe) -> AnyRecipe:
    """The recipe with absolute paths, so that its run can be resumed from any folder."""

    def absolute(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(absolute(item) for item in value)
        return value.resolve() if isinstance(value, Path) else value

    changes = {field.name: absolute(getattr(recipe, field.name)) for field in fields(recipe)}
    path, _, class_name = recipe.features.rpartition(":")
    if path.endswith(".py"):  # a class of the user's, path/file.py:Class
        changes["features"] = f"{Path(path).resolve()}:{class_name}"
    return replace(recipe, **changes)


def command_line(recipe: Recipe) -> str:
    """The command that trains by a recipe, for the card.

    Options that have their defaults are left out, and folders and files have their last names only.
    """
    defaults = {field.name: field.default for field in fields(recipe)}
    inner = {name: defaults.pop(name) for name in ("labels", "config")}
    options = [(name, getattr(recipe, name), default) for name, default in defaults.items()]
    for part, default in inner.items():
        options += [(name, value, getattr(default, name)) for name, value in vars(getattr(recipe, part)).items()]
    words = ["photoglue", "train", recipe.name]
    for name, value, default in options:
        # Of the two lengths of a run, the one that is given switches the other off.
        if value == default or (name in ("hours", "pairs") and value is None):
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            is_named = name in ("init", "features")
            items = value if isinstance(value, tuple) else (value,)
            words += [Path(item).name if is_named or isinstance(item, Path) else str(item) for item in items]
    return shlex.join(words)
