import numpy as np
import pytest
import torch
from doctor_cases import CAMERA, SIZE, made_case, seen

pytest.importorskip("poselib", exc_type=ImportError)


def test_good_pairs_have_nothing():
    from photoglue.doctor import geometry

    for about in ({}, {"cameras": (CAMERA, CAMERA)}, {"threshold_px": 0.9}):
        case = made_case(*seen(), **about)
        for symptom in (
            geometry.static_border,
            geometry.intrinsics,
            geometry.degenerate,
            geometry.look_alike,
            geometry.no_overlap,
        ):
            assert symptom(case) is None


def test_static_border():
    from photoglue.doctor.geometry import static_border

    points0, points1 = seen()
    border = np.random.default_rng(1).uniform([10, 440], [200, 470], (100, 2))
    case = made_case(np.concatenate([points0, border]), np.concatenate([points1, border + 0.2]))
    finding = static_border(case)
    assert finding.cause == "static border"
    left, top, right, bottom = finding.evidence["box"]
    assert (left >= 10, top >= 440, right <= 200, bottom <= 470) == (True, True, True, True)
    photo = torch.rand(3, SIZE[1], SIZE[0])
    assert static_border(made_case(points0, points0, images=(photo, photo))) is None  # the same photo twice


def test_wrong_intrinsics():
    from dataclasses import replace

    from photoglue.doctor.geometry import intrinsics

    wrong = replace(CAMERA, fx=200.0, fy=200.0)
    finding = intrinsics(made_case(*seen(turn_deg=25.0, move=(1.5, 0.3, 0.5)), cameras=(wrong, wrong)))
    assert finding.cause == "intrinsics"
    assert finding.evidence["fundamental"] > 1.5 * finding.evidence["essential"]
    assert finding.command.endswith("--verify fundamental")


@pytest.mark.slow
def test_too_strict_a_threshold():
    from photoglue.doctor.geometry import intrinsics

    points0, points1 = seen()
    noisy = points1 + np.random.default_rng(2).normal(0, 0.3, points1.shape)
    finding = intrinsics(made_case(points0, noisy, threshold_px=0.05))
    assert finding.cause == "intrinsics"
    assert "The threshold is too strict" in finding.advice


@pytest.mark.parametrize("scene", [{"flat": True}, {"move": (0.0, 0.0, 0.0)}])
def test_pose_that_is_not_defined(scene):
    from photoglue.doctor.geometry import degenerate, flatness

    points = seen(**scene)
    case = made_case(*points, cameras=(CAMERA, CAMERA))
    assert flatness(case) > 0.95
    assert degenerate(case).cause == "degenerate"
    assert degenerate(made_case(*points)) is None  # nobody asked for a pose


def test_look_alike():
    """Consistent matches of low score between which most good points are alone, and alike to others of their photo."""
    from photoglue.doctor.geometry import look_alike

    points0, points1 = seen(count=400)
    rows = torch.nn.functional.normalize(torch.randn(8, 16), dim=1)[torch.arange(400) % 8]
    other = torch.nn.functional.normalize(rows + 0.1 * torch.randn(400, 16), dim=1)
    order = np.r_[0:400:5, [i for i in range(400) if i % 5]]  # the matched ones, of all qualities, come first
    case = made_case(points0[order], points1[order], 80, score=0.4, descriptors=(rows, other))
    finding = look_alike(case)
    assert finding.cause == "look-alike"
    assert finding.evidence["covered"] < 0.5
    assert look_alike(made_case(points0, points1, 80, score=0.9, descriptors=(rows, other))) is None
    own = torch.nn.functional.normalize(torch.randn(400, 16), dim=1)
    assert look_alike(made_case(points0[order], points1[order], 80, score=0.4, descriptors=(own, own))) is None


def test_no_overlap():
    from photoglue.doctor.geometry import no_overlap

    random = np.random.default_rng(3).uniform(0, 480, (2, 20, 2))
    finding = no_overlap(made_case(*random, score=0.2, probability=0.16))
    assert finding.cause == "no overlap"
    assert "that they overlap is 16% likely" in finding.seen
    assert no_overlap(made_case(*random, score=0.2, probability=None)).cause == "no overlap"


def test_hull():
    from photoglue.doctor.geometry import in_hull

    corners = torch.tensor([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0], [2.0, 2.0]])
    points = torch.tensor([[1.0, 3.0], [5.0, 1.0], [4.0, 4.0], [-0.1, 2.0]])
    assert in_hull(points, corners).tolist() == [True, False, True, False]
    assert not in_hull(points, torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])).any()
