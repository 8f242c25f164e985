"""The pairs that hold a model together, and those of them that hold least."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from photoglue.geometry.frames import StoredFrame
from photoglue.solvers.colmap_model import Model

CountedPair: TypeAlias = tuple[str, str, int, str]
"""The names of two photos, their inliers, and their geometry, such as "calibrated" or "planar"."""
Link: TypeAlias = tuple[str, str, Float[Tensor, "_ 2"], Float[Tensor, "_ 2"]]  # of several pairs, each with its own
"""The names of two photos, and points that match: (x, y) in pixels of the upright photos."""


def weakest_links(verified: Sequence[CountedPair], count: int) -> list[CountedPair]:
    """The pairs without which photos would be joined by nothing or by fewer inliers, the weakest first.

    Of all ways to join all photos by pairs, the strongest is taken (the maximum spanning tree), and of this the pairs
    with the fewest inliers. A weak pair beside strong ways around it is not among them.

    Args:
        verified: Pairs; of two with the same names the one with more inliers counts.
        count: At most so many.
    """
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while name in parents:
            above = parents[name]
            if above in parents:  # a shorter way for the next
                parents[name] = parents[above]
            name = above
        return name

    tree = []
    for pair in sorted(verified, key=lambda pair: (-pair[2], pair[0], pair[1])):
        first, second = root(pair[0]), root(pair[1])
        if first != second:
            parents[first] = second
            tree.append(pair)
    return tree[::-1][:count]


def shared_links(
    model: Model, pairs: Sequence[CountedPair], frames: Mapping[str, StoredFrame | None], most: int
) -> list[Link]:
    """For pairs of photos of a model, where both see its points: at most ``most`` matches of each.

    Args:
        model: The model.
        pairs: Pairs; those with a photo that is not in the model, or whose frame is unknown, are left out.
        frames: How each photo is turned, by name.
        most: At most so many matches of a pair.
    """
    images = {image.name: image for image in model.images}
    found: list[Link] = []
    for name0, name1, *_ in pairs:
        frame0, frame1 = frames.get(name0), frames.get(name1)
        if name0 not in images or name1 not in images or frame0 is None or frame1 is None:
            continue
        rows = [dict(zip(images[name].points.tolist(), range(10**9))) for name in (name0, name1)]  # noqa: B905
        common = sorted(rows[0].keys() & rows[1].keys())
        common = [common[i * len(common) // most] for i in range(most)] if len(common) > most else common
        index0, index1 = (torch.tensor([row[point] for point in common], dtype=torch.long) for row in rows)
        points0 = frame0.to_upright(images[name0].keypoints[index0]).float()
        points1 = frame1.to_upright(images[name1].keypoints[index1]).float()
        found.append((name0, name1, points0, points1))
    return found
