"""What a measured value is called, what it means, which way is better, and how it is written."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal["share", "count", "layers", "degrees", "pixels", "seconds", "number"]
Better: TypeAlias = Literal["higher", "lower"]

SYMBOLS: Mapping[Unit, str] = {"share": "%", "degrees": "°", "pixels": "px", "seconds": "s"}
"""Shown with the name of a value; the other units have no symbol."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A value that a benchmark measures."""

    name: str
    """Its key in results and records, such as ``AUC@5``."""
    unit: Unit
    """What its numbers are; a share is stored in [0, 1] and shown in per cent."""
    better: Better | None = None
    """Which way is better; None: neither, or unknown."""
    meaning: str = ""
    """A sentence for readers who do not know it, with ``{t}`` where the threshold stands; empty: nothing is known."""
    threshold: float | None = None
    """The number behind the @ of the name; None: the value has none."""
    label: str = ""
    """The name for people, without unit; empty: the key with spaces for underscores."""
    mean_of: str = ""
    """The value of single pairs whose mean it is; empty: the benchmark computes it in another way."""
    brief: bool = True
    """Whether it is shown where there is room for a few values only."""

    @property
    def symbol(self) -> str:
        """The unit of its numbers as they are shown; empty if there is none."""
        return SYMBOLS.get(self.unit, "")

    @property
    def words(self) -> str:
        """The name for people, without its unit."""
        return self.label or self.name.replace("_", " ")

    @property
    def explained(self) -> str:
        """The meaning, with its threshold."""
        return self.meaning if self.threshold is None else self.meaning.replace("{t}", f"{self.threshold:g}")

    @property
    def family(self) -> tuple[str, str]:
        """(name, meaning) of all values that differ from it in the threshold only, with t in its place."""
        if self.threshold is None:
            return self.words, self.meaning
        return f"{self.words.partition('@')[0]}@t", self.meaning.replace("{t}", "t")

    def shown(self, value: float) -> str:
        """A value as text, without its unit; an infinite error reads "failed"."""
        if math.isnan(value):
            return "–"
        if math.isinf(value):
            return "failed" if self.unit in ("degrees", "pixels") else "∞"
        if abs(value) >= 1000:
            return f"{value:,.0f}"
        forms = {"share": f"{100 * value:.1f}", "count": f"{value:.0f}", "layers": f"{value:.1f}"}
        errors = f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
        return {**forms, "degrees": errors, "pixels": errors}.get(self.unit, f"{value:.3g}")


def auc_metrics(name: str, error: str, thresholds: Iterable[int], unit: str) -> tuple[Metric, ...]:
    """The metrics of an area under the curve of an error, one for each threshold.

    Args:
        name: Its key before the @.
        error: What is measured, for the meaning, such as "pose error".
        thresholds: The ends of the curve.
        unit: How the unit of the thresholds is written behind a number: "°" or " px".
    """
    meaning = (
        f"Area under the cumulative curve of the {error} from 0 to {{t}}{unit}, divided by {{t}}{unit}: 100 % would be "
        "no error on any pair. A pair without an estimate counts as failed."
    )
    return tuple(
        Metric(name=f"{name}@{limit}", unit="share", better="higher", meaning=meaning, threshold=float(limit))
        for limit in thresholds
    )  # fmt: skip


COMMON: tuple[Metric, ...] = (
    Metric(name="matches", unit="count", meaning="Matches of a pair, on average.", mean_of="num_matches"),
    Metric(
        name="inliers",
        unit="count",
        meaning="Matches that the robust estimator agreed with, on average.",
        mean_of="num_inliers",
    ),
    Metric(
        name="exit_layer",
        unit="layers",
        meaning="Layers that the matcher ran before it was sure, on average.",
        mean_of="stop",
        brief=False,
    ),
    Metric(
        name="pruned",
        unit="share",
        meaning="Share of the keypoints that the matcher dropped before its last layer.",
        mean_of="pruned_share",
        brief=False,
    ),
    Metric(
        name="match_s",
        unit="seconds",
        better="lower",
        meaning="Time to match a pair, without the extraction of its features.",
        label="match time",
        mean_of="match_s",
    ),
)
"""What every benchmark measures besides its own values."""
