"""A pair under examination: photos, features, matches, geometry, and the means to match the photos in another way."""

import copy
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.decode import Photo
from photoglue.doctor.finding import Finding
from photoglue.doctor.given import GivenFeatures
from photoglue.errors import MissingExtra
from photoglue.geometry.camera import PinholeCamera
from photoglue.matchers.base import Matcher
from photoglue.pipeline import Pipeline
from photoglue.solvers import poselib
from photoglue.solvers.poselib import Model, Verification
from photoglue.structs import Features, Matches

LEAST_SCORE = 0.1
"""Matches below it are no evidence, however many a setting lets through."""
SMALL = 512
"""Keypoints, and pixels of the longer side, of a probe."""
SURE, DOUBTFUL = 0.9, 0.15
"""Probability of overlap, and inliers as a share of the keypoints of the photo with fewer, below which a pair does not
match as well as one could wish, and probes are made."""
FEW_INLIERS = 30
"""Inliers below which that is so, too."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Two photos and what was made of them."""

    names: tuple[str, str]
    """As they are given on a command line."""
    photos: tuple[Photo, Photo]
    given: tuple[GivenFeatures | None, GivenFeatures | None]
    """The user's own features."""
    features_name: str
    """Name of the extractor, as the command line spells it."""
    options: Mapping[str, Any]
    """Options of ``Pipeline.pretrained`` other than the name of the features."""
    pipeline: Pipeline
    features: tuple[Features, Features]
    """What was matched: the user's own, or those of the pipeline."""
    matches: Matches
    overlap_probability: float | None
    fundamental: Verification | None
    """None: PoseLib is not installed."""
    homography: Verification | None
    """With the threshold of ``fundamental`` times 2, so that both allow about as much; None: PoseLib is not installed."""
    cameras: tuple[PinholeCamera, PinholeCamera] | None
    threshold_px: float | None

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(width, height) of both photos, upright, pixels."""
        first, second = ((photo.image.shape[2], photo.image.shape[1]) for photo in self.photos)
        return first, second

    @property
    def resize(self) -> int:
        """Pixels of the longer side of what the extractor sees, of the larger photo."""
        return self.pipeline.extractor.config.resize or max(map(max, self.sizes))

    @property
    def inliers(self) -> Bool[Tensor, " k"]:
        """For each match whether it agrees with the fundamental matrix; without PoseLib all do."""
        if self.fundamental is None:
            return torch.ones(len(self.matches), dtype=torch.bool)
        return self.fundamental.inliers

    @property
    def inlier_points(self) -> tuple[Float[Tensor, "k 2"], Float[Tensor, "k 2"]]:
        """The points of the inliers in both photos, pixels."""
        return self.matches.points0[self.inliers], self.matches.points1[self.inliers]

    @property
    def failed(self) -> bool:
        """Whether there is little that says that the photos show the same thing."""
        probability = self.overlap_probability
        unsure = probability is not None and probability < SURE
        return unsure or int(self.inliers.sum()) < FEW_INLIERS

    @property
    def doubtful(self) -> bool:
        """Whether there are fewer inliers than one could wish."""
        return self.failed or int(self.inliers.sum()) < DOUBTFUL * min(map(len, self.features))

    @property
    def strength(self) -> float:
        """See ``strength_of``."""
        return strength_of(self.matches)

    def command(self, *words: object, features: str | None = None, verb: str = "match") -> str:
        """A command line for these photos.

        Args:
            *words: Options to add.
            features: Name of the features; None: those of this case.
            verb: Name of the command.
        """
        name = features or self.features_name
        named = [] if name == "aliked" else ["--features", name]
        licence = ["--allow-noncommercial"] if self.options.get("allow_noncommercial") else []
        return shlex.join(["photoglue", verb, *self.names, *named, *licence, *map(str, words)])

    def small(self, image: Float[Tensor, "c h w"], resize: int = SMALL, max_keypoints: int = SMALL) -> Features:
        """Features of an image at another size."""
        extractor = copy.copy(self.pipeline.extractor)
        extractor.config = replace(extractor.config, resize=resize, max_keypoints=max_keypoints)
        return extractor.extract(image)

    def matched(self, features0: Features, features1: Features, matcher: Matcher | None = None) -> Matches:
        """Matches of other features of these photos, by the case's matcher or another one."""
        return (matcher or self.pipeline.matcher).match(features0, features1)


Symptom: TypeAlias = Callable[[Case], Finding | None]
"""Looks for one cause; None: it is not that."""


def strength_of(matches: Matches) -> float:
    """The sum of the scores, by which several ways to match the same photos are compared."""
    scores = matches.scores
    return float(scores[scores >= LEAST_SCORE].sum())


def verified(
    points: tuple[Float[Tensor, "k 2"], Float[Tensor, "k 2"]],
    model: Model,
    threshold_px: float,
    cameras: tuple[PinholeCamera, PinholeCamera] | None = None,
) -> Verification | None:
    """The geometry of some matches; None: PoseLib is not installed."""
    camera0, camera1 = cameras or (None, None)
    try:
        return poselib.verify(*points, model, camera0=camera0, camera1=camera1, threshold_px=threshold_px)
    except MissingExtra:
        return None


def threshold_of(sizes: tuple[tuple[int, int], tuple[int, int]], resize: int | None) -> float:
    """Pixels within which a match agrees with a fundamental matrix."""
    return poselib.scaled_threshold_px("fundamental", sizes, resize)
