"""Mutual nearest neighbours: the baseline that needs no training."""

from collections.abc import Iterable
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from photoglue.errors import ConfigError, FeatureKindError, ShapeError
from photoglue.matchers.base import Matcher, check_pairs, check_points, mutual_partners
from photoglue.precision import without_autocast
from photoglue.structs import Features, Matches


@final
class NearestNeighbor(Matcher):
    """Points whose descriptors are each other's nearest, optionally clearly nearer than the second.

    Scores are the cosine of the two descriptors, mapped from [-1, 1] to [0, 1].

    Args:
        ratio: Lowe's test: the distance to the nearest must be below ``ratio`` × that to the second; None: no test. As
            usual it is made for the points of the first image only, so that swapped images give other matches.
    """

    def __init__(self, ratio: float | None = None) -> None:
        if ratio is not None and not 0 < ratio <= 1:
            raise ConfigError(f"ratio is {ratio}; it must be in (0, 1], or None for no ratio test.")
        self.ratio = ratio

    @torch.no_grad()
    def match_many(self, pairs: Iterable[tuple[Features, Features]]) -> list[Matches]:
        """Matches of many pairs, in their order.

        Raises:
            FeatureKindError: If the two images of a pair have different kinds of features.
            ShapeError: If something is no pair of Features, values are not finite, or a pair is on two devices.
        """
        pairs = check_pairs(pairs)
        check_points(list({id(features): features for pair in pairs for features in pair}.values()))
        return [self._match(*pair) for pair in pairs]

    def _match(self, features0: Features, features1: Features) -> Matches:
        width0, width1 = features0.descriptors.shape[1], features1.descriptors.shape[1]
        known = {features0.kind, features1.kind} - {None}
        if len(known) > 1 or width0 != width1:
            raise FeatureKindError(
                f"The images have different features: {features0.kind!r} of {width0} channels, "
                f"{features1.kind!r} of {width1}. Extract both with the same extractor."
            )
        m, n = len(features0), len(features1)
        like = features0.keypoints
        if like.device != features1.keypoints.device:
            raise ShapeError(
                f"The images are on {like.device} and {features1.keypoints.device}. Use features.to(device)."
            )
        matches0, matches1 = (like.new_full((count,), -1, dtype=torch.int64) for count in (m, n))
        scores0, scores1 = like.new_zeros(m), like.new_zeros(n)
        if m and n:
            with without_autocast(like.device):
                cosine = _unit(features0.descriptors) @ _unit(features1.descriptors).T
            nearest, choice = cosine.max(dim=1)
            # By the value: on a CPU where a column's maximum is takes fifteen times as long as what it is.
            partner = mutual_partners(nearest, choice, cosine.amax(dim=0))
            index1 = torch.nonzero(partner < m).flatten()
            index1 = index1[self._distinct(cosine)[partner[index1]]]
            index0 = partner[index1]
            matches0[index0], matches1[index1] = index1, index0
            scores0[index0] = scores1[index1] = (cosine[index0, index1].clamp(-1, 1) + 1) / 2
        return Matches(
            matches0=matches0,
            matches1=matches1,
            matching_scores0=scores0,
            matching_scores1=scores1,
            keypoints0=features0.keypoints,
            keypoints1=features1.keypoints,
        )

    def _distinct(self, cosine: Float[Tensor, "m n"]) -> Bool[Tensor, " m"]:
        """The points of the first image that pass the ratio test."""
        if self.ratio is None or cosine.shape[1] < 2:
            return torch.ones(len(cosine), dtype=torch.bool, device=cosine.device)
        distances = (2 - 2 * cosine.topk(2, dim=1).values.clamp(max=1)).sqrt()
        return distances[:, 0] < self.ratio * distances[:, 1]


def _unit(descriptors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(descriptors.float(), dim=1)
