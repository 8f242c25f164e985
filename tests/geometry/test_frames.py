"""Stored and upright pixels: as Pillow turns photos, with an exact way back, for all eight EXIF orientations."""

import math

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame, camera_of_colmap_pinhole, colmap_pinhole, from_colmap, to_colmap

ORIENTATIONS = range(1, 9)
ROTATIONS = (1, 3, 6, 8)


def turned_by_pillow(array, orientation):
    """Through a file, as a photo from a phone comes."""
    picture = PIL.Image.fromarray(array)
    picture.getexif()[0x0112] = orientation
    return np.asarray(PIL.ImageOps.exif_transpose(picture))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_points_and_pixels_go_where_pillow_puts_them(orientation):
    stored = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)
    upright = turned_by_pillow(stored, orientation)
    frame = StoredFrame(orientation=orientation, upright_size=(upright.shape[1], upright.shape[0]))
    assert frame.size == (7, 5)
    y, x = np.mgrid[:5, :7]
    points = torch.tensor(np.stack([x.ravel(), y.ravel()], axis=1), dtype=torch.float32)
    there = frame.to_upright(points)
    columns, rows = there.long().unbind(dim=1)
    np.testing.assert_array_equal(upright[rows, columns], stored.ravel())
    assert torch.equal(frame.from_upright(there), points)
    np.testing.assert_array_equal(frame.image_to_upright(torch.from_numpy(stored)).numpy(), upright)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_directions_are_those_of_neighbouring_points(orientation):
    frame = StoredFrame(orientation=orientation, upright_size=(640, 480))
    angles = torch.linspace(-3.1, 3.1, 13)
    base = torch.tensor([[100.0, 200.0]])
    tips = base + 10 * torch.stack([angles.cos(), angles.sin()], dim=1)
    difference = frame.from_upright(tips) - frame.from_upright(base)
    expected = torch.atan2(difference[:, 1], difference[:, 0])
    found = frame.angles_from_upright(angles)
    assert ((found - expected + math.pi) % (2 * math.pi) - math.pi).abs().max() < 1e-5
    assert ((frame.angles_to_upright(found) - angles + math.pi) % (2 * math.pi) - math.pi).abs().max() < 1e-6


@pytest.mark.slow
@given(
    st.sampled_from(ORIENTATIONS),
    st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    st.lists(st.tuples(*[st.floats(-1, 20_001, width=32)] * 2), max_size=5),
)
def test_there_and_back_is_where_it_was(orientation, size, rows):
    frame = StoredFrame(orientation=orientation, upright_size=size)
    points = torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)
    back = frame.to_upright(frame.from_upright(points))
    assert torch.allclose(back, points, rtol=0, atol=1e-11)
    single = frame.to_upright(frame.from_upright(points.float()))
    assert torch.allclose(single, points.float(), rtol=0, atol=2e-3)  # the spacing of float32 at 20,000


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_camera_sees_points_where_the_photo_has_them(orientation):
    frame = StoredFrame(orientation=orientation, upright_size=(640, 480))
    camera = PinholeCamera(fx=500.0, fy=510.0, cx=300.0, cy=250.0, image_size=(640, 480))
    stored = frame.camera_from_upright(camera)
    assert stored.image_size == frame.size
    assert frame.camera_to_upright(stored) == camera
    if orientation not in ROTATIONS:
        with pytest.raises(ConfigError, match="mirrors the photo"):
            frame.upright_cam_from_stored_cam()
        return
    rotation = frame.upright_cam_from_stored_cam()
    assert torch.linalg.det(rotation) == pytest.approx(1)
    points = torch.tensor([[0.1, -0.2, 2.0], [1.0, 0.5, 3.0]], dtype=torch.float64)  # in the stored camera's frame
    seen = points @ stored.matrix.T
    seen_upright = points @ rotation.T @ camera.matrix.T
    expected = frame.to_upright(seen[:, :2] / seen[:, 2:])
    assert torch.allclose(seen_upright[:, :2] / seen_upright[:, 2:], expected)


@pytest.mark.parametrize("orientation", [0, 9, None, "6"])
def test_what_is_no_orientation_is_refused(orientation, as_a_user):
    with pytest.raises(ConfigError, match="from 1 to 8"):
        StoredFrame(orientation=orientation, upright_size=(4, 3))


def test_no_points():
    frame = StoredFrame(orientation=6, upright_size=(4, 3))
    assert frame.from_upright(torch.zeros(0, 2)).shape == (0, 2)
    assert frame.angles_from_upright(torch.zeros(0)).shape == (0,)


def test_the_half_pixel_is_that_of_colmap():
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=640, height=480, params=[500.0, 320.0, 240.0])
    axis = np.asarray(camera.img_from_cam(np.array([[0.0, 0.0, 1.0]]))).ravel()
    ours = PinholeCamera.parse("500", (640, 480))  # its axis goes through the middle of the image
    np.testing.assert_allclose(to_colmap(np.array([ours.cx, ours.cy])), axis)
    assert colmap_pinhole(ours) == (500, 500, 320, 240)
    assert camera_of_colmap_pinhole(colmap_pinhole(ours), (640, 480)) == ours
    points = torch.rand(3, 2, dtype=torch.float64)
    assert torch.allclose(from_colmap(to_colmap(points)), points)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pycolmap_finds_points_where_the_store_has_them(orientation, tmp_path):
    """What pycolmap reads at a stored point is what the upright photo shows at ours, and the way back is exact."""
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    from photoglue.image import load_photo

    values = np.random.default_rng(0).integers(0, 256, (24, 36), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    picture = PIL.Image.fromarray(values)
    picture.getexif()[0x0112] = orientation
    picture.save(tmp_path / "photo.png", exif=picture.getexif())
    photo = load_photo(tmp_path / "photo.png")
    frame = StoredFrame(orientation=photo.orientation, upright_size=(photo.image.shape[2], photo.image.shape[1]))
    bitmap = pycolmap.Bitmap.read(str(tmp_path / "photo.png"), as_rgb=False)
    assert (bitmap.width, bitmap.height) == frame.size == (288, 192)
    pixels = np.asarray(bitmap.to_array()).reshape(192, 288)
    points = torch.rand(200, 2) * torch.tensor([float(side - 1) for side in frame.upright_size])
    stored = frame.from_upright(points)
    # COLMAP's pixel (i, j) covers [j, j + 1) × [i, i + 1); ours is centred on whole numbers.
    columns, rows = to_colmap(stored).floor().long().unbind(1)
    x, y = points.round().long().unbind(1)
    # Points on the border of a square round to either side, by the turn.
    inside = ((points + 0.5) % 8 - 4).abs().max(dim=1).values < 3.4
    shown = (photo.image[0, y, x] * 255).round().byte().numpy()
    np.testing.assert_array_equal(pixels[rows, columns][inside], shown[inside])
    assert inside.sum() > 100
    assert torch.allclose(frame.to_upright(from_colmap(to_colmap(stored))), points, atol=1e-4)


def test_the_frame_of_a_turned_photo():
    image = torch.arange(6).view(2, 3)
    for quarters in range(4):
        turned = torch.rot90(image, quarters)
        frame = StoredFrame.of_turned(quarters, (3, 2))
        assert frame.size == (turned.shape[1], turned.shape[0])
        assert torch.equal(frame.image_to_upright(turned), image)
