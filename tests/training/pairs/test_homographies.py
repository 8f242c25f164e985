"""Random homographies: inside the photo, as varied as wanted, and true of pixels and of keypoints."""

import math

import numpy as np
import PIL.Image
import pytest
import torch

from photoglue.datasets.photos import read_photo
from photoglue.errors import ConfigError
from photoglue.extractors.sift import SIFT, SIFTConfig
from photoglue.training.pairs.homographies import HomographyConfig, sample_corners, sample_homography, warp_photo

cv2 = pytest.importorskip("cv2", exc_type=ImportError)

SIZES = [(640, 480), (300, 500), (160, 1000)]


def corners_of_many(size, count=2000, **options):
    generator = np.random.default_rng(0)
    config = HomographyConfig(**options)
    return np.stack([sample_corners(size, config, generator) for _ in range(count)])


def apply(homography, points):
    """Point by point, in plain code."""
    out = []
    for x, y in np.asarray(points, dtype=np.float64).tolist():
        u, v, w = (row[0] * x + row[1] * y + row[2] for row in homography.tolist())
        out.append((u / w, v / w))
    return np.array(out)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("max_angle_deg", [45.0, 180.0])
def test_quadrilaterals_are_inside_the_photo_and_convex(size, max_angle_deg):
    corners = corners_of_many(size, max_angle_deg=max_angle_deg, difficulty=0.9)
    assert corners.min() >= -1e-9
    assert (corners.max(axis=(0, 1)) <= np.array(size) - 1 + 1e-9).all()
    for i in range(4):  # clockwise as seen: each next corner lies on the right of the side before
        before, here, after = corners[:, i - 1], corners[:, i], corners[:, (i + 1) % 4]
        assert (np.cross(here - before, after - here) > 0).all()


@pytest.mark.slow
def test_no_corner_is_nearly_straight():
    """Without the limit some are."""
    sines = []
    for least in (0.0, 0.3):
        corners = corners_of_many((500, 500), difficulty=1.0, max_angle_deg=0.0, min_convexity=least)
        sides = np.roll(corners, -1, axis=1) - corners
        sides /= np.linalg.norm(sides, axis=2, keepdims=True)
        sines.append(np.cross(sides, np.roll(sides, -1, axis=1)).min())
    assert 0 < sines[0] < 0.05
    assert 0.3 <= sines[1] < 0.32


@pytest.mark.slow
def test_corners_move_inwards_by_up_to_half_the_difficulty():
    """Each by an even distribution: a side is 1 - difficulty/2 of the photo's on average, at least 1 - difficulty."""
    corners = corners_of_many((1001, 501), difficulty=0.6, max_angle_deg=0.0, translation=0.0)
    widths = np.concatenate([corners[:, 1, 0] - corners[:, 0, 0], corners[:, 2, 0] - corners[:, 3, 0]]) / 1000
    heights = np.concatenate([corners[:, 3, 1] - corners[:, 0, 1], corners[:, 2, 1] - corners[:, 1, 1]]) / 500
    for lengths in (widths, heights):
        assert 0.4 <= lengths.min() < 0.42
        assert 0.98 < lengths.max() <= 1
        assert lengths.mean() == pytest.approx(0.7, abs=0.01)
    # Each loses the sum of two numbers between 0 and 0.3: variance 2 · 0.3² / 12.
    assert widths.std() == pytest.approx(math.sqrt(2 * 0.09 / 12), abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(("max_angle_deg", "largest", "upright"), [(45.0, 31.5, 0.1), (180.0, 126.0, 0.3)])
def test_angles_are_those_asked_for(max_angle_deg, largest, upright):
    """The same quadrilaterals with and without rotation: turned as a whole, by one of ten angles or, seldom, not."""
    turned = corners_of_many((640, 480), max_angle_deg=max_angle_deg, translation=0.0)
    straight = corners_of_many((640, 480), max_angle_deg=0.0, translation=0.0)
    sides = [np.diff(corners, axis=1) @ [1, 1j] for corners in (turned, straight)]
    ratios = sides[0] / sides[1]
    np.testing.assert_allclose(ratios, ratios[:, :1].repeat(3, axis=1), atol=1e-9)
    np.testing.assert_allclose(np.abs(ratios), 1, atol=1e-9)
    angles = np.degrees(np.angle(ratios[:, 0]))
    wanted = np.append(np.linspace(-largest, largest, 10), 0)
    distances = np.abs(angles[:, None] - wanted)
    assert distances.min(axis=1).max() < 1e-6
    counts = np.bincount(distances.argmin(axis=1), minlength=11)
    assert counts.min() > 20  # all occur
    assert counts[-1] < upright * len(angles)  # not turned, since nothing tried fits
    assert np.abs(counts[:5].sum() - counts[5:10].sum()) < 4 * math.sqrt(len(angles))  # left as often as right


@pytest.mark.slow
def test_the_patch_moves_evenly_through_the_free_margin():
    corners = corners_of_many((1001, 501), difficulty=1.0)
    free = [1000, 500] - (corners.max(axis=1) - corners.min(axis=1))
    share = corners.min(axis=1) / free
    assert share.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.03)
    assert share.var(axis=0) == pytest.approx([1 / 12, 1 / 12], abs=0.01)
    still = corners_of_many((1001, 501), translation=0.0, max_angle_deg=0.0).mean(axis=1)
    assert np.median(np.abs(still - [500, 250])) < 1e-9  # else moved only where a corner would be outside


