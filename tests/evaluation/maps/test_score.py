"""Models that differ from the truth by a similarity are perfect, and errors are those that were put in."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_model import write_tiny_model

from photoglue.evaluation.maps.score import TruePhoto, score_map
from photoglue.geometry.frames import StoredFrame
from photoglue.solvers.colmap_model import read_model

NAMES = tuple(f"{i}.jpg" for i in range(8))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return read_model(write_tiny_model(tmp_path_factory.mktemp("model"), names=NAMES).model)


def truth_of(model, frame=None):
    frame = frame or StoredFrame(orientation=1, upright_size=(64, 48))
    return {image.name: TruePhoto(frame=frame, cam_from_world=image.upright(frame)) for image in model.images}


def moved(model):
    """The same in another world: three times as large, turned and shifted."""
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    turn, shift = turn * torch.linalg.det(turn), torch.tensor([1.0, 2.0, 30.0], dtype=torch.float64)
    images = []
    for image in model.images:
        pose = image.cam_from_world.clone()
        pose[:3, :3] = pose[:3, :3] @ turn.T
        pose[:3, 3] = 3 * pose[:3, 3] - pose[:3, :3] @ shift
        images.append(replace(image, cam_from_world=pose))
    return replace(model, images=tuple(images), points=3 * model.points @ turn.T + shift)


@pytest.mark.parametrize("orientation", [1, 6])
def test_another_world_is_as_good(model, orientation):
    frame = StoredFrame(orientation=orientation, upright_size=(64, 48) if orientation == 1 else (48, 64))
    score = score_map(moved(model), truth_of(model, frame))
    assert (score.photos, score.placed, score.placed_share, score.points, score.track) == (8, 8, 1.0, 12, 8.0)
    assert score.position < 1e-9 and score.position_worst < 1e-9 and score.rotation_deg < 1e-6
    assert score.error_px == pytest.approx(0.5)


def test_one_camera_elsewhere_is_the_worst(model):
    truth = truth_of(model)
    pose = truth["3.jpg"].cam_from_world.clone()
    pose[:3, 3] += 1
    score = score_map(model, truth | {"3.jpg": replace(truth["3.jpg"], cam_from_world=pose)})
    assert 1 < score.position_worst < math.sqrt(3)
    assert score.position < 0.5


def test_a_turn_of_all_cameras_is_an_angle(model):
    angle = math.radians(2)
    roll = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]], dtype=torch.float64
    )
    truth = {}
    for name, photo in truth_of(model).items():
        pose = photo.cam_from_world.clone()
        pose[:3] = roll @ pose[:3]
        truth[name] = replace(photo, cam_from_world=pose)
    score = score_map(model, truth)
    assert score.position < 1e-9
    assert score.rotation_deg == pytest.approx(2)


def test_no_model_and_too_small_ones(model):
    truth = truth_of(model)
    assert score_map(None, truth).position == math.inf
    small = replace(model, images=model.images[:2])
    score = score_map(small, truth)
    assert (score.placed, score.placed_share, score.position) == (2, 0.25, math.inf)


def test_photos_without_a_known_pose_count_as_placed(model):
    truth = truth_of(model)
    del truth["0.jpg"]
    score = score_map(model, truth, [*NAMES, "lost.jpg"])
    assert (score.photos, score.placed, score.compared) == (9, 8, 7) and score.position < 1e-9
    assert math.isnan(score_map(model, {}, NAMES).position)
