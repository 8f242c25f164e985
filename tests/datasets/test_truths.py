import numpy as np
import pytest
import torch

from photoglue.datasets.truths import (
    Apart,
    Marked,
    Planar,
    Posed,
    match_errors,
    resized_truth,
    turned_camera,
    turned_pose,
)
from photoglue.geometry.camera import PinholeCamera
from photoglue.image import Resize

RESIZE0 = Resize(original_size=(40, 30), resized_size=(80, 45))
RESIZE1 = Resize(original_size=(50, 20), resized_size=(25, 10))


def redone(points, resize):
    """Pixel centres are whole numbers: (x + 0.5) · scale - 0.5."""
    return (points + 0.5) * np.array(resize.resized_size) / np.array(resize.original_size) - 0.5


def projected(camera, points):
    pixels = points @ camera.matrix.numpy().T
    return pixels[:, :2] / pixels[:, 2:]


def test_resized_cameras_see_points_where_the_resized_image_has_them(make):
    camera = PinholeCamera(fx=50.0, fy=52.0, cx=18.0, cy=15.5, image_size=(40, 30))
    truth = resized_truth(Posed(camera0=camera, camera1=camera, cam1_from_cam0=make.pose()), RESIZE0, RESIZE0)
    points = np.array([[0.1, 0.2, 2.0], [-0.3, 0.1, 3.0]])
    np.testing.assert_allclose(projected(truth.camera0, points), redone(projected(camera, points), RESIZE0))
    assert truth.camera0.image_size == (80, 45)
    np.testing.assert_array_equal(truth.cam1_from_cam0, make.pose())


def test_resized_homography_takes_resized_points():
    matrix = np.array([[1.1, 0.1, 3], [-0.05, 0.9, 2], [1e-3, -2e-3, 1]])
    truth = resized_truth(Planar(image1_from_image0=matrix), RESIZE0, RESIZE1)
    point = np.array([[7.0, 11.0]])
    there = np.append(point, 1) @ matrix.T
    resized = np.append(redone(point, RESIZE0), 1) @ truth.image1_from_image0.T
    np.testing.assert_allclose(resized[:2] / resized[2], redone(there[None, :2] / there[2], RESIZE1)[0])


def test_resized_marks():
    points = np.array([[3.0, 4.0]])
    truth = resized_truth(Marked(points0=points, points1=points), RESIZE0, RESIZE1)
    np.testing.assert_allclose(truth.points0, redone(points, RESIZE0))
    np.testing.assert_allclose(truth.points1, redone(points, RESIZE1))
    assert resized_truth(Apart(), RESIZE0, RESIZE1) == Apart()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, -1])
def test_turned_camera_and_pose_see_the_turned_image(make, turns):
    """A pixel lit by a point in space, and the whole image turned by numpy."""
    camera = PinholeCamera(fx=20.0, fy=20.0, cx=8.0, cy=4.0, image_size=(20, 10))
    points = np.array([[0.3, 0.15, 1.0], [-0.2, 0.1, 1.0]])
    turned = turned_camera(camera, turns)
    camera_turned_from_camera = turned_pose(np.eye(4), 0, turns)
    seen = projected(turned, points @ camera_turned_from_camera[:3, :3].T)
    for pixel, expected in zip(projected(camera, points), seen, strict=True):
        image = np.zeros((10, 20))
        image[round(pixel[1]), round(pixel[0])] = 1
        rows, columns = np.nonzero(np.rot90(image, turns))
        np.testing.assert_allclose(expected, [columns[0], rows[0]], atol=1e-9)
    assert turned.image_size == np.rot90(np.zeros((10, 20)), turns).shape[::-1]


def test_turned_pose_is_the_same_motion(make):
    """Turn both: X1' = turn1 · (R · X0 + t) for X0' = turn0 · X0."""
    motion = make.pose((1, 2, 0), 30, (1, 2, 3))
    turn0, turn1 = turned_pose(np.eye(4), 0, 1), turned_pose(np.eye(4), 0, 3)
    point = np.array([0.3, -0.4, 2.0, 1.0])
    np.testing.assert_allclose(turned_pose(motion, 1, 3) @ (turn0 @ point), turn1 @ (motion @ point))


def test_errors_of_single_matches():
    """Homography: mean of both images, infinite behind the camera. Poses: distance to the line. Else unknown."""
    matrix = np.array([[2.0, 0, 0], [0, 2, 0], [0, 0, 1]])
    points0 = torch.tensor([[10.0, 10.0], [20.0, 30.0]])
    points1 = 2 * points0 + torch.tensor([[4.0, 0.0], [0.0, 0.0]])
    assert match_errors(points0, points1, Planar(image1_from_image0=matrix)).tolist() == [(4 + 2) / 2, 0]
    horizon = Planar(image1_from_image0=np.array([[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]]))  # at x = 100
    assert match_errors(torch.tensor([[150.0, 50.0]]), torch.tensor([[-300.0, -100.0]]), horizon).tolist() == [np.inf]
    camera = PinholeCamera(fx=50.0, fy=50.0, cx=20.0, cy=15.0, image_size=(40, 30))
    sideways = np.eye(4)
    sideways[0, 3] = -1
    posed = Posed(camera0=camera, camera1=camera, cam1_from_cam0=sideways)
    moved = torch.tensor([[3.0, 10.0], [20.0, 34.0]])  # along its row, and 4 rows away from it
    assert match_errors(points0, moved, posed).tolist() == pytest.approx([0, 4])
    assert match_errors(points0, points1, Apart()) is None
