"""Photos of a collection that are turned against the others: which, and by how many quarters.

Photos that verified pairs connect are not turned against each other. Those that nothing connects with the largest such
group are looked at in four turns, beside photos of that group: one turn for all photos of a group, by the votes of
their pairs. So a collection that hangs together costs nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from photoglue.extractors.base import Extractor
from photoglue.files import digest_of
from photoglue.image import load_photo
from photoglue.limits.rotation import LIKE, best_turn, extract_turned, score_sums, small
from photoglue.matchers.base import Matcher
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.sfm.unplaced import PairRow, groups_of
from photoglue.store import FeatureStore
from photoglue.structs import Features

CONNECTS = 100
"""Inliers of a verified pair from which on two photos surely are not turned against each other; of photos that are,
up to 44 were seen to agree by chance."""
FEWER = 30
"""So many are enough of a pair of whose matches"""
MOST = 2 / 3
"""such a share are inliers; by chance up to 0.46 were."""
SEEN = 4
"""Photos of a group that are looked at: those with the most partners in the largest group."""
TOLD = 5
"""Photos of each turn that a sentence names."""
PARTNERS = 4
"""Partners of each of them that a matcher looks at, those with the most nearest neighbours in any turn."""


def groups_apart(rows: Iterable[PairRow]) -> list[tuple[str, ...]]:
    """The groups of photos that verified pairs connect, and single photos, the largest group first.

    Photos without a match have nothing to be seen in them, and are left out.
    """
    rows = list(rows)
    groups = groups_of(row for row in rows if _connects(row))
    names = {name for row in rows if row.matches for name in (row.name0, row.name1)}
    apart = {tuple(sorted(groups.get(name, {name}))) for name in names}
    return sorted(apart, key=lambda each: (-len(each), each))


def _connects(row: PairRow) -> bool:
    return row.inliers >= CONNECTS or row.inliers >= max(FEWER, MOST * row.matches)


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Finds turned photos, and keeps the small features that it needs for that."""

    photos: Mapping[str, Path]
    """All photos, by name."""
    extractor: Extractor
    """That of the collection."""
    matcher: Matcher
    """For its features."""
    masks: Mapping[str, Path] = field(default_factory=dict)
    """Masks of photos, by their names."""
    _kept: dict[tuple[str, int], Features] = field(default_factory=dict)

    def find(
        self,
        rows: Iterable[PairRow],
        known: Mapping[str, int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, int]:
        """The photos that are turned, and by how many quarters counterclockwise they are to be turned: 1, 2 or 3.

        Args:
            rows: All pairs that were matched, and how well.
            known: Turns that were found before, which the features of the rows have.
            progress: Called with (photos looked at, photos to be looked at).

        Raises:
            ImageError: If a photo cannot be read.
        """
        rows, turns = list(rows), dict.fromkeys(self.photos, 0) | dict(known or {})
        partners: dict[str, set[str]] = {}
        for row in rows:
            partners.setdefault(row.name0, set()).add(row.name1)
            partners.setdefault(row.name1, set()).add(row.name0)
        ordered = groups_apart(rows)
        told, total, done = progress or (lambda *_: None), sum(map(len, ordered[1:])), 0
        joined: set[str] = set(*ordered[:1])
        waiting = ordered[1:]
        while waiting:
            left = []
            for names in waiting:
                votes = self._votes(names, joined, partners, turns)
                if max(votes) > 0:
                    best = votes.index(max(votes))
                    turns |= {name: (turns[name] + best) % 4 for name in names}
                    joined |= set(names)
                    done += len(names)
                    told(done, total)
                else:
                    left.append(names)
            if len(left) == len(waiting):
                break
            waiting = left
        told(total, total)
        return {name: turn for name, turn in turns.items() if turn}

    def _votes(
        self, names: Sequence[str], joined: set[str], partners: Mapping[str, set[str]], turns: Mapping[str, int]
    ) -> list[float]:
        """For 0, 1, 2 and 3 more quarters of some photos, the sums of the scores of those pairs that say so."""
        votes = [0.0] * 4
        shared = {name: sorted(partners[name] & joined) for name in names}
        for name in sorted(names, key=lambda each: (-len(shared[each]), each))[:SEEN]:
            if not shared[name]:
                continue
            mine = self._features(name, [(turns[name] + more) % 4 for more in range(4)])
            others = {other: self._features(other, [turns[other]])[0] for other in shared[name]}
            for other in sorted(others, key=lambda each: (-_alike(others[each], mine), each))[:PARTNERS]:
                sums = score_sums(self.matcher, others[other], mine)
                best = best_turn(sums)
                if best is not None:
                    votes[best] += sums[best]
        return votes

    def _features(self, name: str, quarters: Sequence[int]) -> list[Features]:
        """Few features of a small copy of a photo in some turns."""
        wanted = [number for number in quarters if (name, number) not in self._kept]
        if wanted:
            photo, mask = load_photo(self.photos[name]), self.masks.get(name)
            found = extract_turned(small(self.extractor), [photo] * len(wanted), wanted, [mask] * len(wanted))
            self._kept.update({(name, number): each.cpu() for number, each in zip(wanted, found, strict=True)})
        return [self._kept[name, number] for number in quarters]


def _alike(features: Features, turned: Sequence[Features]) -> int:
    """Nearest neighbours that are alike, in the turn that has most of them."""
    found = NearestNeighbor().match_many([(features, each) for each in turned])
    return max(int((matches.scores >= LIKE).sum()) for matches in found)


def question(features: Path, rows: Iterable[PairRow]) -> str:
    """A digest of all that the search for turned photos depends on: their features, and how well they match.

    Raises:
        OutputError: If the file of features cannot be read.
    """
    rows = list(rows)
    names = sorted({name for row in rows for name in (row.name0, row.name1)})
    with FeatureStore.open(features) as store:
        return digest_of([[asdict(row) for row in rows], [store.digest(name) for name in names], CONNECTS, FEWER, MOST])


def told_turns(turns: Mapping[str, int]) -> str:
    """A sentence about photos that were turned."""
    names = {angle: sorted(name for name in turns if turns[name] * 90 == angle) for angle in (90, 180, 270)}
    listed = [
        f"by {angle}°: {', '.join(found[:TOLD])}{', …' * (len(found) > TOLD)}"
        for angle, found in names.items()
        if found
    ]
    return (
        f"{len(turns)} photo{'s' * (len(turns) != 1)} turned against the others, counterclockwise {'; '.join(listed)}"
    )
