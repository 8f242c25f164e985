"""The pinhole camera and the texts that describe one."""

import dataclasses

import pytest
import torch

from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera

SIZE = (640, 480)


def test_a_camera_is_frozen_and_its_matrix_projects():
    camera = PinholeCamera(fx=500.0, fy=400.0, cx=320.0, cy=200.0, image_size=SIZE)
    direction = torch.tensor([0.2, -0.1, 2.0], dtype=torch.float64)
    x, y, one = camera.matrix @ direction / 2
    assert (float(x), float(y), float(one)) == pytest.approx((500 * 0.1 + 320, 400 * -0.05 + 200, 1))
    assert camera.matrix.dtype == torch.float64
    with pytest.raises(dataclasses.FrozenInstanceError):
        camera.fx = 1.0


@pytest.mark.parametrize(
    "text",
    [
        "500,400,320,200",
        " 500.0, 400.0 320;200 ",
        "[[500, 0, 320], [0, 400, 200], [0, 0, 1]]",
        "500 0 320 0 400 200 0 0 1",
        "5e2,0,3.2e2,0,400,200,0,0,1.0",
    ],
)
def test_all_forms_give_the_same_camera(text):
    wanted = PinholeCamera(fx=500.0, fy=400.0, cx=320.0, cy=200.0, image_size=SIZE)
    assert PinholeCamera.parse(text, SIZE) == wanted


def test_one_number_puts_the_principal_point_in_the_middle():
    camera = PinholeCamera.parse("500", SIZE)
    assert (camera.fx, camera.fy) == (500, 500)
    # The image reaches from -0.5 to 639.5: its middle is 319.5.
    assert (camera.cx, camera.cy) == (319.5, 239.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 numbers; give 'f', 'fx,fy,cx,cy', or the nine numbers"),
        ("500,400", "has 2 numbers"),
        ("f=500", "'f=500' is not a list of numbers"),
        ("-500", "fx is -500; a focal length is positive"),
        ("500,0,320,200", "fy is 0; a focal length is positive"),
        ("nan,400,320,200", "fx is nan; a camera has finite numbers"),
        ("500,400,inf,200", "cx is inf; a camera has finite numbers"),
        ("500 1 320 0 400 200 0 0 1", "1 and 0 beside its focal lengths; they must be 0"),
        ("500 0 320 0 400 200 0 0 2", r"last row \[0.0, 0.0, 2.0\]; it must be \[0, 0, 1\]\.$"),
        ("500 0 0 0 400 0 320 200 1", "Is it transposed"),
    ],
)
def test_a_text_that_is_no_camera_says_why(text, message):
    with pytest.raises(ConfigError, match=message):
        PinholeCamera.parse(text, SIZE)


def test_an_image_without_pixels_is_refused():
    with pytest.raises(ConfigError, match=r"image_size is \(0, 480\)"):
        PinholeCamera.parse("500", (0, 480))
