"""A pair under examination: photos, features, matches, geometry, and the means to match the photos in another way."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.decode import Photo
from photoglue.doctor.finding import Finding
from photoglue.doctor.given import GivenFeatures
from photoglue.errors import MissingExtra
from photoglue.geometry.camera import PinholeCamera
from photoglue.limits.rotation import with_options
from photoglue.pipeline import Pipeline
from photoglue.solvers import poselib
from photoglue.solvers.poselib import Model, Verification
from photoglue.structs import Features, Matches

LEAST_SCORE = 0.1
"""Matches below it are no evidence, however many a setting lets through."""
LEAST = 20.0
"""Sum of scores below which the matches of a probe may be chance: photos that share nothing reach 18."""
SMALL = 512
"""Keypoints, and pixels of the longer side, of a probe."""
SURE, DOUBTFUL = 0.9, 0.15
"""Probability of overlap, and inliers as a share of the keypoints of the photo with fewer, below which a pair does not
match as well as one could wish, and probes are made."""
FEW_INLIERS = 30
"""Inliers below which that is so, too."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What was asked about."""

    names: tuple[str, str]
    """The photos as they are given on a command line."""
    photos: tuple[Photo, Photo]
    given: tuple[GivenFeatures, GivenFeatures] | None
    """The user's own features; None: there are none."""
    features_name: str
    """Name of the extractor, as the command line spells it."""
    options: Mapping[str, Any]
    """Options of ``Pipeline.pretrained`` other than the name of the features."""
    cameras: tuple[PinholeCamera, PinholeCamera] | None = None
    """The cameras that the user verifies with; None: there are none."""
    threshold_px: float | None = None
    """The threshold that the user verifies with, pixels; None: the usual one."""

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(width, height) of both photos, upright, pixels."""
        first, second = ((photo.image.shape[2], photo.image.shape[1]) for photo in self.photos)
        return first, second

    def command(self, *words: object, features: str | None = None, verb: str = "match") -> str:
        """A command line for these photos.

        Args:
            *words: Options to add.
            features: Name of the features; None: those that were asked about.
            verb: Name of the command.
        """
        name = features or self.features_name
        named = [] if name == "aliked" else ["--features", name]
        licence = ["--allow-noncommercial"] if self.options.get("allow_noncommercial") else []
        return shlex.join(["photoglue", verb, *self.names, *named, *licence, *map(str, words)])

    def extract_again(self) -> str:
        """The command that extracts features of both photos into a file."""
        return self.command("--store", "features.h5", verb="extract")


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Two photos and what was made of them."""

    asked: Asked
    pipeline: Pipeline
    features: tuple[Features, Features]
    """What was matched: the user's own features, or those of the pipeline."""
    matches: Matches
    overlap_probability: float | None
    fundamental: Verification | None
    """None: PoseLib is not installed."""
    homography: Verification | None
    """With twice the threshold of ``fundamental``, which asks for less; None: PoseLib is not installed."""

    @classmethod
    def of(cls, asked: Asked, pipeline: Pipeline, *, own: bool = True) -> "Case":
        """The pair, matched once and checked against two geometries.

        Args:
            asked: The photos.
            pipeline: What they are matched with.
            own: Match the user's own features, if there are any; False: those of the pipeline.
        """
        if own and asked.given is not None:
            kind = pipeline.extractor.kind
            features = [each.features(size, kind) for each, size in zip(asked.given, asked.sizes, strict=True)]
        else:
            features = pipeline.extractor.extract_many(asked.photos)
        matches = pipeline.matcher.match(*features).cpu()
        points = matches.points0, matches.points1
        threshold = poselib.scaled_threshold_px("fundamental", asked.sizes, pipeline.extractor.config.resize)
        return cls(
            asked=asked,
            pipeline=pipeline,
            features=(features[0], features[1]),
            matches=matches,
            overlap_probability=pipeline.matcher.overlap_probability(matches),
            fundamental=verified(points, "fundamental", threshold),
            homography=verified(points, "homography", 2 * threshold),
        )

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(width, height) of both photos, upright, pixels."""
        return self.asked.sizes

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

    def small(self, image: Float[Tensor, "c h w"], resize: int = SMALL, max_keypoints: int = SMALL) -> Features:
        """Features of an image at another size."""
        extractor = with_options(self.pipeline.extractor, resize=resize, max_keypoints=max_keypoints)
        return extractor.extract(image)

    def strength_with(self, features0: Features, features1: Features) -> float:
        """See ``strength_of``: that of other features of these photos."""
        return strength_of(self.pipeline.matcher.match(features0, features1))


Symptom: TypeAlias = Callable[[Case], Finding | None]
"""Looks for one cause; None: it is not that."""


def has_points(case: Case) -> bool:
    """Whether there are points in both photos that could be matched in another way."""
    return min(map(len, case.features)) >= 8


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
