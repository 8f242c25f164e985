"""Matches of pairs of a data set, from stored features; refined, if the method says so."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from photoglue.datasets.base import EvaluationPair
from photoglue.evaluation.features import resize_to
from photoglue.evaluation.jobs import Job
from photoglue.image import load_image, to_gray
from photoglue.limits.subpixel import GrayView, refine_matches
from photoglue.pipeline import Pipeline
from photoglue.store import FeatureStore
from photoglue.structs import Features, Matches

PHOTOS_KEPT = 32
"""Gray photos that are held for the next pairs."""


@dataclass(frozen=True, kw_only=True)
class ReadPair:
    """All that is read of a pair before it is matched."""

    features: tuple[Features, Features]
    views: tuple[GrayView, GrayView] | None
    """The photos as the extractor saw them; None: matches are not refined."""


class PairMatcher:
    """Matches pairs of a job's data set.

    Args:
        job: The data set, the method and the protocol.
        device: Where features are read to.
    """

    def __init__(self, job: Job, device: torch.device) -> None:
        self.job, self.device = job, device
        self._view = lru_cache(PHOTOS_KEPT)(self._view_of)

    def read(self, store: FeatureStore, pairs: Sequence[EvaluationPair]) -> list[ReadPair]:
        """What some pairs are matched from; the features of an image that is in several pairs are read once."""
        names = sorted({name for pair in pairs for name in (pair.name0, pair.name1)})
        features = {name: store[name].to(self.device) for name in names}
        refine = self.job.method.refine is not None
        return [
            ReadPair(
                features=(features[pair.name0], features[pair.name1]),
                views=(self._view(pair.name0), self._view(pair.name1)) if refine else None,
            )
            for pair in pairs
        ]

    def match(self, pipeline: Pipeline, pairs: Sequence[ReadPair]) -> list[Matches]:
        """Their matches, in main memory.

        Args:
            pipeline: Of the job's method.
            pairs: From ``read``.
        """
        found = pipeline.matcher.match_many([pair.features for pair in pairs])
        options = self.job.method.refine
        return [
            (
                matches
                if pair.views is None
                else refine_matches(*pair.views, matches, options=options, features=pair.features)
            ).cpu()
            for pair, matches in zip(pairs, found, strict=True)
        ]

    def _view_of(self, name: str) -> GrayView:
        dataset, protocol = self.job.dataset, self.job.protocol
        image = to_gray(load_image(dataset.folder / name).to(self.device))
        image = torch.rot90(image, dataset.turns.get(name, 0), dims=(1, 2)).contiguous()
        resize = resize_to((image.shape[2], image.shape[1]), protocol.resize_side, protocol.resize)
        return GrayView(image=resize.apply(image)[0], resize=resize)
