"""Which cameras a photo may have, in which order."""

import numpy as np
import PIL.Image
import pytest

from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.frames import StoredFrame
from photoglue.sfm.cameras import ColmapCamera
from photoglue.sfm.locating.cameras import colmap_camera, guesses_of
from photoglue.solvers.colmap_files import CameraRecord

RECORD = CameraRecord(camera_id=7, model="SIMPLE_PINHOLE", image_size=(300, 200), parameters=(250.0, 150.0, 100.0))
FRAME = StoredFrame(orientation=1, upright_size=(300, 200))
BLANK = np.zeros((200, 300), dtype=np.uint8)


def photo(**tags):
    exif = PIL.Image.Exif()
    exif[0x010F] = tags.get("maker", "")
    for tag, value in ((0xA405, tags.get("equivalent")), (0xA404, tags.get("zoom"))):
        if value:
            exif.get_ifd(0x8769)[tag] = value
    picture = PIL.Image.fromarray(BLANK)
    picture.info["exif"] = exif.tobytes()
    return picture


def sources(*arguments):
    return [(guess.source, round(guess.camera.parameters[0])) for guess in guesses_of(*arguments)]


def test_nothing_known():
    (guess,) = guesses_of(BLANK, FRAME, None, {})
    assert guess.source == "estimated" and guess.camera.parameters == (360.0, 150.0, 100.0)


def test_a_camera_of_the_map():
    assert sources(BLANK, FRAME, None, {("", (300, 200)): RECORD}) == [("map", 250), ("estimated", 360)]
    one = {("Maker", (300, 200)): RECORD}
    assert sources(BLANK, FRAME, None, one)[0] == ("map", 250)  # without EXIF, and the only camera of the map
    assert sources(BLANK, FRAME, None, {**one, ("Other", (300, 200)): RECORD}) == [("estimated", 360)]
    assert sources(BLANK, FRAME, None, {("Maker", (200, 300)): RECORD}) == [("estimated", 360)]
    assert sources(photo(maker="Other"), FRAME, None, one) == [("estimated", 360)]


def test_exif_and_digital_zoom():
    focal = round(50 / np.hypot(36, 24) * np.hypot(300, 200))
    assert sources(photo(equivalent=50), FRAME, None, {}) == [("EXIF", focal), ("estimated", 360)]
    zoomed = sources(photo(equivalent=50, zoom=3.0), FRAME, None, {})
    assert [source for source, _ in zoomed] == ["EXIF", "EXIF", "estimated"]
    assert zoomed[1][1] == pytest.approx(3 * focal, abs=2)


def test_given_cameras():
    frame = StoredFrame(orientation=6, upright_size=(200, 300))
    upright = PinholeCamera(fx=210.0, fy=220.0, cx=90.0, cy=140.0, image_size=(200, 300))
    given, free = guesses_of(BLANK, frame, upright, {})
    assert given.camera.image_size == (300, 200) and given.camera.parameters[:2] == (220.0, 210.0)
    assert free.camera.parameters[1:] == given.camera.parameters[2:]  # its principal point is believed
    stored = ColmapCamera(model="SIMPLE_PINHOLE", image_size=(300, 200), params=(210.0, 150.0, 100.0), prior=True)
    assert guesses_of(BLANK, frame, stored, {})[0].camera.parameters == stored.params
    with pytest.raises(ConfigError, match="The camera is of 300 × 200 pixels and the photo has 200 × 300"):
        guesses_of(BLANK, frame, PinholeCamera(fx=1.0, fy=1.0, cx=0.0, cy=0.0, image_size=(300, 200)), {})


def test_unknown_models():
    with pytest.raises(ConfigError, match="a camera of the model FOV, which is not supported"):
        colmap_camera(CameraRecord(camera_id=1, model="FOV", image_size=(2, 2), parameters=(1.0,) * 5))
