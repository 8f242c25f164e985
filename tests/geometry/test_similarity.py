"""The least-squares similarity is exact on exact points, and never a mirror."""

import pytest
import torch

from photoglue.errors import ShapeError
from photoglue.geometry.similarity import fit_similarity


def random_rotation():
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    return turn * torch.linalg.det(turn)


@pytest.mark.parametrize("count", [3, 4, 50])
def test_exact_points_give_the_truth(count):
    source, rotation = torch.randn(count, 3, dtype=torch.float64), random_rotation()
    translation = torch.tensor([1e3, -5.0, 2.0], dtype=torch.float64)
    found = fit_similarity(source, 2.5 * source @ rotation.T + translation)
    assert found.scale == pytest.approx(2.5)
    torch.testing.assert_close(found.rotation, rotation)
    torch.testing.assert_close(found.translation, translation)
    torch.testing.assert_close(found.apply(source), 2.5 * source @ rotation.T + translation)


def test_a_mirrored_set_is_turned_not_mirrored():
    source = torch.randn(20, 3, dtype=torch.float64)
    found = fit_similarity(source, source * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    assert float(torch.linalg.det(found.rotation)) == pytest.approx(1)


def test_no_other_similarity_is_better():
    source, target = torch.randn(2, 9, 3, dtype=torch.float64)
    found = fit_similarity(source, target)
    best = (found.apply(source) - target).square().sum()
    for _ in range(20):
        moved = found.apply(source + 0.01 * torch.randn(3, dtype=torch.float64)) * (1 + 0.01 * float(torch.randn(())))
        assert (moved - target).square().sum() >= best


def test_too_few_points():
    for points in (torch.zeros(2, 3, dtype=torch.float64), torch.ones(5, 3, dtype=torch.float64)):
        with pytest.raises(ShapeError, match="three points that are not all one"):
            fit_similarity(points, points)