def test_no_difficulty_is_the_whole_photo():
    corners = sample_corners((640, 480), HomographyConfig(difficulty=0.0), np.random.default_rng(0))
    np.testing.assert_allclose(corners, [[0, 0], [639, 0], [639, 479], [0, 479]], atol=1e-9)
    same = HomographyConfig(difficulty=0.0, patch_size=(640, 480))
    np.testing.assert_allclose(sample_homography((640, 480), same, np.random.default_rng(0)), np.eye(3), atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_the_homography_takes_the_quadrilateral_to_the_patch(size):
    for patch_size in ((640, 480), None):
        config = HomographyConfig(patch_size=patch_size)
        width, height = config.patch_size_of(size)
        homography = sample_homography(size, config, np.random.default_rng(3))
        corners = sample_corners(size, config, np.random.default_rng(3))
        wanted = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        np.testing.assert_allclose(apply(homography, corners), wanted, atol=1e-8)
        reference = cv2.getPerspectiveTransform(corners.astype(np.float32), np.float32(wanted))
        np.testing.assert_allclose(homography, reference, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_patches_keep_the_resolution_of_the_photo_if_asked_to():
    config = HomographyConfig(patch_size=None)
    assert config.patch_size_of((640, 480)) == (416, 312)
    assert config.patch_size_of((480, 640)) == (312, 416)
    assert HomographyConfig().patch_size_of((480, 640)) == (640, 480)
    determinants = []
    generator = np.random.default_rng(0)
    for _ in range(500):
        homography = sample_homography((640, 480), config, generator)
        around = np.array([[319.5, 239.5], [320.5, 239.5], [319.5, 240.5]])
        origin, right, down = apply(homography, around)
        determinants.append(np.linalg.det(np.stack([right - origin, down - origin])))
    assert np.median(determinants) == pytest.approx(1, abs=0.15)


def test_the_same_generator_gives_the_same():
    config = HomographyConfig()
    first, again, other = (sample_homography((640, 480), config, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


@pytest.fixture(params=["astronaut", "motorcycle"])
def photo(request, astronaut, motorcycle):
    return read_photo({"astronaut": astronaut, "motorcycle": motorcycle[0]}[request.param])


@pytest.mark.slow
def test_a_warped_photo_shows_what_the_homography_says(photo):
    """Bilinear samples computed in plain numpy; OpenCV rounds positions to 1/32 pixel."""
    size = (photo.shape[1], photo.shape[0])
    for seed in range(3):
        homography = sample_homography(size, HomographyConfig(), np.random.default_rng(seed))
        patch = warp_photo(photo, homography, (640, 480))
        assert patch.shape == (480, 640, 3)
        ys, xs = np.mgrid[0:480:7, 0:640:7]
        places = apply(np.linalg.inv(homography), np.stack([xs.ravel(), ys.ravel()], axis=1))
        places = places.clip(0, np.array(size) - 1.001)
        corner = np.floor(places).astype(int)
        across, down = (places - corner).T[..., None]
        x, y = corner.T
        wanted = (photo[y, x] * (1 - across) + photo[y, x + 1] * across) * (1 - down)
        wanted += (photo[y + 1, x] * (1 - across) + photo[y + 1, x + 1] * across) * down
        errors = np.abs(patch[ys.ravel(), xs.ravel()] - wanted)
        assert np.median(errors) < 0.6
        assert errors.mean() < 1  # half a pixel off would be 4 or more
        border = np.concatenate([patch[0], patch[-1], patch[:, 0], patch[:, -1]])
        assert (border.max(axis=1) == 0).mean() <= (photo.max(axis=2) == 0).mean() + 0.02  # no black from outside


@pytest.mark.slow
def test_keypoints_of_two_views_land_on_each_other(photo):
    """Found anew in each view: most have a partner within 3 pixels, and close ones have no common shift."""
    size = (photo.shape[1], photo.shape[0])
    sift = SIFT(SIFTConfig(resize=None, max_keypoints=800, nms_radius=3)).eval()
    # Mild, so that SIFT finds the same points again; the sampler's own range is tested above.
    config = HomographyConfig(difficulty=0.4)
    homographies = [sample_homography(size, config, np.random.default_rng(seed)) for seed in (0, 1)]
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    first, second = (sift.extract(warp_photo(photo, homography, (640, 480))) for homography in homographies)
    cv2.setNumThreads(before)
    moved = torch.from_numpy(
        apply(homographies[1] @ np.linalg.inv(homographies[0]), first.keypoints.numpy()).astype(np.float32)
    )
    seen = ((moved > 5) & (moved < torch.tensor([634, 474]))).all(dim=1)
    offsets = second.keypoints[None] - moved[seen][:, None]
    nearest, index = offsets.norm(dim=2).min(dim=1)
    assert (nearest < 3).float().mean() > 0.6
    close = offsets[torch.arange(len(index)), index][nearest < 1.5]
    assert len(close) > 100
    assert close.median(dim=0).values.abs().max() < 0.1


def test_options_out_of_range_are_refused():
    for options, message in (
        ({"difficulty": 1.2}, r"difficulty is 1\.2; it must be between 0 and 1"),
        ({"translation": -0.1}, "translation is -0.1"),
        ({"max_angle_deg": 181.0}, "max_angle_deg is 181; it must be between 0 and 180"),
        ({"min_convexity": 1.0}, "min_convexity is 1"),
        ({"n_angles": -1}, "n_angles is -1"),
        ({"patch_size": (640, 1)}, r"patch_size is \(640, 1\); it must be \(width, height\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            HomographyConfig(**options)


def test_a_photo_smaller_than_the_patch_is_enlarged(astronaut):
    small = np.asarray(PIL.Image.open(astronaut).convert("RGB").resize((200, 160)))
    patch = warp_photo(small, sample_homography((200, 160), HomographyConfig(), np.random.default_rng(0)), (640, 480))
    assert patch.shape == (480, 640, 3)
    assert patch.std() > 20


class TestMilderViews:
    def test_full_circle_turns_by_any_angle_inside_the_photo(self):
        corners = corners_of_many((640, 480), 300, full_circle=True, shear=0.0, patch_size=(480, 480))
        assert corners.min() >= -1e-9
        assert (corners.max(axis=(0, 1)) <= [639 + 1e-9, 479 + 1e-9]).all()
        tops = corners[:, 1] - corners[:, 0]
        angles = np.rad2deg(np.arctan2(tops[:, 1], tops[:, 0]))
        assert np.histogram(angles, bins=8, range=(-180, 180))[0].min() > 15

    @pytest.mark.parametrize("size", SIZES)
    def test_without_shear_views_are_rotated_scaled_and_moved_only(self, size):
        generator, config = np.random.default_rng(0), HomographyConfig(shear=0.0, full_circle=True)
        for _ in range(20):
            found = sample_homography(size, config, generator)
            linear = found[:2, :2]
            scale = np.sqrt(np.linalg.det(linear))
            assert np.allclose(linear.T @ linear, scale**2 * np.eye(2), atol=1e-6 * scale**2)
            assert np.allclose(found[2], [0, 0, 1], atol=1e-9)

    def test_shear_is_a_share_of_what_it_was(self):
        def skew(shear):
            corners = corners_of_many((640, 480), 200, shear=shear, n_angles=0, translation=0.0)
            return np.abs(corners[:, 0] - corners[:, 1] + corners[:, 2] - corners[:, 3]).mean()

        assert skew(0.5) == pytest.approx(skew(1.0) / 2, rel=1e-6)
        assert skew(0.0) < 1e-9

    def test_shear_is_a_share(self, as_a_user):
        with pytest.raises(ConfigError, match="shear is 2; it must be between 0 and 1"):
            HomographyConfig(shear=2.0)
