"""What measured values are called, what they mean, which way is better, and how they are written."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from photoglue.evaluation.results import PairRecord

Kind: TypeAlias = Literal["share", "count", "layers", "degrees", "pixels", "seconds", "milliseconds", "number"]
Better: TypeAlias = Literal["higher", "lower"]

UNITS: Mapping[Kind, str] = {"share": "%", "degrees": "°", "pixels": "px", "seconds": "s", "milliseconds": "ms"}
"""Shown with the name of a value; the other kinds have none."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """A measured value, explained."""

    name: str
    """As the benchmark calls it."""
    kind: Kind
    """What sort of number it is."""
    better: Better | None
    """Which way is better; None: neither, or unknown."""
    meaning: str = ""
    """For a reader who does not know it; empty for values that this table does not know."""
    family: str = ""
    """The name with t in place of its threshold, such as AUC@t."""
    family_meaning: str = ""
    """The meaning with t in place of the threshold."""

    @property
    def unit(self) -> str:
        """Of its numbers as they are shown; empty if there is none."""
        return UNITS.get(self.kind, "")

    @property
    def words(self) -> str:
        """The name for people, without its unit."""
        return _spoken(self.name)

    def shown(self, value: float) -> str:
        """The value as text, without its unit. A share becomes per cent; an error without end reads "failed"."""
        if math.isnan(value):
            return "–"
        if math.isinf(value):
            return "failed" if self.kind in ("degrees", "pixels") else "∞"
        if abs(value) >= 1000:
            return f"{value:,.0f}"
        forms = {"share": f"{100 * value:.1f}", "count": f"{value:.0f}", "layers": f"{value:.1f}"}
        errors = f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
        return {**forms, "degrees": errors, "pixels": errors}.get(self.kind, f"{value:.3g}")


_CURVE = (
    "Area under the cumulative curve of the {0} from 0 to {1}, divided by {1}: 100 % would be no error on any pair. A "
    "pair without an estimate counts as failed."
)
_RULES: tuple[tuple[str, Kind, Better | None, str], ...] = (
    (r"roc", "share", "higher", "How often an overlapping pair scores above one without overlap; 50 % is guessing."),
    (r"auc.*dlt.*@|dlt.*auc.*@", "share", "higher", _CURVE.replace("{0}", "corner error of a plain least-squares fit")),
    (r"auc.*@", "share", "higher", _CURVE),
    (r"maa", "share", "higher", "Share of the marked points within 1, 2, … {1} of their lines, averaged over these."),
    (r"false_pairs", "share", "lower", "Share of pairs of different scenes that keep {1} or more inliers."),
    (r"false_positive|fpr", "share", "lower", "Share of pairs without overlap that are taken for overlapping ones."),
    (r"true_positive|tpr", "share", "higher", "Share of overlapping pairs that are taken for such."),
    (
        r"squared_epipolar_precision",
        "share",
        "higher",
        "Share of the matches whose squared distances to the true epipolar lines add up to less than {1}, in units of "
        "the focal length squared (SuperGlue's and LoFTR's measure).",
    ),
    (
        r"epipolar_precision",
        "share",
        "higher",
        "Share of the matches that lie within {1} of the true epipolar lines, in units of the focal length.",
    ),
    (r"precision", "share", "higher", "Share of the matches that agree with the true geometry within {1}."),
    (
        r"recall",
        "share",
        "higher",
        "Share of the keypoints with a true partner within {1} that were matched to it.",
    ),
    (r"fail", "share", "lower", "Share of the pairs for which nothing could be estimated."),
    (r"pruned", "share", None, "Share of the keypoints that the matcher dropped before its last layer."),
    (r"inlier.*(share|ratio)", "share", None, "Share of the matches that the robust estimator agreed with."),
    (r"accuracy", "share", "higher", "Share of the pairs that were judged right."),
    (r"(^|_)ece$|brier|calibration", "number", "lower", "How far confidences are from observed shares; 0 is best."),
    (r"_deg$", "degrees", "lower", "The larger of the angles by which rotation and translation are off."),
    (r"_px$", "pixels", "lower", "How far points are from where the true geometry puts them."),
    (r"_share$|_rate$", "share", None, ""),
    (r"matches", "count", None, "Matches of a pair, on average."),
    (r"inliers", "count", None, "Matches that the robust estimator agreed with, on average."),
    (r"keypoints", "count", None, "Keypoints of an image, on average."),
    (r"^pairs$", "count", None, "Pairs of images."),
    (r"stop|layer", "layers", None, "Layers that the matcher ran before it was sure, on average."),
    (r"_ms$", "milliseconds", "lower", "Time to match a pair, without the extraction of its features."),
    (r"_s$|seconds", "seconds", "lower", "Time to match a pair, without the extraction of its features."),
)
"""(pattern in the name, kind, better, meaning) of known values; the first that fits counts. In a meaning {0} is the
kind of error of the benchmark and {1} the threshold."""
_THRESHOLD = r"@(\d+(?:\.\d+)?(?:e-?\d+)?)(px)?"


def term_of(name: str, benchmark: str) -> Term:
    """What a value is.

    Args:
        name: As in ``Result.values`` or ``PairRecord.values``.
        benchmark: Its kind, which decides whether AUC@5 means degrees or pixels.
    """
    pose = benchmark == "relative_pose"
    found = re.search(_THRESHOLD, name)
    unit = "" if "epipolar" in name or "false_pairs" in name else "°" if pose else " px"
    limit = f"{found.group(1)}{unit}" if found else "a threshold"
    family = _spoken(re.sub(_THRESHOLD, "@t", name))
    for pattern, kind, better, text in _RULES:
        if re.search(pattern, name, re.IGNORECASE):
            error = "pose error" if pose else "corner error" if benchmark == "homography" else "error"
            meanings = [text.format(error, shown) for shown in (limit, "t" if found else limit)]
            return Term(
                name=name, kind=kind, better=better, meaning=meanings[0], family=family, family_meaning=meanings[1]
            )
    return Term(name=name, kind="number", better=None, family=family)


def _spoken(name: str) -> str:
    """Without underscores and units."""
    words = re.sub("_(ms|s)$", "_time", name)
    return re.sub("_(deg|px|share)$", "", words).replace("_", " ").replace("dlt", "DLT")


ERRORS = ("pose_error_deg", "homography_error_px", "dlt_error_px", "epipolar_error_px")
"""Errors of a pair that are plotted, the most telling first; in benchmarks without these, whatever else is an error."""


def error_names(records: tuple[PairRecord, ...]) -> tuple[str, ...]:
    """The errors that these records measure, the one that ranks pairs first."""
    names = dict.fromkeys(name for record in records for name in record.values)
    known = tuple(name for name in ERRORS if name in names)
    return known or tuple(name for name in names if re.search(r"error.*_(deg|px)$", name))


def error_of(record: PairRecord, name: str) -> float:
    """The error of a pair; infinity where it was not measured or is no number: such a pair failed."""
    value = record.values.get(name, math.inf)
    return math.inf if math.isnan(value) else value
