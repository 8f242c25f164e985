"""Nearest neighbours where they are plainly enough, and a careful matcher for the other pairs."""

from collections.abc import Sequence
from typing import final

import torch

from photoglue.batch.match import matcher_options
from photoglue.files import digest_of
from photoglue.matchers.base import Matcher, check_pairs
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.solvers import poselib
from photoglue.structs import Features, Matches

LIKE = 0.9
"""Score of mutual nearest neighbours that count: a cosine of 0.8."""
EASY = 2_000
"""Most random samples: on an easy pair more than half of the nearest neighbours are right, and these find them."""


@final
class Cascade(Matcher):
    """Mutual nearest neighbours of pairs on which enough of them agree with an epipolar geometry; else another matcher.

    Where nearest neighbours give a hundred matches that agree, a learned matcher adds points, but no accuracy of the
    cameras; a pair takes it a second or two on a CPU, and them a few hundredths.

    Args:
        careful: The matcher of the other pairs, such as LightGlue.
        enough: Matches that must agree.
        resize: Length of the longer side that the extractor saw, pixels; None: the photos as they are.
    """

    def __init__(self, careful: Matcher, *, enough: int = 100, resize: int | None = 1024) -> None:
        self.careful_digest = digest_of(matcher_options(careful))
        self.enough = enough
        self.resize = resize
        self._careful = careful
        self._nearest = NearestNeighbor()

    @property
    def device(self) -> torch.device:
        """The device of the careful matcher."""
        device: torch.device = getattr(self._careful, "device", torch.device("cpu"))
        return device

    def match_many(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, in their order.

        Raises:
            FeatureKindError: If the careful matcher was not made for these features.
            ShapeError: If something is no pair of Features.
            MissingExtra: If PoseLib is not installed.
        """
        pairs = check_pairs(pairs)
        found = [each.select(each.scores >= LIKE) for each in self._nearest.match_many(pairs)]
        hard = [i for i, (pair, matches) in enumerate(zip(pairs, found, strict=True)) if not self._plain(pair, matches)]
        for i, matches in zip(hard, self._careful.match_many([pairs[i] for i in hard]) if hard else [], strict=True):
            found[i] = matches
        return found

    def _plain(self, pair: tuple[Features, Features], matches: Matches) -> bool:
        """Whether enough nearest neighbours agree."""
        if len(matches) < self.enough:
            return False
        threshold = poselib.scaled_threshold_px("fundamental", [each.image_size for each in pair], self.resize)
        points = matches.points0.cpu(), matches.points1.cpu()
        agreed = poselib.verify(*points, "fundamental", threshold_px=threshold, max_iterations=EASY)
        return len(agreed) >= self.enough
