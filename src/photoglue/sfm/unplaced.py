"""Why photos have no place in the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from photoglue.sfm.verified import PairKind, VerifiedStore
from photoglue.solvers.colmap_facts import ColmapModel

LOOK_ALIKE = "look-alike"
"""Kind of a pair that the rotations of many others contradict."""
HELPS: Mapping[str, str] = MappingProxyType(
    {
        "unreadable": "copy the file anew; the others went on",
        "alone": "take another photo of it, from a step aside",
        "no pair": "--by with more rules, or more --neighbors",
        "no verified pair": "take photos between this and the others; or a larger --resize, more --max-keypoints",
        "too few of its points": "take photos from places nearer to it; or more --max-keypoints",
        "in another model": "take photos that connect both places",
        "in a group": "take photos that connect it with the others; --intrinsics or --single-camera",
        "no parallax: the camera only turned": "step aside between photos: a panorama has no depth",
        "no parallax, or a flat scene": "--intrinsics: a flat scene says nothing of the focal length",
    }
)
"""How reasons begin → what may help."""


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """A pair of photos in numbers."""

    name0: str
    """The photo that sorts first."""
    name1: str
    """The other photo."""
    matches: int
    """Matches of the two."""
    inliers: int
    """Those that geometry accepted."""
    kind: str
    """What the geometry is: calibrated, uncalibrated, planar, panoramic, planar or panoramic, degenerate; or
    ``LOOK_ALIKE``."""

    @property
    def good(self) -> bool:
        """Whether the pair is one that a model can be built from."""
        return self.kind not in (PairKind.DEGENERATE.label, LOOK_ALIKE)

    def other(self, name: str) -> str:
        """The partner of one of the two photos."""
        return self.name1 if name == self.name0 else self.name0


def rows_of(verified: Path, pairs: Iterable[tuple[str, str]]) -> tuple[PairRow, ...]:
    """The pairs of a list that are in a file of verified pairs, in numbers, sorted by name.

    Raises:
        OutputError: If the file cannot be read.
    """
    rows = []
    with VerifiedStore.open(verified) as store:
        for name0, name1 in sorted({(min(pair), max(pair)) for pair in pairs}):
            found = store.counts(name0, name1)
            if found is not None:
                kind, matches, inliers = found
                rows.append(PairRow(name0=name0, name1=name1, kind=kind.label, matches=matches, inliers=inliers))
    return tuple(rows)


def with_parallax(rows: Sequence[PairRow]) -> list[tuple[str, str]]:
    """The good pairs of those groups of photos in which, between at least two, the camera did more than turn."""
    groups = groups_of(rows)
    moved = {row.name0 for row in rows if row.good and row.kind != PairKind.PANORAMIC.label}
    fine = {name for first in moved for name in groups[first]}
    return [(row.name0, row.name1) for row in rows if row.good and row.name0 in fine]


def why_unplaced(
    names: Iterable[str], models: Sequence[ColmapModel], rows: Sequence[PairRow], failed: Mapping[str, str]
) -> dict[str, str]:
    """For each photo that is not in the first model, why.

    Args:
        names: All photos.
        models: The models, the first is the one that counts.
        rows: All pairs that were verified.
        failed: Photos that could not be read, and why.
    """
    placed = set(models[0].placed) if models else set()
    of: dict[str, list[PairRow]] = {name: [] for name in names}
    for row in rows:
        for name in (row.name0, row.name1):
            of.setdefault(name, []).append(row)
    groups = groups_of(rows)
    reasons = {name: f"unreadable: {reason}" for name, reason in failed.items()}
    for name, mine in of.items():
        if name not in placed and name not in reasons:
            other = next((i for i, model in enumerate(models) if name in model.placed), None)
            if len(of) - len(failed.keys() & of.keys()) == 1:
                reasons[name] = "alone: there is no other photo, and a model needs two"
            elif other is None:
                reasons[name] = _why(name, mine, placed, groups.get(name, {name}))
            else:
                reasons[name] = f"in another model: sparse/{other}, of {len(models[other].placed)} photos"
    return dict(sorted(reasons.items()))


def what_helps(unplaced: Mapping[str, str]) -> list[str]:
    """Advice for each sort of reason that ``why_unplaced`` gave, each once."""
    return [
        f"{start!r}: {advice}"
        for start, advice in HELPS.items()
        if any(reason.startswith(start) for reason in unplaced.values())
    ]


def _why(name: str, rows: Sequence[PairRow], placed: set[str], group: set[str]) -> str:
    good = [row for row in rows if row.good]
    if not rows:
        return "no pair: it was matched with no other photo"
    if not good:
        best = max(rows, key=lambda row: row.matches)
        return (
            f"no verified pair: of {len(rows)} pairs, the one with most matches has {best.matches} ({best.other(name)})"
        )
    best = max(good, key=lambda row: row.inliers)
    about = (
        f"{len(good)} verified pair{'s' * (len(good) != 1)}, the best of {best.inliers} inliers ({best.other(name)})"
    )
    if all(row.kind == PairKind.PANORAMIC.label for row in good):
        return f"no parallax: the camera only turned between the photos, or stood still ({about})"
    if not placed & group:
        if all(row.kind not in (PairKind.CALIBRATED.label, PairKind.UNCALIBRATED.label) for row in good):
            return f"no parallax, or a flat scene: {about}"
        whom = "" if not placed else ", none of which is in the model"
        return f"in a group of {len(group)} photos{whom}, that gives no model of its own ({about})"
    return f"too few of its points are in the model to place it (2D–3D): {about}"


def groups_of(rows: Iterable[PairRow]) -> dict[str, set[str]]:
    """The photos that verified pairs connect with each photo, it included; those of no such pair are left out."""
    partners: dict[str, list[str]] = {}
    for row in rows:
        if row.good:
            partners.setdefault(row.name0, []).append(row.name1)
            partners.setdefault(row.name1, []).append(row.name0)
    groups: dict[str, set[str]] = {}
    for name in partners:
        if name not in groups:
            group, waiting = {name}, [name]
            while waiting:
                new = set(partners[waiting.pop()]) - group
                group |= new
                waiting += new
            groups |= dict.fromkeys(group, group)
    return groups
