"""Changes of light, sharpness and compression: the list "lg" of the official training of stage 1.

Images become darker, flatter and blurred, seldom brighter. The list, its order, probabilities and ranges are the
official ones (glue-factory, which uses the library albumentations; where it gives none, that library's defaults), the
code is ours. Applied as a whole to three of four images: the official dataset's default of 0.75 wins over the list's
own 0.95.
"""

import numpy as np
from jaxtyping import Float32, UInt8

from photoglue.errors import require

PROBABILITY = 0.75
"""Probability that an image is changed at all."""


def augment(
    image: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator, *, probability: float = PROBABILITY
) -> UInt8[np.ndarray, "h w 3"]:
    """The image as another camera might have taken it; the one given stays as it is.

    Args:
        image: RGB image.
        generator: Gives the same changes for the same state.
        probability: Probability that the image is changed at all, in [0, 1].

    Raises:
        MissingExtra: If no OpenCV is installed.
    """
    if generator.random() >= probability:
        return image
    for chance, change in (
        (0.1, random_gamma),
        (0.1, random_hue_saturation_value),
        (0.1, random_degradation),
        (0.1, random_blur),
        (0.1, random_motion_blur),
        (0.5, random_brightness_contrast),
        (0.2, random_clahe),
    ):
        if generator.random() < chance:
            image = change(image, generator)
    return image


def random_gamma(image: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Brighter, most in the shadows: a power of 0.15 to 0.65 of the values in [0, 1]."""
    cv2 = require("cv2", extra="sift")
    exponent = generator.uniform(0.15, 0.65)
    table = np.rint((np.arange(256) / 255) ** exponent * 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table))


def random_hue_saturation_value(
    image: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Darker by 40 to 100 of 255; hue turned by up to 20 of 180, saturation changed by up to 30 of 255."""
    cv2 = require("cv2", extra="sift")
    hue, saturation, value = generator.uniform([-20, -30, -100], [20, 30, -40])
    levels = np.arange(256)
    tables = np.stack(
        [
            np.rint(levels + hue) % 180,
            np.clip(np.rint(levels + saturation), 0, 255),
            np.clip(np.rint(levels + value), 0, 255),
        ],
        axis=-1,
    ).astype(np.uint8)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), tables[None])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def random_degradation(image: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """One of four, each as likely: blur, motion blur, sensor noise, compression."""
    changes = (random_blur, random_motion_blur, random_sensor_noise, random_compression)
    return changes[generator.integers(len(changes))](image, generator)


def random_blur(image: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """The mean over a square of 3, 5, 7 or 9 pixels."""
    cv2 = require("cv2", extra="sift")
    side = int(generator.choice([3, 5, 7, 9]))
    return np.asarray(cv2.blur(image, (side, side)))


def random_motion_blur(image: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """The mean along a straight line through each pixel, inside a square of 3, 5, … or 25 pixels."""
    cv2 = require("cv2", extra="sift")
    return np.asarray(cv2.filter2D(image, -1, _line_kernel(int(generator.choice(np.arange(3, 26, 2))), generator)))


def random_brightness_contrast(
    image: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """All values times 0.7 to 1, less up to 0.4 of white."""
    cv2 = require("cv2", extra="sift")
    brightness, contrast = generator.uniform([-0.4, -0.3], 0.0)
    table = np.clip(np.rint(np.arange(256) * (1 + contrast) + brightness * 255), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table))


def random_clahe(image: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Lightness equalised in 8 × 8 tiles with limited contrast (a clip limit of 1 to 4)."""
    cv2 = require("cv2", extra="sift")
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clipLimit=generator.uniform(1, 4), tileGridSize=(8, 8)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def random_sensor_noise(
    image: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Noise of a sensor at high ISO: of lightness, with the image's own contrast, and of hue."""
    cv2 = require("cv2", extra="sift")
    intensity, color_shift = generator.uniform([0.1, 0.01], [0.5, 0.05])
    hls = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HLS)
    hue, lightness = hls[..., 0], hls[..., 1]
    spread = float(lightness.std())
    grains = generator.poisson(spread * intensity * 255, lightness.shape).astype(np.float32)
    turns = generator.normal(0, color_shift * 360 * intensity, hue.shape).astype(np.float32)
    hls[..., 0] = (hue + turns) % 360
    hls[..., 1] = lightness + grains / 255 * (1 - lightness)
    noisy = cv2.cvtColor(hls, cv2.COLOR_HLS2RGB)
    return np.asarray(np.rint(np.clip(noisy, 0, 1) * 255), np.uint8)


def random_compression(image: UInt8[np.ndarray, "h w 3"], generator: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """JPEG of quality 99 or 100."""
    cv2 = require("cv2", extra="sift")
    quality = int(generator.integers(99, 101))
    _, content = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1])


def _line_kernel(side: int, generator: np.random.Generator) -> Float32[np.ndarray, "s s"]:
    """A line of unit sum through the middle of a square, as long and steep as that between two random pixels of it."""
    cv2 = require("cv2", extra="sift")
    (x0, y0), (x1, y1) = generator.integers(0, side, (2, 2))
    if (x0, y0) == (x1, y1):
        x0, x1 = 0, side - 1
    kernel = np.zeros((side, side), np.float32)
    # With one binary digit (shift), half the difference from the middle is exact; OpenCV rounds it all the same, so the
    # line is drawn in both directions. Otherwise it blurs to one side, by up to 0.7 pixels, and moves the points.
    ends = [(side - 1 + sign * int(x1 - x0), side - 1 + sign * int(y1 - y0)) for sign in (-1, 1)]
    cv2.line(kernel, *ends, 1.0, shift=1)
    kernel += kernel[::-1, ::-1]
    return np.asarray(kernel / kernel.sum())
