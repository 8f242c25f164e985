import pytest
import torch
from torch.nn.functional import normalize

from photoglue.retrieval import mutual_neighbors


def test_counts_points_that_choose_each_other():
    points = normalize(torch.randn(20, 16), dim=1)
    assert mutual_neighbors(points, points.flip(0)) == 20
    assert mutual_neighbors(points, points[:7]) == 7
    assert mutual_neighbors(points, -points, 0.9) == 0
    # Both points of the first image want the one of the second, which wants one of them.
    assert mutual_neighbors(torch.tensor([[1.0, 0.0], [0.9, 0.1]]), torch.tensor([[1.0, 0.0]])) == 1


@pytest.mark.parametrize(("m", "n"), [(0, 3), (3, 0), (0, 0)])
def test_no_points(m, n):
    assert mutual_neighbors(torch.zeros(m, 4), torch.zeros(n, 4)) == 0
