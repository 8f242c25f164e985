"""What the doctor says: findings, each with numbers and one command, and the pair that they are about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Cause: TypeAlias = Literal[
    "wrong matcher",
    "half-loaded weights",
    "turned",
    "coordinates",
    "half precision",
    "scale",
    "no overlap",
    "look-alike",
    "few points",
    "too large",
    "tiny",
    "bold exit",
    "static border",
    "colors",
    "descriptors",
    "intrinsics",
    "degenerate",
    "duplicates",
    "slow",
    "installation",
]
"""What can be wrong, in one or two words; the guide explains each."""
ORDER: tuple[Cause, ...] = (
    *("installation", "half-loaded weights", "wrong matcher", "coordinates", "descriptors", "half precision"),
    *("turned", "scale", "bold exit", "tiny", "few points", "static border", "intrinsics", "look-alike", "degenerate"),
    *("colors", "duplicates", "too large", "no overlap", "slow"),
)
"""Findings that are as sure as each other are told in this order: what spoils all comes before what spoils a part."""
GUESSES: tuple[Cause, ...] = ("no overlap", "too large", "look-alike", "slow")
"""What is told only where nothing else explains the matches; that it is slow, always."""
MEASURED_IN_PIXELS: tuple[Cause, ...] = ("scale", "static border", "intrinsics", "degenerate", "duplicates")
"""What cannot be told where coordinates are wrong."""
MOST = 3
"""Findings that are told of one pair."""
Evidence: TypeAlias = str | int | float | tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a pair of photos, or with what was made of them."""

    cause: Cause
    """What is wrong."""
    seen: str
    """What it was concluded from, in a sentence with numbers."""
    advice: str
    """What to do about it, in a sentence."""
    command: str
    """One command that does it, for a shell."""
    confidence: float
    """How sure that is, in (0, 1]: 1 is what was counted, about 0.5 a guess. It is a judgement, and not calibrated."""
    evidence: Mapping[str, Evidence]
    """The numbers behind it, by name."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is known of two photos after ``diagnose``."""

    photos: tuple[str, str]
    """Names of the photos."""
    features: str | None
    """Kind of the features that were matched; None: it is not known, or they could not be matched."""
    keypoints: tuple[int, int]
    """Number of keypoints of each photo."""
    matches: int
    """Number of matches."""
    overlap_probability: float | None
    """How likely the photos overlap, in (0, 1); None: what the scores of this matcher mean is not known."""
    inliers: int | None
    """Matches that agree with a fundamental matrix; None: PoseLib is not installed."""
    flat: float | None
    """Matches that agree with a homography, as a share of those that agree with a fundamental matrix: about 1 for a
    flat scene, and for a camera that only turned. None: there is nothing to compare."""
    findings: tuple[Finding, ...]
    """What is wrong, the likeliest and gravest first, at most three; none: nothing was found."""
    probes: tuple[str, ...]
    """What else was tried with the photos, such as turning one: nothing for a pair that matches well."""
    seconds: float
    """How long all of it took."""


def chosen(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings that are told: at most one for each cause, those that are surer by a fifth first.

    That nothing overlaps is what is left where nothing else explains why there are no matches; that photos are large,
    or only look alike, is no more than a guess, too.
    """
    if any(finding.confidence >= 0.7 and finding.cause not in GUESSES for finding in findings):
        findings = [finding for finding in findings if finding.cause not in GUESSES or finding.cause == "slow"]
    if any(finding.cause == "coordinates" and finding.confidence >= 0.9 for finding in findings):
        findings = [finding for finding in findings if finding.cause not in MEASURED_IN_PIXELS]
    ranked = sorted(findings, key=lambda finding: (-round(5 * finding.confidence), ORDER.index(finding.cause)))
    told: dict[Cause, Finding] = {}
    for finding in ranked:
        told.setdefault(finding.cause, finding)
    return tuple(told.values())[:MOST]
