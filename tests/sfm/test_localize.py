"""A photo is placed where it was taken, in both frames; or it gets the reason and no pose."""

import json

import numpy as np
import PIL.Image
import pytest
import torch
from mapped_scene import FOCAL, SIZE, Told, write
from placed_scene import TOOLS, Landscape, error, true_pose

from photoglue.errors import ConfigError
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.pose import rotation_error_deg
from photoglue.matchers.nearest import NearestNeighbor
from photoglue.sfm import LocalizeOptions, Localizer
from photoglue.structs import Features

CAMERA = PinholeCamera(fx=FOCAL, fy=FOCAL, cx=SIZE[0] / 2 - 0.5, cy=SIZE[1] / 2 - 0.5, image_size=SIZE)


@pytest.fixture(scope="module")
def localizer(placed):
    with Localizer(placed / "map", LocalizeOptions(turn=False), **TOOLS) as opened:
        yield opened


def test_a_photo_of_the_place(placed, localizer):
    answer = localizer.localize(placed / "queries" / "003.png")
    assert answer.localised and answer.reason is None and answer.name.endswith("003.png")
    assert error(answer, 3) < 0.02
    assert rotation_error_deg(answer.cam_from_world[:3, :3], true_pose(3)[:3, :3]) < 0.1
    assert answer.focal_source == "map"  # no EXIF, and all photos of the map are by one camera of this size
    assert (answer.camera.fx, answer.camera.cx) == (FOCAL, SIZE[0] / 2 - 0.5)
    torch.testing.assert_close(answer.stored_cam_from_world, answer.cam_from_world)
    assert 100 < answer.inliers <= answer.predicted and answer.confirmed > 100
    assert error(answer, 3) < 5 * answer.uncertainty.position < 0.1
    assert answer.uncertainty.focal_px is None
    assert answer.nearest[0].inliers > 80 and len(answer.nearest) == 3  # enough with the first three
    assert answer.keypoints.shape == (answer.inliers, 2) and answer.points.max() < len(localizer.map.xyz)
    assert {"read", "extract", "match", "pose"} <= answer.seconds.keys()


@pytest.mark.parametrize(("number", "why"), [(8, "no photo of the map"), (56, "no keypoints")])
def test_a_photo_of_another_place(placed, localizer, number, why):
    answer = localizer.localize(placed / "queries" / f"{number:03}.png")
    assert not answer.localised and answer.reason.startswith(why)
    assert answer.cam_from_world is None and answer.camera is None and answer.centre is None


def test_the_frame_of_a_turned_photo(tmp_path, localizer):
    write(tmp_path, 3, exif={3: {0x0112: 6}})
    answer = localizer.localize(tmp_path / "003.png", camera=CAMERA)
    assert error(answer, 3) < 0.02 and answer.focal_source == "given"
    assert answer.camera.image_size == SIZE and answer.stored_camera.image_size == SIZE[::-1]
    turned = answer.frame.upright_cam_from_stored_cam() @ answer.stored_cam_from_world[:3]
    torch.testing.assert_close(turned, answer.cam_from_world[:3])
    assert not torch.allclose(answer.stored_cam_from_world, answer.cam_from_world, atol=0.1)


def test_a_mirrored_photo_has_no_pose(tmp_path, localizer):
    write(tmp_path, 3, exif={3: {0x0112: 2}})
    assert "EXIF orientation 2 mirrors it" in localizer.localize(tmp_path / "003.png").reason


def test_a_wrong_focal_length_is_noticed(placed, localizer):
    photo = placed / "queries" / "003.png"
    given = PinholeCamera(fx=170.0, fy=170.0, cx=CAMERA.cx, cy=CAMERA.cy, image_size=SIZE)
    answer = localizer.localize(photo, camera=given)
    assert answer.focal_source == "estimated" and answer.camera.fx == pytest.approx(FOCAL, rel=0.01)
    assert error(answer, 3) < 0.1 and answer.uncertainty.focal_px < 5
    assert answer.notes[0].startswith("the given focal length, 170 px, does not fit the matches; one of 28")
    wrong = PinholeCamera(fx=280.0, fy=280.0, cx=0.0, cy=0.0, image_size=(5, 5))
    with pytest.raises(ConfigError, match="The camera is of 5 × 5 pixels and the photo has 320 × 240"):
        localizer.localize(photo, camera=wrong)


def test_focal_length_of_exif(tmp_path, localizer):
    """It is made better with the matches; one that cannot be is replaced, and said."""
    for equivalent, source in ((30, "EXIF"), (90, "estimated")):  # 280 px are 30.3 mm
        exif = PIL.Image.Exif()
        exif[0x010F] = "Maker"
        exif.get_ifd(0x8769)[0xA405] = equivalent
        PIL.Image.new("L", SIZE, 3).save(tmp_path / "a.png", exif=exif)
        answer = localizer.localize(tmp_path / "a.png")
        assert (answer.focal_source, len(answer.notes)) == (source, int(source == "estimated"))
        assert answer.camera.fx == pytest.approx(FOCAL, rel=0.01)


