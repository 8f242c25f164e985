"""Points among the inliers: who has a partner, and who should have one."""

from dataclasses import replace

import pytest
import torch

from photoglue.limits.look_alikes import inside_hull, partnered_share
from photoglue.structs import Features, Matches, Remedies


def test_the_hull_of_a_square():
    corners = torch.tensor([[0.0, 0], [10, 0], [10, 10], [0, 10], [5, 5], [2, 7]])
    points = torch.tensor([[5.0, 1], [0, 10], [11, 5], [5, -1], [9.9, 9.9], [-0.5, 0]])
    assert inside_hull(points, corners).tolist() == [True, True, False, False, True, False]
    assert inside_hull(points, corners.flip(0)).tolist() == inside_hull(points, corners).tolist()


def test_hulls_of_a_line_and_of_one_point():
    assert inside_hull(torch.tensor([[1.0, 1], [3, 3]]), torch.tensor([[0.0, 0], [2, 2], [1, 1]])).tolist()[0]
    assert inside_hull(torch.tensor([[1.0, 1]]), torch.tensor([[1.0, 1]])).tolist() == [True]


def test_lonely_points_among_the_inliers_count():
    """Ten partners on the border of a square; in photo 0 ten lonely points inside of it and in photo 1 thirty."""
    ring = torch.tensor([[0.0, 0], [50, 0], [99, 0], [99, 50], [99, 99], [50, 99], [0, 99], [0, 50], [0, 25], [0, 75]])
    inside = torch.rand(30, 2, generator=torch.Generator().manual_seed(0)) * 90 + 5
    far = torch.full((7, 2), 300.0)
    sides = [torch.cat([ring, inside[:10], far]), torch.cat([ring, inside])]
    features = [Features.from_arrays(each, torch.zeros(len(each), 1), (400, 400)) for each in sides]
    partners = [torch.cat([torch.arange(10), torch.full((len(each) - 10,), -1)]) for each in sides]
    matches = Matches(
        matches0=partners[0],
        matches1=partners[1],
        matching_scores0=torch.ones(27),
        matching_scores1=torch.ones(40),
        keypoints0=sides[0],
        keypoints1=sides[1],
    )
    assert partnered_share(*features, matches, torch.ones(10, dtype=torch.bool)) == pytest.approx(0.5)
    assert partnered_share(*features, matches, torch.arange(10) < 7) is None
    tiled = replace(matches, remedies=Remedies(tried=("tiles",), tiles=3))
    assert partnered_share(*features, tiled, torch.ones(10, dtype=torch.bool)) is None
