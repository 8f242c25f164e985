"""Epipolar geometry against scenes that are known, hand-made values, kornia and OpenCV."""

import json
import math

import numpy as np
import pytest
import torch

from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.epipolar import (
    all_line_distances,
    essential_matrix,
    fundamental_matrix,
    line_distances,
    normalized_points,
    sampson_distance,
    squared_epipolar_distance,
    symmetric_epipolar_distance,
)
from photoglue.geometry.pose import relative_pose

CAMERA0 = PinholeCamera(fx=800.0, fy=810.0, cx=401.0, cy=297.0, image_size=(800, 600))
CAMERA1 = PinholeCamera(fx=640.0, fy=630.0, cx=330.0, cy=235.0, image_size=(640, 480))
# A rectified pair: x1ᵀ F x0 = y0 - y1 (by the rows of a camera that moves along x).
SIDEWAYS = torch.tensor([[0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
DISTANCES = (
    line_distances,
    symmetric_epipolar_distance,
    squared_epipolar_distance,
    sampson_distance,
    all_line_distances,
)


def _pose():
    pose = torch.eye(4, dtype=torch.float64)
    skew = torch.tensor([[0, -0.1, 0.2], [0.1, 0, -0.05], [-0.2, 0.05, 0]], dtype=torch.float64)
    pose[:3, :3] = torch.linalg.matrix_exp(skew)
    pose[:3, 3] = torch.tensor([1.0, 0.1, 0.2])
    return pose


POSE = _pose()


def _image(camera, points):
    pixels = points @ camera.matrix.T
    return pixels[:, :2] / pixels[:, 2:]


def _scene(count=50, noise_px=0.0):
    world = torch.rand(count, 3, dtype=torch.float64) * torch.tensor([4.0, 3, 5]) + torch.tensor([-2.0, -1.5, 4])
    points0, points1 = _image(CAMERA0, world), _image(CAMERA1, world @ POSE[:3, :3].T + POSE[:3, 3])
    return points0, points1 + noise_px * torch.randn(count, 2)


def _homogeneous(points):
    return torch.cat([points.double(), torch.ones(len(points), 1)], dim=1)


def test_matrices_relate_what_two_cameras_see():
    points0, points1 = _scene()
    fundamental = fundamental_matrix(POSE, CAMERA0, CAMERA1)
    residual = (_homogeneous(points1) @ fundamental * _homogeneous(points0)).sum(1)
    assert residual.abs().max() < 1e-13
    assert float(fundamental.norm()) == pytest.approx(1)
    assert line_distances(points0, points1, fundamental).max() < 1e-9
    directions = normalized_points(points0, CAMERA0), normalized_points(points1, CAMERA1)
    assert line_distances(*directions, essential_matrix(POSE)).max() < 1e-13
    swapped = fundamental_matrix(torch.linalg.inv(POSE), CAMERA1, CAMERA0)
    torch.testing.assert_close(swapped, fundamental.T)


def test_matrices_are_kornias():
    epipolar = pytest.importorskip("kornia.geometry.epipolar", exc_type=ImportError)
    eye, zero = torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, 3, 1, dtype=torch.float64)
    essential = epipolar.essential_from_Rt(eye, zero, POSE[None, :3, :3], POSE[None, :3, 3:])[0]
    torch.testing.assert_close(essential_matrix(POSE), essential)
    fundamental = epipolar.fundamental_from_essential(essential[None], CAMERA0.matrix[None], CAMERA1.matrix[None])[0]
    torch.testing.assert_close(fundamental_matrix(POSE, CAMERA0, CAMERA1), fundamental / fundamental.norm())


def test_distances_by_hand():
    """On a rectified pair they are differences of y."""
    points0 = torch.tensor([[10.0, 20], [300, 50], [5, 5]])
    points1 = torch.tensor([[70.0, 23], [100, 46], [9, 5]])
    assert line_distances(points0, points1, SIDEWAYS).tolist() == [[3, 3], [4, 4], [0, 0]]
    assert symmetric_epipolar_distance(points0, points1, SIDEWAYS).tolist() == [3, 4, 0]
    assert squared_epipolar_distance(points0, points1, SIDEWAYS).tolist() == [18, 32, 0]
    # Each point moves half the way: √(1.5² + 1.5²).
    torch.testing.assert_close(
        sampson_distance(points0, points1, SIDEWAYS), torch.tensor([3, 4, 0], dtype=torch.float64) / 2**0.5
    )
    assert all_line_distances(points0, points1, SIDEWAYS).tolist() == [[3, 26, 15], [27, 4, 45], [18, 41, 0]]


def test_the_two_images_are_told_apart():
    """Zoomed: image 1 shows everything three times as large, so that its distances are, too."""
    zoom = torch.diag(torch.tensor([3.0, 3, 1], dtype=torch.float64))
    fundamental = torch.linalg.inv(zoom).T @ SIDEWAYS
    points0, points1 = torch.tensor([[10.0, 20]]), torch.tensor([[210.0, 69]])  # as of y = 23
    torch.testing.assert_close(
        line_distances(points0, points1, fundamental), torch.tensor([[3.0, 9]], dtype=torch.float64)
    )
    torch.testing.assert_close(
        line_distances(points1, points0, fundamental.T), torch.tensor([[9.0, 3]], dtype=torch.float64)
    )
    assert symmetric_epipolar_distance(points0, points1, fundamental).item() == pytest.approx(6)
    assert squared_epipolar_distance(points0, points1, fundamental).item() == pytest.approx(90)
    assert all_line_distances(points0.double(), points1.double(), fundamental).item() == pytest.approx(6)


def test_distances_are_kornias_and_opencvs():
    epipolar = pytest.importorskip("kornia.geometry.epipolar", exc_type=ImportError)
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    points0, points1 = _scene(noise_px=5.0)
    fundamental = fundamental_matrix(POSE, CAMERA0, CAMERA1)
    batch = points0[None], points1[None], fundamental[None]
    torch.testing.assert_close(
        sampson_distance(points0, points1, fundamental), epipolar.sampson_epipolar_distance(*batch, squared=False)[0]
    )
    torch.testing.assert_close(
        squared_epipolar_distance(points0, points1, fundamental),
        epipolar.symmetrical_epipolar_distance(*batch, squared=True)[0],
    )
    in_image1 = epipolar.left_to_right_epipolar_distance(*batch)[0]
    in_image0 = epipolar.right_to_left_epipolar_distance(*batch)[0]
    torch.testing.assert_close(
        line_distances(points0, points1, fundamental), torch.stack([in_image0, in_image1], dim=1)
    )
    opencv = [cv2.sampsonDistance(a.numpy(), b.numpy(), fundamental.numpy()) for a, b in zip(
        _homogeneous(points0), _homogeneous(points1), strict=True
    )]  # fmt: skip
    np.testing.assert_allclose(sampson_distance(points0, points1, fundamental) ** 2, opencv, rtol=1e-9)


def test_the_sampson_distance_is_how_far_points_have_to_move():
    """To first order: move the points of a true match a little, and look for the nearest true match."""
    points0, points1 = _scene(count=1, noise_px=0.05)
    fundamental = fundamental_matrix(POSE, CAMERA0, CAMERA1)
    wanted = sampson_distance(points0, points1, fundamental).item()
    moved = torch.cat([points0, points1], dim=1)
    for _ in range(5):  # Newton's steps along the gradient of x1ᵀ F x0
        x0, x1 = _homogeneous(moved[:, :2]), _homogeneous(moved[:, 2:])
        gradient = torch.cat([(x1 @ fundamental)[:, :2], (x0 @ fundamental.T)[:, :2]], dim=1)
        moved = moved - (x1 @ fundamental * x0).sum() / gradient.square().sum() * gradient
    assert (moved - torch.cat([points0, points1], dim=1)).norm().item() == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("scale", [1e-12, -7.0, 1e12])
def test_the_scale_of_the_matrix_means_nothing(scale):
    points0, points1 = _scene(noise_px=5.0)
    fundamental = fundamental_matrix(POSE, CAMERA0, CAMERA1)
    for distance in DISTANCES:
        torch.testing.assert_close(
            distance(points0, points1, scale * fundamental), distance(points0, points1, fundamental)
        )


def test_all_pairs_at_once_are_the_pairs_one_by_one():
    points0, points1 = _scene(noise_px=5.0)
    points1 = points1[:31]
    fundamental = fundamental_matrix(POSE, CAMERA0, CAMERA1)
    together = all_line_distances(points0, points1, fundamental)
    assert together.shape == (50, 31)
    for i in (0, 17, 49):
        expected = symmetric_epipolar_distance(points0[i].expand(31, 2).contiguous(), points1, fundamental)
        torch.testing.assert_close(together[i], expected)
    torch.testing.assert_close(all_line_distances(points1, points0, fundamental.T.contiguous()), together.T)


def test_float32_pixels_of_large_photos_stay_exact():
    """Pixels up to 6000 and lines at any angle; under autocast too, as in training."""
    points0, points1 = torch.rand(300, 2) * 6000, torch.rand(200, 2) * 6000
    large = PinholeCamera(fx=5000.0, fy=5000.0, cx=3000.0, cy=3000.0, image_size=(6000, 6000))
    fundamental = fundamental_matrix(POSE, large, large)
    exact = all_line_distances(points0.double(), points1.double(), fundamental)
    with torch.autocast("cpu", torch.bfloat16):
        found = all_line_distances(points0, points1, fundamental)
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 3e-3
    near = exact < 20
    assert (found - exact)[near].abs().max() < 1.5e-3


def test_where_the_matrix_says_nothing_distances_are_0():
    points0, points1 = _scene(count=3)
    pure_rotation = POSE.clone()
    pure_rotation[:3, 3] = 0
    nothing = fundamental_matrix(pure_rotation, CAMERA0, CAMERA1)
    assert nothing.tolist() == [[0.0] * 3] * 3
    for distance in DISTANCES:
        assert not bool(distance(points0, points1, nothing).any())
    # Straight ahead: the epipole of both images is their centre, here the pixel (0, 0).
    ahead = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.float64)
    epipole, other = torch.zeros(1, 2), torch.tensor([[30.0, 40]])
    for distance in DISTANCES:
        assert not bool(distance(epipole, other, ahead).any())
        assert not bool(distance(other, epipole, ahead).any())


def test_no_points():
    none, some = torch.zeros(0, 2), torch.rand(4, 2)
    assert line_distances(none, none, SIDEWAYS).shape == (0, 2)
    for distance in (symmetric_epipolar_distance, squared_epipolar_distance, sampson_distance):
        assert distance(none, none, SIDEWAYS).shape == (0,)
    assert all_line_distances(none, some, SIDEWAYS).shape == (0, 4)
    assert all_line_distances(some, none, SIDEWAYS).shape == (4, 0)


@pytest.mark.data
def test_real_cameras_agree_with_real_matches(shared_data):
    """Strecha's fountain: SIFT matches lie on their epipolar lines, within a fraction of a pixel."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    folder = shared_data / "eval" / "strecha" / "fountain-P11"
    known = json.loads((folder / "cameras.json").read_text())
    names = sorted(known)[4:6]
    sift = cv2.SIFT_create(1000)
    (keypoints0, descriptors0), (keypoints1, descriptors1) = (
        sift.detectAndCompute(cv2.imread(str(folder / "images" / name), cv2.IMREAD_GRAYSCALE), None) for name in names
    )
    nearest = cv2.BFMatcher().knnMatch(descriptors0, descriptors1, k=2)
    good = [best for best, second in nearest if best.distance < 0.7 * second.distance]
    points0 = torch.tensor([keypoints0[match.queryIdx].pt for match in good])
    points1 = torch.tensor([keypoints1[match.trainIdx].pt for match in good])
    poses = [torch.tensor(known[name]["T_w2c"], dtype=torch.float64) for name in names]
    cameras = [
        PinholeCamera.parse(",".join(map(str, np.ravel(known[name]["K"]))), (1024, 683)) for name in names
    ]  # fmt: skip
    fundamental = fundamental_matrix(relative_pose(*poses), *cameras)
    assert sampson_distance(points0, points1, fundamental).median() < 0.15
    directions = [normalized_points(p, c) for p, c in zip((points0, points1), cameras, strict=True)]
    normalised = symmetric_epipolar_distance(*directions, essential_matrix(relative_pose(*poses)))
    pixels = symmetric_epipolar_distance(points0, points1, fundamental)
    torch.testing.assert_close(normalised * cameras[0].fx, pixels, rtol=0.02, atol=1e-6)
    assert math.isfinite(float(pixels.sum()))
