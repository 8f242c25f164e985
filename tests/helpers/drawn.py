"""Strategies of hypothesis: features and matches of any size, images of any shape, cameras and poses.

Numbers of points and what is there or not are drawn; the many floats that nothing depends on come from a drawn seed.
"""

import torch
from hypothesis import strategies as st

from photoglue.geometry.camera import PinholeCamera
from photoglue.image import Resize
from photoglue.structs import Features, Matches

counts = st.integers(0, 12)
seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 9000), st.integers(1, 9000))
"""(width, height) of images, pixels."""


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def points(draw, count, limit=4000.0):
    """So many points, (x, y) in float32, in a square around the image's corner."""
    floats = st.floats(-limit, limit, width=32)
    return torch.tensor(draw(st.lists(st.tuples(floats, floats), min_size=count, max_size=count))).reshape(count, 2)


@st.composite
def features(draw, number=counts):
    """With all combinations of the fields that may be left out."""
    n, width, chance = draw(number), draw(st.integers(1, 8)), generator(draw(seeds))
    more = {
        name: torch.rand(n, generator=chance) for name in ("scales", "orientations") if draw(st.booleans(), label=name)
    }
    return Features(
        keypoints=draw(points(n)),
        descriptors=torch.randn(n, width, generator=chance),
        scores=torch.rand(n, generator=chance),
        image_size=draw(sizes),
        kind=draw(st.none() | st.sampled_from(["aliked-n16", "sift-opencv", "ours ×2"])),
        **more,
    )


@st.composite
def matches(draw):
    """One-to-one, of any points of either image."""
    m, n, chance = draw(counts), draw(counts), generator(draw(seeds))
    k = draw(st.integers(0, min(m, n)), label="matches")
    rows, columns = torch.randperm(m, generator=chance)[:k], torch.randperm(n, generator=chance)[:k]
    matches0, matches1 = torch.full((m,), -1), torch.full((n,), -1)
    matches0[rows], matches1[columns] = columns, rows
    scores0, scores1 = torch.zeros(m), torch.zeros(n)
    scores0[rows] = scores1[columns] = torch.rand(k, generator=chance)
    more = {}
    if draw(st.booleans(), label="layers"):
        more = {"stop": draw(st.integers(1, 9)), "n_layers": 9, "precision": draw(st.sampled_from(["float32", None]))}
    if draw(st.booleans(), label="pruning"):
        more["prune0"] = torch.randint(1, 10, (m,), generator=chance)
        more["prune1"] = torch.randint(1, 10, (n,), generator=chance)
    return Matches(
        matches0=matches0,
        matches1=matches1,
        matching_scores0=scores0,
        matching_scores1=scores1,
        keypoints0=draw(points(m)),
        keypoints1=draw(points(n)),
        **more,
    )


@st.composite
def resizes(draw):
    """Those that ``Resize.long_side`` makes, none included; of images whose sides differ by at most a factor of 50."""
    size = draw(sizes.filter(lambda size: max(size) <= 50 * min(size)))
    return Resize.long_side(size, draw(st.none() | st.integers(50, 4000)))


@st.composite
def cameras(draw, size=None):
    """Cameras of an image with plausible fields of view."""
    width, height = size or draw(sizes)
    focal = st.floats(0.3, 3.0)
    shift = st.floats(-0.2, 1.2)
    return PinholeCamera(
        fx=draw(focal) * max(width, height),
        fy=draw(focal) * max(width, height),
        cx=draw(shift) * width,
        cy=draw(shift) * height,
        image_size=(width, height),
    )


@st.composite
def poses(draw, nearest=0.05):
    """``cam1_from_cam0`` with any rotation and a translation of at least that length, float64."""
    chance = generator(draw(seeds))
    pose = torch.eye(4, dtype=torch.float64)
    matrix, upper = torch.linalg.qr(torch.randn(3, 3, generator=chance, dtype=torch.float64))
    rotation = matrix * upper.diagonal().sign()
    pose[:3, :3] = rotation * torch.linalg.det(rotation).sign()
    direction = torch.randn(3, generator=chance, dtype=torch.float64)
    pose[:3, 3] = direction / direction.norm() * draw(st.floats(nearest, 3.0))
    return pose
