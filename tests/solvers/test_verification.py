"""What all robust estimators share: their guards, and how they scale what they found."""

import math

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError, ShapeError
from photoglue.geometry.camera import PinholeCamera
from photoglue.solvers.verification import (
    SAMPLE_SIZE,
    checked_cameras,
    checked_points,
    checked_threshold,
    no_model,
    verified,
)

CAMERA = PinholeCamera(fx=500.0, fy=500.0, cx=320.0, cy=240.0, image_size=(640, 480))
POINTS = torch.rand(10, 2)
ALL = np.ones(10, dtype=bool)


def _verified(model, found, inliers=ALL, threshold_px=1.0):
    return verified(model, (POINTS, POINTS), (CAMERA, CAMERA), threshold_px, lambda *_: (found, inliers))


def _only(count):
    return np.arange(10) < count


def test_a_homography_ends_in_1_and_a_fundamental_matrix_has_norm_1():
    matrix = np.diag([2.0, 4.0, -2.0])
    assert torch.equal(
        _verified("homography", matrix).matrix,
        torch.diag(torch.tensor([-1.0, -2, 1], dtype=torch.float64)),
    )
    found = _verified("fundamental", matrix).matrix
    torch.testing.assert_close(found, torch.from_numpy(matrix) / math.sqrt(24))


def test_an_essential_matrix_is_the_translation_crossed_with_the_rotation():
    quarter_turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    found = _verified("essential", (quarter_turn, np.array([[0.0], [0], [5]])))
    assert found.translation.tolist() == [0, 0, 1]
    assert found.rotation.tolist() == quarter_turn.tolist()
    # [z]× R by hand: z × (x, y, z) = (-y, x, 0), of the rows of R.
    assert found.matrix.tolist() == [[-1, 0, 0], [0, -1, 0], [0, 0, 0]]


@pytest.mark.parametrize("model", ["homography", "fundamental"])
def test_a_matrix_that_only_its_sample_agrees_with_is_none(model):
    matrix = np.eye(3)
    assert _verified(model, matrix, _only(SAMPLE_SIZE[model])).matrix is None
    found = _verified(model, matrix, _only(SAMPLE_SIZE[model] + 1))
    assert found.matrix is not None
    assert len(found) == SAMPLE_SIZE[model] + 1


def test_a_pose_that_only_its_sample_agrees_with_is_none():
    assert _verified("essential", (np.eye(3), np.ones(3)), _only(5)).rotation is None
    assert len(_verified("essential", (np.eye(3), np.ones(3)), _only(6))) == 6


def test_what_is_not_finite_is_no_model():
    for found in (
        _verified("homography", np.diag([1.0, 1, 0])),  # 1 / 0
        _verified("fundamental", np.zeros((3, 3))),
        _verified("essential", (np.eye(3), np.zeros(3))),
        _verified("essential", (np.full((3, 3), np.nan), np.ones(3))),
        _verified("essential", None, None),
        no_model("essential", POINTS, 1.0),
    ):
        assert (found.matrix, found.rotation, found.translation) == (None, None, None)
        assert found.inliers.tolist() == [False] * 10


def test_thresholds():
    defaults = {"homography": 3.0, "essential": 0.5}
    assert checked_threshold("essential", None, defaults) == 0.5
    assert checked_threshold("essential", 2.0, defaults) == 2.0
    with pytest.raises(ConfigError, match="no model 'affine'; choose one of homography, essential"):
        checked_threshold("affine", None, defaults)
    with pytest.raises(ConfigError, match=r"threshold_px is -1\.0; it must be a positive number of pixels"):
        checked_threshold("essential", -1.0, defaults)


def test_points(as_a_user):
    with pytest.raises(ShapeError, match=r"\(10, 2\) and \(9, 2\); both must be k × 2"):
        checked_points(POINTS, POINTS[:9])
    with pytest.raises(ShapeError, match=r"\(10, 3\) and \(10, 3\); both must be k × 2"):
        checked_points(torch.rand(10, 3), torch.rand(10, 3))
    with pytest.raises(ShapeError, match="not finite"):
        checked_points(POINTS, torch.full((10, 2), math.inf))
    arrays = checked_points(POINTS.requires_grad_(), POINTS)
    assert {array.dtype for array in arrays} == {np.dtype(np.float64)}


def test_cameras():
    assert checked_cameras(CAMERA, CAMERA) == (CAMERA, CAMERA)
    with pytest.raises(ConfigError, match=r"no camera0 and camera1\. Pass camera0=PinholeCamera"):
        checked_cameras(None, None)
    with pytest.raises(ConfigError, match=r"no camera1\."):
        checked_cameras(CAMERA, None)
