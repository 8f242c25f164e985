"""Where SIFT's points lie, their scales and orientations: known answers, turned photos, COLMAP, calibrated photos."""

import json
import math

import numpy as np
import pytest
import torch

from photoglue.extractors.sift import SIFT, SIFTConfig
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


def blob(centre, sigma, size=(97, 110)):
    """A bright Gaussian, uint8."""
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    squares = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    return np.rint(80 + 120 * np.exp(-squares / (2 * sigma**2))).astype(np.uint8)


def blob_on_a_slope(direction):
    """A faint Gaussian on a steep plane, which rises towards ``direction`` (radians, clockwise as seen), uint8."""
    y, x = np.mgrid[-30:31, -30:31].astype(float)
    rise = 2.9 * (x * math.cos(direction) + y * math.sin(direction))
    return np.rint(128 + rise + 20 * np.exp(-(x**2 + y**2) / (2 * 3**2))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
def test_a_blob_is_found_at_its_centre_and_scale(sigma):
    random = np.random.default_rng(0)
    errors, scales = [], []
    for centre in random.uniform((50, 44), (60, 52), size=(25, 2)):
        found = whole(max_keypoints=1).extract(blob(centre, sigma))
        errors.extend(found.keypoints.numpy() - centre)
        scales.extend(found.scales.tolist())
    assert len(errors) > 20  # OpenCV misses some, halfway between two samples in scale or place
    # OpenCV's own points would be off by (0.25, 0.25).
    np.testing.assert_allclose(np.mean(errors, axis=0), 0, atol=0.01)
    assert np.abs(errors).max() < 0.06
    # The difference of two Gaussians k apart answers most to a blob at their geometric mean: sigma / k^(1/2), and here
    # k = 2^(1/4).
    np.testing.assert_allclose(scales, sigma * 2 ** (-1 / 8), rtol=0.03)


@pytest.mark.parametrize("degrees", [0, 40, 90, 135, 180, 250, 300])
def test_orientation_is_clockwise_from_the_x_axis_in_radians(degrees):
    found = whole().extract(blob_on_a_slope(math.radians(degrees)))
    found = found[(found.keypoints - 30).norm(dim=1) < 1]
    assert len(found) == 1
    expected = wrapped(np.float64(math.radians(degrees)))
    difference = wrapped(found.orientations.double().numpy() - expected)
    assert abs(difference[0]) < math.radians(4)
    assert -math.pi < found.orientations.item() <= np.float32(math.pi)


@pytest.mark.parametrize(
    ("change", "where", "turn"),
    [
        (lambda a: np.rot90(a, -1), lambda x, y, w, h: (h - 1 - y, x), lambda o: o + math.pi / 2),
        (lambda a: np.rot90(a, 2), lambda x, y, w, h: (w - 1 - x, h - 1 - y), lambda o: o + math.pi),
        (np.fliplr, lambda x, y, w, h: (w - 1 - x, y), lambda o: math.pi - o),
    ],
    ids=["quarter turn", "half turn", "mirror"],
)
def test_turning_the_photo_turns_points_and_orientations(photo, change, where, turn):
    before, after = whole().extract(photo), whole().extract(np.ascontiguousarray(change(photo)))
    height, width = photo.shape
    expected = torch.stack(where(*before.keypoints.T, width, height), dim=-1)
    rows, origins = pairs_at_same_place(after, expected)
    assert len(rows) > 0.75 * len(before)
    # A shift of a quarter of a pixel that is not undone would show here as half a pixel.
    shift = (after.keypoints[rows] - expected[origins]).median(dim=0).values
    assert shift.abs().max() < 0.02
    difference = wrapped(after.orientations[rows] - turn(before.orientations[origins]))
    assert (difference.abs() < math.radians(3)).float().mean() > 0.75
    assert abs(difference.median()) < math.radians(0.5)


@pytest.mark.slow
def test_twice_the_size_gives_twice_the_scale(photo):
    before = whole().extract(photo)
    doubled = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    after = whole().extract(doubled)
    rows, origins = pairs_at_same_place(after, (before.keypoints + 0.5) * 2 - 0.5, tolerance=1.0)
    ratios = after.scales[rows] / before.scales[origins]
    ratios = ratios[before.scales[origins] > 2.5]  # where the blur of the enlarging itself does not count
    assert len(ratios) > 40
    assert abs(ratios.median() - 2) < 0.02


def test_scales_are_pixels_of_the_image_as_read(photo):
    doubled = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    small = whole().extract(photo)
    large = whole(resize=max(photo.shape)).extract(doubled)  # the detector sees (nearly) the small one again
    rows, origins = pairs_at_same_place(large, (small.keypoints + 0.5) * 2 - 0.5, tolerance=1.0)
    ratios = large.scales[rows] / small.scales[origins]
    ratios = ratios[small.scales[origins] > 2.5]  # where the blur of the two resizings does not count
    assert len(ratios) > 40
    assert abs(ratios.median() - 2) < 0.02


@pytest.mark.slow
def test_units_are_those_of_colmap(photo):
    """What the released matcher was trained on. COLMAP has its own detector (VLFeat's), so points differ a little."""
    pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError)
    theirs = torch.from_numpy(pycolmap.Sift(device=pycolmap.Device.cpu).extract(photo)[0])
    ours = whole().extract(photo)
    distances = torch.cdist(ours.keypoints, theirs[:, :2] - 0.5)  # COLMAP's corner is (0, 0)
    distances += 10 * ((ours.scales[:, None] / theirs[:, 2]).log().abs() > 0.15)
    nearest = distances.argmin(dim=1)
    rows = torch.nonzero(distances.amin(dim=1) < 0.5).flatten()
    assert len(rows) > 0.4 * len(ours)
    theirs = theirs[nearest[rows]]
    assert (ours.keypoints[rows] - theirs[:, :2] + 0.5).median(dim=0).values.abs().max() < 0.02
    assert abs((ours.scales[rows] / theirs[:, 2]).median() - 1) < 0.06
    difference = wrapped(ours.orientations[rows] - theirs[:, 3])
    assert (difference.abs() < 0.1).float().mean() > 0.6
    assert theirs[:, 3].min() < 0 < ours.orientations.max() <= math.pi


