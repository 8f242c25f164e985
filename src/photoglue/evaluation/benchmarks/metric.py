"""What a measured value is called, what it means, which way is better, and how it is written."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal["share", "count", "layers", "degrees", "pixels", "seconds", "number"]
Better: TypeAlias = Literal["higher", "lower"]

SYMBOLS: Mapping[Unit, str] = {"share": "%", "degrees": "°", "pixels": "px", "seconds": "s"}
"""Shown with the name of a value; the other units have no symbol."""


@dataclass(frozen=True)
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
    _: KW_ONLY
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


def thresholded(
    name: str,
    thresholds: Iterable[int | str],
    meaning: str,
    *,
    better: Better = "higher",
    unit: str = "",
    mean_of: str = "",
    brief: int | str | None = None,
) -> tuple[Metric, ...]:
    """Shares that differ in a threshold only: ``precision@1px``, ``precision@3px`` and so on.

    Args:
        name: The key before the @.
        thresholds: As they stand in the keys.
        meaning: What the share is, with ``{t}`` for the threshold.
        better: Which way is better.
        unit: What follows the threshold in the keys.
        mean_of: The value of single pairs, with ``{t}`` for the threshold; empty: none.
        brief: The threshold that is shown where there is little room; None: all.
    """
    return tuple(
        Metric(
            f"{name}@{threshold}{unit}", "share", better, meaning, threshold=float(threshold),
            mean_of=mean_of.replace("{t}", str(threshold)), brief=brief in (None, threshold),
        )
        for threshold in thresholds
    )  # fmt: skip


def curve_meaning(error: str, unit: str) -> str:
    """The meaning of an AUC of an error in a unit, as it is written behind a number: "°" or " px"."""
    return (
        f"Area under the cumulative curve of the {error} from 0 to {{t}}{unit}, divided by {{t}}{unit}: 100 % would be "
        "no error on any pair. A pair without an estimate counts as failed."
    )


COMMON: tuple[Metric, ...] = (
    Metric("matches", "count", None, "Matches of a pair, on average.", mean_of="num_matches"),
    Metric(
        "inliers", "count", None, "Matches that the robust estimator agreed with, on average.", mean_of="num_inliers"
    ),
    Metric(
        "exit_layer", "layers", None, "Layers that the matcher ran before it was sure, on average.",
        mean_of="stop", brief=False,
    ),
    Metric(
        "pruned", "share", None, "Share of the keypoints that the matcher dropped before its last layer.",
        mean_of="pruned_share", brief=False,
    ),
    Metric(
        "match_s", "seconds", "lower", "Time to match a pair, without the extraction of its features.",
        label="match time", mean_of="match_s",
    ),
)  # fmt: skip
"""What every benchmark measures besides its own values."""
