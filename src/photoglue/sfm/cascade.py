"""Nearest neighbours where they are plainly enough, and a careful matcher for the other pairs."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TypeAlias, final

import torch
from jaxtyping import Int64
from torch import Tensor

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
POSSIBLE = 0.5
"""Probability that two photos show the same thing, below which the careful matcher looks at no more points. LightGlue
says about 0.16 of photos of different things."""

Pairs: TypeAlias = Sequence[tuple[Features, Features]]


@final
class Cascade(Matcher):
    """Mutual nearest neighbours of pairs on which enough of them agree with an epipolar geometry; else another matcher.

    Where nearest neighbours give a hundred matches that agree, a learned matcher adds points, but no accuracy of the
    cameras; a pair takes it a second or two on a CPU, and them a few hundredths. It looks at the strongest points
    first, because its time hangs on their number, and at all of them only where those do not give enough matches
    either, unless it then says that the two photos show different things.

    Args:
        careful: The matcher of the other pairs, such as LightGlue.
        enough: Matches that must agree.
        first: So many points of each photo the careful matcher looks at first.
        resize: Length of the longer side that the extractor saw, pixels; None: the photos as they are.
    """

    def __init__(self, careful: Matcher, *, enough: int = 100, first: int = 1024, resize: int | None = 1024) -> None:
        self.careful_digest = digest_of(matcher_options(careful))
        self.enough = enough
        self.first = first
        self.resize = resize
        self._careful = careful
        self._nearest = NearestNeighbor()

    @property
    def device(self) -> torch.device:
        """The device of the careful matcher."""
        device: torch.device = getattr(self._careful, "device", torch.device("cpu"))
        return device

    def match_many(self, pairs: Pairs) -> list[Matches]:
        """Matches of many pairs, in their order.

        Raises:
            FeatureKindError: If the careful matcher was not made for these features.
            ShapeError: If something is no pair of Features.
            MissingExtra: If PoseLib is not installed.
        """
        pairs = check_pairs(pairs)
        found = [each.select(each.scores >= LIKE) for each in self._nearest.match_many(pairs)]
        hard = self._hard(pairs, found, range(len(pairs)))
        large = [i for i in hard if max(len(features) for features in pairs[i]) > self.first]
        for i, matches in zip(large, self._by_strongest([pairs[i] for i in large]), strict=True):
            found[i] = matches
        done = set(large) - set(self._hard(pairs, found, [i for i in large if self._possible(found[i])]))
        left = [i for i in hard if i not in done]
        for i, matches in zip(left, self._carefully([pairs[i] for i in left]), strict=True):
            found[i] = matches
        return found

    def _carefully(self, pairs: Pairs) -> list[Matches]:
        return self._careful.match_many(pairs) if pairs else []

    def _by_strongest(self, pairs: Pairs) -> list[Matches]:
        """What the careful matcher finds between the strongest points."""
        rows = [tuple(_strongest(features, self.first) for features in pair) for pair in pairs]
        few = [(pair[0][rows0], pair[1][rows1]) for pair, (rows0, rows1) in zip(pairs, rows, strict=True)]
        return [
            _among_all(matches, pair, (rows0, rows1))
            for matches, pair, (rows0, rows1) in zip(self._carefully(few), pairs, rows, strict=True)
        ]

    def _possible(self, matches: Matches) -> bool:
        """Whether the careful matcher thinks that two photos may show the same thing."""
        probability = self._careful.overlap_probability(matches)
        return probability is None or probability >= POSSIBLE

    def _hard(self, pairs: Pairs, found: Sequence[Matches], among: Collection[int]) -> list[int]:
        return [i for i in among if not self._plain(pairs[i], found[i])]

    def _plain(self, pair: tuple[Features, Features], matches: Matches) -> bool:
        """Whether enough nearest neighbours agree."""
        if len(matches) < self.enough:
            return False
        threshold = poselib.scaled_threshold_px("fundamental", [each.image_size for each in pair], self.resize)
        points = matches.points0.cpu(), matches.points1.cpu()
        agreed = poselib.verify(*points, "fundamental", threshold_px=threshold, max_iterations=EASY)
        return len(agreed) >= self.enough


def _strongest(features: Features, count: int) -> Int64[Tensor, " k"]:
    """The rows of the points with the highest scores, in their order."""
    return features.scores.topk(min(count, len(features))).indices.sort().values


def _among_all(
    matches: Matches, pair: tuple[Features, Features], rows: tuple[Int64[Tensor, " k"], Int64[Tensor, " l"]]
) -> Matches:
    """Matches of some points of two photos as matches of all."""
    full = []
    for features, own, other, partners, scores in (
        (pair[0], rows[0], rows[1], matches.matches0, matches.matching_scores0),
        (pair[1], rows[1], rows[0], matches.matches1, matches.matching_scores1),
    ):
        far = torch.cat([other, other.new_tensor([-1])])[partners]  # -1 is the last
        full.append(
            (
                partners.new_full((len(features),), -1).index_copy(0, own, far),
                scores.new_zeros(len(features)).index_copy(0, own, scores),
            )
        )
    return replace(
        matches,
        matches0=full[0][0],
        matches1=full[1][0],
        matching_scores0=full[0][1],
        matching_scores1=full[1][1],
        keypoints0=pair[0].keypoints,
        keypoints1=pair[1].keypoints,
        prune0=None,
        prune1=None,
    )
