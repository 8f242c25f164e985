"""Changes of light, sharpness and compression: each as described, together as often as wanted."""

import math

import numpy as np
import pytest

from photoglue.datasets.photos import read_photo
from photoglue.training.pairs import augment as module
from photoglue.training.pairs.augment import augment

cv2 = pytest.importorskip("cv2", exc_type=ImportError)

CHANGES = [
    "random_gamma",
    "random_hue_saturation_value",
    "random_degradation",
    "random_blur",
    "random_motion_blur",
    "random_brightness_contrast",
    "random_clahe",
    "random_sensor_noise",
    "random_compression",
]


@pytest.fixture(scope="module")
def photo(astronaut):
    return read_photo(astronaut)[:240, :320]


def many(name, image, count=60):
    return [getattr(module, name)(image, np.random.default_rng(seed)) for seed in range(count)]


def gray_ramp():
    """All 256 gray levels, each 4 × 4 pixels."""
    return np.arange(256, dtype=np.uint8).repeat(4)[None, :, None].repeat(4, 0).repeat(3, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CHANGES, "augment"])
def test_size_and_type_stay_and_the_image_given_is_untouched(photo, name):
    before = photo.copy()
    before.flags.writeable = False
    results = [getattr(module, name)(before, np.random.default_rng(seed)) for seed in range(20)]
    np.testing.assert_array_equal(before, photo)
    for seed, result in enumerate(results):
        assert result.shape == photo.shape
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(getattr(module, name)(photo, np.random.default_rng(seed)), result)
    assert any((result != results[0]).any() for result in results)


def test_gamma_brightens_by_a_power(photo):
    ramp = gray_ramp()
    exponents = []
    for result in many("random_gamma", ramp):
        values = result[0, ::4, 0] / 255
        exponent = math.log(values[128]) / math.log(128 / 255)
        assert np.abs(values - (np.arange(256) / 255) ** exponent).max() < 0.015
        exponents.append(exponent)
    assert 0.14 < min(exponents) < 0.25
    assert 0.55 < max(exponents) < 0.66


def test_hue_saturation_and_value_change_each_within_its_range():
    """On a patch of one colour, looked at in HSV again."""
    color = cv2.cvtColor(np.full((2, 2, 3), (60, 120, 200), np.uint8), cv2.COLOR_HSV2RGB)
    changes = np.array(
        [
            cv2.cvtColor(result, cv2.COLOR_RGB2HSV)[0, 0].astype(int) - (60, 120, 200)
            for result in many("random_hue_saturation_value", color, 300)
        ]
    )
    for channel, (low, high) in enumerate([(-20, 20), (-30, 30), (-100, -40)]):
        assert low - 2 <= changes[:, channel].min() < low + 4
        assert high - 4 < changes[:, channel].max() <= high + 2
    assert 0.2 < (np.abs(changes[:, 0]) > 10).mean() < 0.8


def test_hue_goes_round_and_nothing_overflows():
    red, black = np.full((2, 2, 3), (255, 0, 0), np.uint8), np.zeros((2, 2, 3), np.uint8)
    for result in many("random_hue_saturation_value", red):
        assert result[0, 0].argmax() == 0  # 20 of 180 away from red, on either side
    assert all((result == 0).all() for result in many("random_hue_saturation_value", black))
    dark = many("random_brightness_contrast", np.full((2, 2, 3), 5, np.uint8))
    assert all(result.max() <= 5 for result in dark)


def test_blur_is_the_mean_over_a_square():
    point = np.zeros((31, 31, 3), np.uint8)
    point[15, 15] = 255
    sides = set()
    for result in many("random_blur", point):
        rows, columns = np.nonzero(result[..., 0])
        side = rows.max() - rows.min() + 1
        assert (rows.min() + rows.max(), columns.min() + columns.max()) == (30, 30)
        assert result[15, 15, 0] == round(255 / side**2)
        sides.add(side)
    assert sides == {3, 5, 7, 9}


