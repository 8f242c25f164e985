"""Neighbours of verified neighbours: pairs that no rule proposed, and that two verified pairs suggest."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import combinations

from photoglue.sfm.unplaced import PairRow


def transitive_pairs(
    rows: Sequence[PairRow], tried: Collection[tuple[str, str]], neighbors: int
) -> list[tuple[str, str]]:
    """Pairs of photos with a verified partner in common that were not tried yet, the most promising ones of each photo.

    As in COLMAP's ``transitive_matcher``, but few: what a common partner is worth is the smaller number of inliers that
    it has with the two.

    Args:
        rows: Pairs that were verified; those that geometry refused count for nothing.
        tried: All pairs that were matched, in either order.
        neighbors: Pairs of each photo at most; a pair is taken if it is among those of either photo.

    Returns:
        Pairs of names, sorted.
    """
    partners: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        if row.good:
            partners[row.name0][row.name1] = partners[row.name1][row.name0] = row.inliers
    known = {frozenset(pair) for pair in tried}
    worth: dict[tuple[str, str], int] = defaultdict(int)
    for found in partners.values():
        for pair in combinations(sorted(found), 2):
            if frozenset(pair) not in known:
                worth[pair] += min(found[pair[0]], found[pair[1]])
    taken: dict[str, int] = defaultdict(int)
    pairs = []
    for pair in sorted(worth, key=lambda pair: (-worth[pair], pair)):
        if min(taken[pair[0]], taken[pair[1]]) < neighbors:
            pairs.append(pair)
            for name in pair:
                taken[name] += 1
    return sorted(pairs)
