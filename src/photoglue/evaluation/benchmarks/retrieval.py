"""Searches: which photos of a set show the same place as a query."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import numpy as np
from jaxtyping import Bool

from photoglue.evaluation.benchmarks.base import Benchmark, means
from photoglue.evaluation.benchmarks.metric import Metric, thresholded

FIRST = (5, 10, 20)
"""How many of the first photos are looked at."""


@final
class Retrieval(Benchmark):
    """Recall among the first photos that a search finds, mean average precision, and whether the first is right.

    A record is a query and the photo that was found first.
    """

    name: ClassVar[str] = "retrieval"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *thresholded(
            "R",
            FIRST,
            "Of the photos that should be found, the share among the first {t}; of at most {t} photos.",
            mean_of="found_{t}",
        ),
        Metric("mAP", "share", "higher", "Average precision of a query's whole ranking, averaged.", mean_of="AP"),
        Metric("first_right", "share", "higher", "Queries whose first photo is of their place.", mean_of="first"),
        Metric(
            "group_right", "share", "higher",
            "Queries whose first photo is of their group of places, such as the same floor.", mean_of="group",
        ),
        Metric("bytes", "count", "lower", "Bytes of a photo in the index.", mean_of="bytes"),
        Metric(
            "describe_s", "seconds", "lower", "CPU time to make a photo's vector from its features and pixels.",
            label="vector time", mean_of="describe_s",
        ),
    )  # fmt: skip
    headline: ClassVar[str] = "mAP"
    errors: ClassVar[tuple[Metric, ...]] = ()
    limits: ClassVar[tuple[float, ...]] = ()

    @property
    def ranked_by(self) -> Metric:
        """Where the first right photo stands: the worst queries find theirs last."""
        return Metric("rank", "count", "lower", label="photos down to the first right one")

    def group_of(self, scene: str) -> str | None:
        """What stands before the first slash of a place, such as its floor; None without one."""
        return scene.partition("/")[0] if "/" in scene else None

    def measure(self, right: Bool[np.ndarray, " n"], wanted: int) -> dict[str, float]:
        """The values of one query.

        Args:
            right: Whether each photo of the ranking, the first one first, should have been found.
            wanted: How many photos should have been found, at least 1.
        """
        ranks = np.flatnonzero(right) + 1
        precision = np.arange(1, len(ranks) + 1) / ranks
        return {
            **{f"found_{k}": float((ranks <= k).sum() / min(k, wanted)) for k in FIRST},
            "AP": float(precision.sum() / wanted),
            "first": float(len(ranks) > 0 and ranks[0] == 1),
            "rank": float(ranks[0]) if len(ranks) else float("inf"),
        }

    def summary(self, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Means over queries."""
        return means(values, self.metrics)