def test_motion_blur_is_a_line_through_the_pixel_that_moves_nothing():
    """A shift of half a pixel would make every label wrong by as much."""
    point = np.zeros((61, 61, 3), np.uint8)
    point[30, 30] = 255
    y, x = np.mgrid[-30:31, -30:31]
    lengths, steep = [], 0
    for result in many("random_motion_blur", point, 200):
        np.testing.assert_allclose(result.astype(int), result[::-1, ::-1].astype(int), atol=1)
        weights = result[..., 0] / result[..., 0].sum()
        covariance = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=weights.ravel(), ddof=0)
        thin, long = np.linalg.eigvalsh(covariance)
        assert thin < 0.7  # two pixels side by side: 0.25; rounded and drawn both ways
        lengths.append(math.sqrt(12 * long))
        steep += covariance[1, 1] > covariance[0, 0]
    assert max(lengths) > 15
    assert min(lengths) < 3
    assert 60 < steep < 140
    assert np.abs(np.nonzero(np.sum(many("random_motion_blur", point, 200), axis=(0, 2, 3)))[0] - 30).max() <= 12


def test_brightness_and_contrast_only_fall():
    ramp = gray_ramp()
    slopes, offsets = [], []
    for result in many("random_brightness_contrast", ramp, 200):
        values = result[0, ::4, 0].astype(float)
        visible = values > 0
        slope, offset = np.polyfit(np.arange(256)[visible], values[visible], 1)
        slopes.append(slope)
        offsets.append(offset)
    assert 0.69 < min(slopes) < 0.73
    assert 0.97 < max(slopes) <= 1.005
    assert -104 < min(offsets) < -96
    assert -5 < max(offsets) <= 1


def test_clahe_raises_local_contrast_and_keeps_the_hue(photo):
    def local_contrast(image):
        lightness = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 0].astype(float)
        return (lightness - cv2.blur(lightness, (21, 21))).std()

    for result in many("random_clahe", photo, 10):
        assert local_contrast(result) > 1.05 * local_contrast(photo)
        a_and_b = [cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 1:].astype(int) for image in (photo, result)]
        assert np.median(np.abs(a_and_b[0] - a_and_b[1])) <= 2


def test_sensor_noise_is_fine_and_colored():
    """Neighbouring pixels differ as much as distant ones, and channels from each other."""
    halves = np.full((100, 200, 3), (60, 80, 70), np.uint8)
    halves[:, 100:] = (200, 190, 180)
    for result in many("random_sensor_noise", halves, 10):
        noise = (result.astype(float) - halves)[:, :100]
        noise -= noise.mean(axis=(0, 1))
        assert 1 < noise.std() < 25
        assert np.abs((noise[:, 1:] * noise[:, :-1]).mean()) < 0.1 * noise.var()
        assert (noise[..., 0] - noise[..., 2]).std() > 0.3


def test_compression_is_hardly_visible_and_keeps_red_red(photo):
    for result in many("random_compression", photo, 5):
        difference = np.abs(result.astype(int) - photo)
        assert 0 < difference.mean() < 2.5


@pytest.mark.slow
def test_each_change_is_as_frequent_as_wanted(monkeypatch):
    image = np.zeros((4, 4, 3), np.uint8)
    calls = dict.fromkeys(CHANGES, 0)

    def counting(name):
        def change(image, generator):
            calls[name] += 1
            return image

        return change

    for name in CHANGES:
        monkeypatch.setattr(module, name, counting(name))
    generator = np.random.default_rng(0)
    count = 20_000
    for _ in range(count):
        augment(image, generator)
    shares = {name: calls[name] / count / 0.75 for name in CHANGES}
    for name, wanted in (
        ("random_gamma", 0.1),
        ("random_hue_saturation_value", 0.1),
        ("random_degradation", 0.1),
        ("random_blur", 0.1),
        ("random_motion_blur", 0.1),
        ("random_brightness_contrast", 0.5),
        ("random_clahe", 0.2),
        ("random_sensor_noise", 0),
    ):
        assert shares[name] == pytest.approx(wanted, abs=0.012), name


def test_degradation_chooses_one_of_four_evenly(monkeypatch):
    chosen = []
    names = ("random_blur", "random_motion_blur", "random_sensor_noise", "random_compression")
    for name in names:
        monkeypatch.setattr(module, name, lambda image, generator, name=name: chosen.append(name) or image)
    generator = np.random.default_rng(0)
    for _ in range(4000):
        module.random_degradation(np.zeros((2, 2, 3), np.uint8), generator)
    for name in names:
        assert chosen.count(name) == pytest.approx(1000, abs=120)


@pytest.mark.slow
def test_never_and_always(photo):
    for seed in range(20):
        assert augment(photo, np.random.default_rng(seed), probability=0.0) is photo
    changed = [(augment(photo, np.random.default_rng(seed), probability=1.0) != photo).any() for seed in range(200)]
    # 1 - 0.9⁵ · 0.5 · 0.8
    assert np.mean(changed) == pytest.approx(0.764, abs=0.09)
