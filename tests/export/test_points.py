"""Choosing and sampling points; no ONNX here."""

import pytest
import torch

from photoglue.export.points import best_points, inside, maxima, sampled, shown
from photoglue.extractors.keypoints import iterated_maxima


def test_more_points_than_pixels():
    scores = torch.tensor([[[[0.1, 0.9, 0.3]]]])
    points, places, peaks = best_points(scores, scores > 0.2, 5, -1.0)
    assert points[:2].tolist() == [[1, 0], [2, 0]] and places.max() <= 2
    assert peaks.tolist() == pytest.approx([0.9, 0.3, -1, -1, -1])


@pytest.mark.parametrize("size", [(40, 31), (3, 2), (1, 1)])
def test_maxima_are_the_extractors(size):
    scores = torch.rand(1, 1, *size)
    scores[scores < 0.3] = 0
    assert (maxima(scores, 2, 2)[:, 0] == iterated_maxima(scores[:, 0], 2, 2)).all()


def test_inside_leaves_a_border():
    kept = inside(torch.zeros(1, 1, 6, 7), 2)
    assert kept.nonzero().tolist() == [[2, 2], [2, 3], [2, 4], [3, 2], [3, 3], [3, 4]]


def test_sampled_between_pixels_and_beyond():
    maps = torch.arange(6.0).reshape(1, 1, 2, 3)
    values = sampled(maps, torch.tensor([[0.5, 0.5], [2.0, 1.0], [9.0, 9.0]]))[:, 0]
    assert values.tolist() == [2.0, 5.0, 0.0]


def test_shown_is_false_for_one_colour():
    assert not shown(torch.full((1, 3, 4, 4), 0.4)) and shown(torch.rand(1, 3, 4, 4))
