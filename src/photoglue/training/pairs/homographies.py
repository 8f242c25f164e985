"""Random homographies: two views of one photo whose points correspond exactly.

The sampler is that of the official training code (glue-factory; the paper, Sec. 4, names only its use): a random convex
quadrilateral inside the photo becomes a rectangular patch. Here a quadrilateral runs through pixel centres: the centres
of a patch's four corner pixels come from its corners, so that no patch shows anything from outside the photo.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from photoglue.errors import ConfigError, require


@dataclass(frozen=True, kw_only=True)
class HomographyConfig:
    """How a patch is cut out of a photo; the defaults are those of the official training of stage 1."""

    difficulty: float = 0.7
    """0: the whole photo, not rotated. At 1 the corners may move up to the photo's middle. It also scales rotation and
    translation."""
    translation: float = 1.0
    """Share of the free margin (times ``difficulty``) that the patch may move through, in [0, 1]."""
    max_angle_deg: float = 45.0
    """Rotations are between plus and minus this times ``difficulty``; up to 180."""
    n_angles: int = 10
    """Rotations tried, evenly spaced; the first that leaves the quadrilateral inside the photo is taken. 0: none."""
    full_circle: bool = False
    """Turn each quadrilateral by any angle, and shrink it where it would leave the photo; ``max_angle_deg`` and
    ``n_angles`` do not count then."""
    shear: float = 1.0
    """Share that is left of what tells the random quadrilateral from a rectangle of its middle and area and the patch's
    aspect, in [0, 1]: at 0, views differ by rotation, scale and translation alone."""
    min_convexity: float = 0.05
    """Least sine of the angles at the corners, on a photo scaled to a square."""
    patch_size: tuple[int, int] | None = (640, 480)
    """(width, height) of all patches, pixels. None: of the aspect of each photo, and so large that on average a pixel
    of the patch is as large as one of the photo."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("difficulty", 0.0, 1.0),
            ("translation", 0.0, 1.0),
            ("shear", 0.0, 1.0),
            ("max_angle_deg", 0.0, 180.0),
            ("min_convexity", 0.0, 0.9),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value:g}; it must be between {low:g} and {high:g}.")
        if self.n_angles < 0:
            raise ConfigError(f"n_angles is {self.n_angles}; it must be 0 or more.")
        if self.patch_size is not None and min(self.patch_size) < 2:
            raise ConfigError(f"patch_size is {self.patch_size}; it must be (width, height), at least 2 pixels each.")

    def patch_size_of(self, photo_size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of the patches of a photo of that size, pixels."""
        if self.patch_size is not None:
            return self.patch_size
        share = 1 - self.difficulty / 2  # of the photo's side: the mean side of a quadrilateral
        return max(2, round(photo_size[0] * share)), max(2, round(photo_size[1] * share))


def sample_homography(
    photo_size: tuple[int, int], config: HomographyConfig, generator: np.random.Generator
) -> Float64[np.ndarray, "3 3"]:
    """patch_from_photo: takes pixels of the photo to pixels of a random patch; its last element is 1.

    Args:
        photo_size: (width, height), pixels, at least 2 each.
        config: What to sample.
        generator: Gives the same homographies for the same state.
    """
    width, height = config.patch_size_of(photo_size)
    patch_corners = _unit_corners() * [width - 1, height - 1]
    return _homography(sample_corners(photo_size, config, generator), patch_corners)


def sample_corners(
    photo_size: tuple[int, int], config: HomographyConfig, generator: np.random.Generator
) -> Float64[np.ndarray, "4 2"]:
    """Where in the photo the corners of a random patch lie: top left, top right, bottom right, bottom left; pixels."""
    extent = np.array(photo_size, dtype=np.float64) - 1
    corners = _convex_corners(config, generator) * extent
    if config.shear < 1:
        corners = config.shear * corners + (1 - config.shear) * _rectangle(corners, extent, photo_size, config)
    corners += extent / 2 - corners.mean(axis=0)
    corners = _rotated(corners, extent, config, generator)
    low, high = -corners.min(axis=0), extent - corners.max(axis=0)
    high = np.maximum(low, high)  # one that just fits leaves nothing, or by rounding less
    shift = generator.uniform(low, high) * config.translation * config.difficulty
    # To move the middle can push a corner out of the photo; without the limits one patch in 170 shows black there.
    return np.asarray(corners + np.clip(shift, low, high))


def warp_photo(
    photo: UInt8[np.ndarray, "h w 3"], patch_from_photo: Float64[np.ndarray, "3 3"], patch_size: tuple[int, int]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The patch, bilinear. Of a photo much larger than the patch make a smaller one first, or it is aliased.

    Raises:
        MissingExtra: If no OpenCV is installed.
    """
    cv2 = require("cv2", extra="sift")
    # Rounding may put the border's samples 1e-12 pixels outside: repeat the border instead of mixing in black.
    patch = cv2.warpPerspective(
        photo, patch_from_photo, patch_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(patch)


def _unit_corners() -> Float64[np.ndarray, "4 2"]:
    return np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def _convex_corners(config: HomographyConfig, generator: np.random.Generator) -> Float64[np.ndarray, "4 2"]:
    """A convex quadrilateral in the unit square, each corner moved inwards by up to half the difficulty."""
    corners = _unit_corners()
    inwards = (0.5 - corners) * config.difficulty
    while True:
        moved = corners + generator.uniform(size=(4, 2)) * inwards
        sides = np.roll(moved, -1, axis=0) - moved
        sides /= np.maximum(np.linalg.norm(sides, axis=1, keepdims=True), 1e-12)
        after = np.roll(sides, -1, axis=0)
        sines = sides[:, 0] * after[:, 1] - sides[:, 1] * after[:, 0]
        if (sines >= config.min_convexity).all():
            return moved


def _rotated(
    corners: Float64[np.ndarray, "4 2"],
    extent: Float64[np.ndarray, " 2"],
    config: HomographyConfig,
    generator: np.random.Generator,
) -> Float64[np.ndarray, "4 2"]:
    """The corners turned about their middle by the first random angle that leaves them inside; else as they are.

    Full circle: by any angle, and shrunk if they would not be inside.
    """
    if config.full_circle:
        turned = _turned(corners, generator.uniform(-math.pi, math.pi))
        fits = float((extent / 2 / np.maximum(np.abs(turned - extent / 2), 1e-12)).min())
        return np.asarray((turned - extent / 2) * min(1.0, fits) + extent / 2)
    largest = math.radians(config.max_angle_deg) * config.difficulty
    # The official loop never comes to the last of its shuffled angles.
    angles = generator.permutation(np.linspace(-largest, largest, config.n_angles))[:-1]
    for angle in angles:
        turned = _turned(corners, angle)
        if ((turned >= 0) & (turned <= extent)).all():
            return turned
    return corners


def _turned(corners: Float64[np.ndarray, "4 2"], angle: float) -> Float64[np.ndarray, "4 2"]:
    """The corners turned about their middle, clockwise as seen, by radians."""
    middle, cosine, sine = corners.mean(axis=0), math.cos(angle), math.sin(angle)
    return np.asarray((corners - middle) @ np.array([[cosine, sine], [-sine, cosine]]) + middle)


def _rectangle(
    corners: Float64[np.ndarray, "4 2"],
    extent: Float64[np.ndarray, " 2"],
    photo_size: tuple[int, int],
    config: HomographyConfig,
) -> Float64[np.ndarray, "4 2"]:
    """The upright rectangle of a quadrilateral's middle and area with the patch's aspect, or as much as fits."""
    (x, y), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    area = abs(float((x * y1 - x1 * y).sum())) / 2
    width, height = config.patch_size_of(photo_size)
    aspect = (width - 1) / (height - 1)
    sides = np.array([math.sqrt(area * aspect), math.sqrt(area / aspect)])
    sides *= min(1.0, float((extent / sides).min()))
    return np.asarray((_unit_corners() - 0.5) * sides + corners.mean(axis=0))


def _homography(source: Float64[np.ndarray, "4 2"], target: Float64[np.ndarray, "4 2"]) -> Float64[np.ndarray, "3 3"]:
    """The homography that takes four points to four others, its last element 1."""
    (x, y), (u, v) = source.T, target.T
    one, zero = np.ones(4), np.zeros(4)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=1),
        ]
    )
    return np.asarray(np.append(np.linalg.solve(rows, np.concatenate([u, v])), 1.0).reshape(3, 3))