def fundamental(cameras, name0, name1):
    """Of pixels whose centres are whole numbers, from the ground truth."""
    k0, k1 = (np.array(cameras[name]["K"]) for name in (name0, name1))
    cam1_from_cam0 = np.array(cameras[name1]["T_w2c"]) @ np.linalg.inv(np.array(cameras[name0]["T_w2c"]))
    x, y, z = cam1_from_cam0[:3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.linalg.inv(k1).T @ cross @ cam1_from_cam0[:3, :3] @ np.linalg.inv(k0)


@pytest.mark.slow
@pytest.mark.data
def test_matches_of_a_calibrated_pair_lie_on_their_epipolar_lines(shared_data):
    folder = shared_data / "eval" / "strecha" / "fountain-P11"
    names = ("0003.jpg", "0004.jpg")
    features0, features1 = (SIFT().extract(folder / "images" / name) for name in names)
    similarity = features0.descriptors @ features1.descriptors.T
    nearest = similarity.argmax(dim=1)
    mutual = similarity.argmax(dim=0)[nearest] == torch.arange(len(nearest))
    assert mutual.sum() > 500
    points0 = features0.keypoints[mutual].double().numpy()
    points1 = features1.keypoints[nearest[mutual]].double().numpy()

    matrix = fundamental(json.loads((folder / "cameras.json").read_text()), *names)
    homogeneous0, homogeneous1 = (np.c_[points, np.ones(len(points))] for points in (points0, points1))
    lines1, lines0 = homogeneous0 @ matrix.T, homogeneous1 @ matrix
    algebraic = np.abs((homogeneous1 * lines1).sum(axis=1))
    sampson = algebraic / np.sqrt((lines0[:, :2] ** 2).sum(axis=1) + (lines1[:, :2] ** 2).sum(axis=1))
    assert np.median(sampson) < 0.5
    assert np.median(sampson) < 0.15  # measured: 0.08
