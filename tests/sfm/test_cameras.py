"""Who shares a camera, and how long its focal length is."""

import json

import numpy as np
import PIL.Image
import pytest

from photoglue.errors import ConfigError
from photoglue.sfm.cameras import MODELS, CameraOptions, ColmapCamera, exif_focal_px, find_cameras

MAKE, MODEL, ORIENTATION, EXIF = 0x010F, 0x0110, 0x0112, 0x8769
FOCAL, FOCAL_35MM, WIDTH, RESOLUTION, UNIT = 0x920A, 0xA405, 0xA002, 0xA20E, 0xA210


def photo(folder, name, size=(60, 40), tags=None, camera_tags=None):
    """A photo with EXIF tags."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = PIL.Image.Exif()
    exif.update(tags or {})
    exif.get_ifd(EXIF).update(camera_tags or {})
    PIL.Image.new("L", size).save(path, exif=exif)
    return path


def cameras_of(folder, options=None):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    return find_cameras({name: folder / name for name in names}, options)


def test_35mm_equivalent_refers_to_the_diagonal():
    assert exif_focal_px({FOCAL_35MM: 36}, (3000, 2000)) == pytest.approx(3000)
    assert exif_focal_px({FOCAL_35MM: 26}, (4000, 3000)) == pytest.approx(26 / 43.2666 * 5000, rel=1e-5)


def test_focal_plane_resolution_is_of_the_photo_before_it_was_made_smaller():
    tags = {FOCAL: 10.0, RESOLUTION: 5000.0, UNIT: 3, WIDTH: 4000}  # 500 pixels a millimetre
    assert exif_focal_px(tags, (4000, 3000)) == pytest.approx(5000)
    assert exif_focal_px(tags, (1000, 750)) == pytest.approx(1250)
    assert exif_focal_px({**tags, UNIT: 2}, (4000, 3000)) == pytest.approx(5000 / 2.54)


@pytest.mark.parametrize("tags", [{}, {FOCAL: 10}, {FOCAL_35MM: 0}, {FOCAL_35MM: "x"}, {FOCAL_35MM: 9000}])
def test_nonsense_is_not_believed(tags):
    assert exif_focal_px(tags, (100, 80)) is None


def test_photos_share_a_camera_by_folder_camera_focal_length_and_size(tmp_path):
    phone = {MAKE: "A\0", MODEL: "B"}
    for name, tags, camera_tags, size in (
        ("a/1.jpg", phone, {FOCAL_35MM: 28}, (60, 40)),
        ("a/2.jpg", phone, {FOCAL_35MM: 28}, (60, 40)),
        ("a/3.jpg", phone, {FOCAL_35MM: 56}, (60, 40)),
        ("a/4.jpg", phone, {FOCAL_35MM: 28}, (40, 60)),
        ("b/1.jpg", phone, {FOCAL_35MM: 28}, (60, 40)),
        ("b/2.jpg", {**phone, MODEL: "C"}, {FOCAL_35MM: 28}, (60, 40)),
    ):
        photo(tmp_path, name, size, tags, camera_tags)
    found = cameras_of(tmp_path)
    assert found.number_of["a/1.jpg"] == found.number_of["a/2.jpg"]
    assert len(found.cameras) == len(set(found.number_of.values())) == 5
    assert all(camera.prior for camera in found.cameras)
    assert str(found) == "5 cameras, 5 with a known focal length"


def test_orientation_6_is_the_same_camera_in_stored_pixels(tmp_path):
    for name, tags in (("1.jpg", {}), ("2.jpg", {ORIENTATION: 6})):
        photo(tmp_path, name, tags={**tags, MODEL: "B"}, camera_tags={FOCAL_35MM: 28})
    (camera,) = cameras_of(tmp_path).cameras
    assert camera.image_size == (60, 40)


def test_photos_without_exif_share_a_camera_only_if_all_have_one_size(tmp_path):
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"):
        photo(tmp_path, name)
    photo(tmp_path, "b/3.jpg", (50, 40))
    found = cameras_of(tmp_path)
    assert [found.number_of[f"{name}.jpg"] for name in ("a/1", "a/2", "b/1", "b/2", "b/3")] == [0, 0, 1, 2, 3]
    assert not any(camera.prior for camera in found.cameras)
    assert found.of("a/1.jpg").params == (72.0, 30.0, 20.0, 0.0)


def test_single_camera(tmp_path):
    photo(tmp_path, "a/1.jpg", camera_tags={FOCAL_35MM: 28})
    photo(tmp_path, "b/2.jpg")
    (camera,) = cameras_of(tmp_path, CameraOptions(single=True, model="OPENCV")).cameras
    assert (camera.model, len(camera.params), camera.prior) == ("OPENCV", 8, True)
    photo(tmp_path, "b/3.jpg", (50, 40))
    with pytest.raises(ConfigError, match=r"'b/3.jpg' has 50 × 40 .*--single-camera"):
        cameras_of(tmp_path, CameraOptions(single=True))


def test_typed_intrinsics(tmp_path):
    photo(tmp_path, "1.jpg")
    (camera,) = cameras_of(tmp_path, CameraOptions(intrinsics="50,51,30,20")).cameras
    assert (camera.model, camera.params, camera.prior, camera.given) == ("PINHOLE", (50, 51, 30.5, 20.5), True, True)
    (camera,) = cameras_of(tmp_path, CameraOptions(intrinsics="50,30,20,0.1", model="SIMPLE_RADIAL")).cameras
    assert camera.params == (50, 30, 20, 0.1)  # COLMAP's own
    for text, model, message in (("50,30", "RADIAL", "f,cx,cy,k1,k2"), ("1,2", None, "2 numbers")):
        with pytest.raises(ConfigError, match=message):
            cameras_of(tmp_path, CameraOptions(intrinsics=text, model=model))
    with pytest.raises(ConfigError, match="no camera model 'PIN'"):
        CameraOptions(model="PIN")


def test_cameras_json_is_upright(tmp_path):
    photo(tmp_path, "1.jpg")
    photo(tmp_path, "2.jpg", tags={ORIENTATION: 6})  # shown 40 × 60
    frames = {
        "1": {"K": [[50, 0, 30], [0, 51, 20], [0, 0, 1]]},
        "2.jpg": {"K": [[50, 0, 19], [0, 51, 29], [0, 0, 1]], "width": 40, "height": 60},
    }
    (tmp_path / "cameras.json").write_text(json.dumps({"frames": frames}))
    found = cameras_of(tmp_path, CameraOptions(intrinsics=tmp_path / "cameras.json"))
    assert found.of("1.jpg").params == (50, 51, 30.5, 20.5)
    assert found.of("2.jpg").image_size == (60, 40)
    assert found.of("2.jpg").params == (51, 50, 29.5, 20.5)  # stored x is upright y
    del frames["1"]
    (tmp_path / "cameras.json").write_text(json.dumps(frames))
    with pytest.raises(ConfigError, match=r"no camera of the photo '1.jpg'"):
        cameras_of(tmp_path, CameraOptions(intrinsics=tmp_path / "cameras.json"))
    with pytest.raises(ConfigError, match=r"There is no file .*absent.json"):
        cameras_of(tmp_path, CameraOptions(intrinsics=tmp_path / "absent.json"))


@pytest.mark.parametrize("model", MODELS)
def test_distortion_is_undone_as_colmap_does_it(model):
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    values = {"f": 500.0, "fx": 500.0, "fy": 510.0, "cx": 320.0, "cy": 240.0, "k": 0.05, "k1": 0.04, "k2": -0.01}
    values |= {"p1": 0.002, "p2": -0.001, "k3": 0.003, "k4": 0.001}
    params = tuple(values[name] for name in MODELS[model][1])
    camera = ColmapCamera(model=model, image_size=(640, 480), params=params, prior=True)
    theirs = pycolmap.Camera(model=model, width=640, height=480, params=params)
    points = np.random.default_rng(0).uniform((40, 40), (600, 440), (50, 2))
    rays = np.stack([np.asarray(theirs.cam_from_img(point)).reshape(-1)[:2] for point in points])
    plain = camera.pinhole
    expected = rays * (plain.fx, plain.fy) + (plain.cx, plain.cy)
    np.testing.assert_allclose(camera.undistorted(points), expected, atol=1e-3)
