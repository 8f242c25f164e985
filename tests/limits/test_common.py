"""The part that two photos share: found among wrong matches, the same each time, with the scale and the turn."""

import cmath
import math

import pytest
import torch

from photoglue.limits.common import common_part
from photoglue.structs import Matches

SIZES = (400, 300), (300, 200)


def matches_of(points0, points1):
    rows = torch.arange(len(points0))
    scores = torch.linspace(0.9, 0.5, len(points0))
    return Matches(
        matches0=rows,
        matches1=rows,
        matching_scores0=scores,
        matching_scores1=scores,
        keypoints0=points0,
        keypoints1=points1,
    )


@pytest.fixture
def matches():
    """60 true matches, of a part of image 0 that is half as large in image 1 and turned by 30°; and 30 wrong ones."""
    source = torch.Generator().manual_seed(1)
    points0 = torch.rand(90, 2, generator=source) * torch.tensor([200.0, 100.0]) + torch.tensor([150.0, 150.0])
    angle = math.radians(30)
    turn = 0.5 * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points1 = points0 @ turn.T + torch.tensor([130.0, -80.0])
    points1[60:] = torch.rand(30, 2, generator=source) * torch.tensor([300.0, 200.0])
    return matches_of(points0, points1)


def test_scale_turn_and_boxes(matches):
    common = common_part(matches, SIZES)
    assert common.scale == pytest.approx(0.5, rel=0.05)
    assert common.angle_deg == pytest.approx(30, abs=3)
    assert 58 <= common.agreeing <= 70
    left, top, right, bottom = common.box0
    assert 100 <= left < 155
    assert 120 <= top < 155
    assert 345 < right <= 400
    assert 245 < bottom <= 300
    assert common_part(matches, SIZES) == common


def test_boxes_lie_in_the_images(matches):
    common = common_part(matches, SIZES)
    for box, (width, height) in zip((common.box0, common.box1), SIZES, strict=True):
        assert 0 <= box[0] < box[2] <= width
        assert 0 <= box[1] < box[3] <= height


def test_where_a_box_of_image_0_is(matches):
    common = common_part(matches, SIZES)
    left, top, right, bottom = common.box_in_1((200, 200, 240, 220))
    wide, high = 20 * math.cos(math.pi / 6) + 10 * 0.5, 20 * 0.5 + 10 * math.cos(math.pi / 6)
    assert (right - left, bottom - top) == (pytest.approx(wide, rel=0.1), pytest.approx(high, rel=0.1))
    middle = common.turn * complex(220, 210) + common.shift
    assert cmath.isclose(middle, complex((left + right) / 2, (top + bottom) / 2), abs_tol=1e-6)


def test_too_few_matches_tell_nothing(matches):
    assert common_part(matches.select(torch.arange(90) < 2), SIZES) is None
    assert common_part(matches.select(torch.arange(90) < 0), SIZES) is None
    one = torch.ones(5, 2)
    assert common_part(matches_of(one, one), SIZES) is None  # all in one place