def test_masks_and_priors(placed, localizer):
    photo = placed / "queries" / "003.png"
    black = PIL.Image.new("L", SIZE, 0)
    assert localizer.localize(photo, mask=black).name == str(photo)  # Told looks at no mask; sizes are checked
    answer = localizer.localize(photo, prior=true_pose(3), name="a")
    assert answer.localised and answer.name == "a"
    assert answer.nearest[0].name in ("002.png", "004.png")
    assert localizer.localize(photo, prior=answer).localised


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"min_inliers": 10_000}, "points of the map agree with one pose; 10000 are wanted"),
        ({"max_uncertainty": 1e-9}, "the pose is uncertain: its position by 0% of the distance"),
    ],
)
def test_what_is_not_believed(placed, options, why):
    with Localizer(placed / "map", LocalizeOptions(turn=False, **options), **TOOLS) as localizer:
        answer = localizer.localize(_noisy(), name="x")
    assert not answer.localised and why in answer.reason and answer.inliers > 50


def _noisy():
    """A photo of the place for ``Told``."""
    return np.full((SIZE[1], SIZE[0]), 3, dtype=np.uint8)


class Doubled(Told):
    """Sees in photo 3 what photo 0 sees, too, somewhere else: as many points of either place."""

    def _features(self, image):
        own = super()._features(image)
        if round(float(image.mean()) * 255) != 3:
            return own
        other = super()._features(image * 0)
        half0, half1 = slice(0, len(own) // 2), slice(len(other) // 2, None)
        return Features.from_arrays(
            torch.cat([own.keypoints[half0], other.keypoints[half1]]),
            torch.cat([own.descriptors[half0], other.descriptors[half1]]),
            own.image_size,
            kind=self.kind,
        )


def test_two_places_that_fit_alike(placed):
    options, tools = LocalizeOptions(turn=False), {"extractor": Doubled(), "matcher": NearestNeighbor(0.8)}
    with Localizer(placed / "map", options, **tools) as localizer:
        answer = localizer.localize(placed / "queries" / "003.png", camera=CAMERA)
    assert not answer.localised and answer.reason.startswith("two places fit: ")


class Confused(Told):
    """Of the points of photo 3 it takes four in five for others."""

    def _features(self, image):
        own = super()._features(image)
        if round(float(image.mean()) * 255) != 3:
            return own
        wrong = torch.arange(len(own)) % 5 > 0
        rows = torch.arange(len(own))
        rows[wrong] = rows[wrong].roll(7)
        return Features.from_arrays(own.keypoints, own.descriptors[rows], own.image_size, kind=self.kind)


def test_few_of_the_matches_agree(placed):
    options, tools = LocalizeOptions(turn=False), {"extractor": Confused(), "matcher": NearestNeighbor(0.8)}
    with Localizer(placed / "map", options, **tools) as localizer:
        answer = localizer.localize(placed / "queries" / "003.png", camera=CAMERA)
    assert not answer.localised and "% of the matches agree with one pose" in answer.reason


def test_a_photo_on_its_side(placed):
    """It is recognised turned; the pose is that of the photo as it came."""
    with Localizer(placed / "map", extractor=Landscape(), matcher=NearestNeighbor(0.8)) as localizer:
        answer = localizer.localize(np.full(SIZE, 3, dtype=np.uint8))
    assert answer.localised and answer.turned_deg in (90, 270) and error(answer, 3) < 0.02
    assert answer.camera.image_size == SIZE[::-1]
    axis = answer.cam_from_world[:3, :3] @ true_pose(3)[:3, :3].T
    assert abs(float(axis[2, 2])) > 0.999 and abs(float(axis[0, 1])) > 0.999  # a quarter about the optical axis


@pytest.mark.parametrize("bad", [{"top": 0}, {"min_share": 2.0}, {"max_uncertainty": 0.0}])
def test_bad_options(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        LocalizeOptions(**bad)


def test_a_map_of_other_features(placed):
    pytest.importorskip("cv2", exc_type=ImportError)
    from photoglue import create_extractor

    with pytest.raises(ConfigError, match="was made of 'told' features and the photos would get 'sift"):
        Localizer(placed / "map", extractor=create_extractor("sift"))


def test_the_extractor_and_matcher_of_the_map(placed, tmp_path):
    """They are those that run.json names."""
    import shutil

    shutil.copytree(placed / "map", tmp_path / "map")
    path = tmp_path / "map" / "run.json"
    run = json.loads(path.read_text())
    run["settings"]["matcher"] = "nearest"
    path.write_text(json.dumps(run))
    with Localizer(tmp_path / "map") as localizer:
        assert type(localizer.extractor).__name__ == "Told"
        assert localizer.localize(placed / "queries" / "003.png").localised
