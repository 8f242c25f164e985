"""Points, cameras and homographies of an image that is resized or turned stay those of the same scene."""

import math

import numpy as np
import pytest
import torch
from drawn import cameras, counts, generator, points, poses, resizes, seeds, sizes
from hypothesis import assume, given
from hypothesis import strategies as st

from photoglue.datasets.truths import Marked, Planar, Posed, resized_truth, turned_camera, turned_pose
from photoglue.errors import ConfigError
from photoglue.geometry import epipolar
from photoglue.geometry.homography import corner_error_px, estimate_homography_dlt, scaled_homography, warp_points
from photoglue.geometry.pose import pose_error_deg, relative_pose, rotation_error_deg
from photoglue.image import Resize


@given(resizes(), counts.flatmap(points))
def test_a_resize_is_undone(resize, where):
    """To a hundredth of a pixel of the larger of the two images: float32 has 7 digits."""
    torch.testing.assert_close(resize.undo(resize.redo(where)), where, rtol=1e-5, atol=1e-2)
    torch.testing.assert_close(resize.redo(resize.undo(where)), where, rtol=1e-5, atol=1e-2)


@given(resizes())
def test_the_borders_of_an_image_stay_its_borders(resize):
    """Half a pixel outside the centres of the first and the last pixel, in both."""
    (width, height), (new_width, new_height) = resize.original_size, resize.resized_size
    corners = torch.tensor([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    wanted = torch.tensor([[-0.5, -0.5], [new_width - 0.5, new_height - 0.5]])
    torch.testing.assert_close(resize.redo(corners), wanted, rtol=1e-6, atol=1e-3)
    torch.testing.assert_close(resize.undo(wanted), corners, rtol=1e-6, atol=1e-3)


@given(sizes, st.integers(1, 4000))
def test_the_long_side_gets_its_length_and_the_aspect_stays(size, length):
    resize = Resize.long_side(size, length)
    width, height = resize.resized_size
    assert max(width, height) == length
    assert min(width, height) >= 1
    # Rounded down as by the official code, whose quotient may be a hair below a whole number: 77 × 15 becomes 77 × 14.
    exact = min(size) * length / max(size)
    assert min(width, height) == max(1, math.floor(exact)) or exact - 1 <= min(width, height) < exact + 1e-6
    assert Resize.long_side(size, None).scale == (1, 1)


@given(sizes, st.integers(-5, 0))
def test_no_length_below_one(size, length):
    with pytest.raises(ConfigError, match="resize is"):
        Resize.long_side(size, length)


@given(st.data(), resizes(), seeds)
def test_a_resized_camera_sees_the_same_directions(data, resize, seed):
    camera = data.draw(cameras(resize.original_size))
    truth = Posed(camera0=camera, camera1=camera, cam1_from_cam0=np.eye(4))
    resized = resized_truth(truth, resize, Resize.long_side(camera.image_size, None))
    assert resized.camera0.image_size == resize.resized_size
    torch.testing.assert_close(resized.camera1.matrix, camera.matrix)
    pixels = torch.rand(5, 2, generator=generator(seed), dtype=torch.float64) * torch.tensor(camera.image_size)
    torch.testing.assert_close(
        epipolar.normalized_points(resize.redo(pixels), resized.camera0), epipolar.normalized_points(pixels, camera)
    )


@given(poses(), cameras(), cameras(), seeds)
def test_images_of_one_point_lie_on_each_other_s_epipolar_lines(pose, camera0, camera1, seed):
    """And all distances do not depend on which image comes first."""
    chance = generator(seed)
    scene = torch.randn(8, 3, generator=chance, dtype=torch.float64) + torch.tensor([0.0, 0, 4])
    there = scene @ pose[:3, :3].T + pose[:3, 3]
    assume(bool((scene[:, 2].abs() > 0.2).all()) and bool((there[:, 2].abs() > 0.2).all()))
    pixels0, pixels1 = ((x @ camera.matrix.T) for x, camera in ((scene, camera0), (there, camera1)))
    pixels0, pixels1 = (pixels[:, :2] / pixels[:, 2:] for pixels in (pixels0, pixels1))
    forward = epipolar.fundamental_matrix(pose, camera0, camera1)
    back = epipolar.fundamental_matrix(torch.linalg.inv(pose), camera1, camera0)
    torch.testing.assert_close(forward.norm(), forward.new_ones(()))
    size = max(*camera0.image_size, *camera1.image_size)
    tolerance = 1e-9 * max(size, float(pixels0.abs().max()), float(pixels1.abs().max()))
    assert epipolar.line_distances(pixels0, pixels1, forward).max() <= max(tolerance, 1e-9 * size)
    shifted = pixels1 + size * torch.randn(8, 2, generator=chance, dtype=torch.float64) / 10
    for distance in (
        epipolar.symmetric_epipolar_distance,
        epipolar.squared_epipolar_distance,
        epipolar.sampson_distance,
    ):
        torch.testing.assert_close(
            distance(pixels0, shifted, forward), distance(shifted, pixels0, back), rtol=1e-4, atol=1e-6
        )


@given(poses(), cameras(), cameras(), st.integers(-4, 7), st.integers(-4, 7))
def test_turned_images_have_the_same_epipolar_geometry(pose, camera0, camera1, quarters0, quarters1):
    """A pixel of either image turns with it, and stays as far from its partner's line."""
    pixels = [torch.tensor([[0.25, 0.5], [0.75, 0.125]], dtype=torch.float64) * torch.tensor(camera.image_size)
              for camera in (camera0, camera1)]  # fmt: skip
    turned = [turned_camera(camera0, quarters0), turned_camera(camera1, quarters1)]
    moved = [turned_pixels(*each) for each in zip(pixels, (camera0, camera1), (quarters0, quarters1), strict=True)]
    turned_by = torch.from_numpy(turned_pose(pose.numpy(), quarters0, quarters1))
    torch.testing.assert_close(
        epipolar.line_distances(*moved, epipolar.fundamental_matrix(turned_by, *turned)),
        epipolar.line_distances(*pixels, epipolar.fundamental_matrix(pose, camera0, camera1)),
        rtol=1e-6,
        atol=1e-6,
    )
    assert turned_camera(camera0, 4) == turned_camera(camera0, 0) == camera0


def turned_pixels(pixels, camera, quarters):
    """Where ``numpy.rot90`` puts pixels of an image: (x, y) goes to (y, width - 1 - x)."""
    size = camera.image_size
    for _ in range(quarters % 4):
        pixels = torch.stack([pixels[:, 1], size[0] - 1 - pixels[:, 0]], dim=1)
        size = size[::-1]
    return pixels


@given(poses(), poses())
def test_poses(first, second):
    """The pose between two cameras, taken the other way, is the inverse; an error is that of either order."""
    there, back = relative_pose(first, second), relative_pose(second, first)
    torch.testing.assert_close(there @ back, torch.eye(4, dtype=torch.float64))
    angle = rotation_error_deg(first[:3, :3], second[:3, :3])
    assert angle == pytest.approx(rotation_error_deg(second[:3, :3], first[:3, :3]), abs=1e-6)
    assert 0 <= angle <= 180
    assert pose_error_deg(first[:3, :3], -3 * first[:3, 3], first) == pytest.approx(0, abs=1e-4)
    assert pose_error_deg(second[:3, :3], second[:3, 3], first) >= angle - 1e-6


@st.composite
def homographies(draw):
    """Takes a square of 400 pixels to a quadrilateral near it, seen from the same side."""
    chance = generator(draw(seeds))
    corners = torch.tensor([[0.0, 0], [400, 0], [400, 400], [0, 400]], dtype=torch.float64)
    moved = corners + 120 * (torch.rand(4, 2, generator=chance, dtype=torch.float64) - 0.5)
    matrix = estimate_homography_dlt(corners, moved)
    assert matrix is not None
    return matrix


@given(homographies(), seeds)
def test_a_homography_and_its_inverse(homography, seed):
    where = torch.rand(9, 2, generator=generator(seed), dtype=torch.float64) * 400
    there = warp_points(where, homography)
    torch.testing.assert_close(warp_points(there, torch.linalg.inv(homography)), where, rtol=1e-9, atol=1e-7)
    torch.testing.assert_close(warp_points(where, -7 * homography), there)  # its scale means nothing, nor its sign
    again = estimate_homography_dlt(where, there)
    assert corner_error_px(again, homography, (400, 400)) < 1e-4
    back = estimate_homography_dlt(there, where)
    assert corner_error_px(back, torch.linalg.inv(homography), (400, 400)) < 1e-4


@given(homographies(), seeds, resizes(), resizes())
def test_resized_images_have_the_resized_homography(homography, seed, resize0, resize1):
    """To warp and then resize is to resize and then warp."""
    where = torch.rand(9, 2, generator=generator(seed), dtype=torch.float64) * 400
    resized = scaled_homography(homography, resize0.scale, resize1.scale)
    torch.testing.assert_close(
        warp_points(resize0.redo(where), resized), resize1.redo(warp_points(where, homography)), rtol=1e-8, atol=1e-6
    )
    same = Resize.long_side((400, 400), None).scale
    torch.testing.assert_close(scaled_homography(homography, same, same), homography)


@given(homographies(), seeds, resizes(), resizes())
def test_resized_truths_agree_with_each_other(homography, seed, resize0, resize1):
    """Points that a person marks on a plane stay where its homography puts them."""
    where = torch.rand(9, 2, generator=generator(seed), dtype=torch.float64) * 400
    planar = resized_truth(Planar(image1_from_image0=homography.numpy()), resize0, resize1)
    marked = Marked(points0=where.numpy(), points1=warp_points(where, homography).numpy())
    moved = resized_truth(marked, resize0, resize1)
    landed = warp_points(torch.from_numpy(moved.points0), torch.from_numpy(planar.image1_from_image0))
    torch.testing.assert_close(landed, torch.from_numpy(moved.points1), rtol=1e-8, atol=1e-6)
