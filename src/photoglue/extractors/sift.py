"""SIFT: OpenCV's difference-of-Gaussians points with RootSIFT descriptors.

Reference: Lowe, Distinctive image features from scale-invariant keypoints (IJCV 2004); RootSIFT: Arandjelović and
Zisserman, Three things everyone should know to improve object retrieval (CVPR 2012).

Units. The released SIFT-LightGlue weights were trained on COLMAP's points, so ``scales`` is sigma (half of
``KeyPoint.size``) and ``orientations`` lies in (-pi, pi]. The official inference code passes OpenCV's own numbers,
twice the sigma and an angle in [0, 2 pi); we do not.

Where OpenCV's points lie. It doubles the image before it looks for points. Pixel x of the doubled image is pixel
x/2 - 1/4 of the image, but OpenCV goes back with x/2 alone, so all its points lie a quarter of a pixel too far to the
right and down. Measured with Gaussian blobs of sigma 1.5 to 12 pixels at random sub-pixel positions, in cv2 4.8.0 and
5.0.0: 0.25 ± 0.006 in x and in y. We subtract it; then the median difference to COLMAP's points on a real photo is
0.001 pixels. (OpenCV's option ``enable_precise_upscale`` removes the shift as well, but finds other points: on pairs of
Strecha's fountain 4 to 6 % fewer correct matches.)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from photoglue.errors import ConfigError, require
from photoglue.extractors.base import ExtractorConfig, ReleasedExtractor
from photoglue.extractors.keypoints import best, local_maxima
from photoglue.image import to_gray
from photoglue.structs import Features
from photoglue.weights import WeightsRecord

WEIGHTS: Mapping[str, WeightsRecord] = {}
"""Records of released weights, by kind: SIFT has none."""

OPENCV_SHIFT = 0.25
"""Distance of OpenCV's points from the true ones, in x and in y, pixels; the module's text explains it."""


@dataclass(frozen=True, kw_only=True)
class DogConfig(ExtractorConfig):
    """Options of OpenCV's difference-of-Gaussians detector; the defaults are those of LightGlue's official code."""

    detection_threshold: float = 0.0066667
    """Least contrast of a point. OpenCV divides it by ``octave_layers``, so the scores found are above the quotient."""
    nms_radius: int = 0
    """Distance along both axes, in pixels of the resized image, within which only the best point stays; 0: one point
    for each pixel."""
    edge_threshold: float = 10.0
    """Largest ratio of the two principal curvatures of a point; points on straight edges exceed it."""
    octave_layers: int = 4
    """Number of scales searched in each octave. (COLMAP searches 3; 4 is its number of octaves, which OpenCV derives
    itself.)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.detection_threshold < 0:
            raise ConfigError(f"detection_threshold is {self.detection_threshold}; a contrast is 0 or more.")
        if self.edge_threshold <= 0:
            raise ConfigError(f"edge_threshold is {self.edge_threshold}; it must be above 0, such as 10.")
        if self.octave_layers < 1:
            raise ConfigError(f"octave_layers is {self.octave_layers}; it must be at least 1, such as 4.")


@dataclass(frozen=True, kw_only=True)
class SIFTConfig(DogConfig):
    """Options of SIFT: those of its detector, and of its descriptors."""

    nms_radius: int = 3
    """Distance along both axes, in pixels of the resized image, within which only the best point stays; 0: one point
    for each pixel. 3 is what LightGlue is trained with, where several points at one place would contradict each other;
    its inference code uses 0. Measured with the ratio test on 173 pairs with known pose: AUC@5° is 66.3 at 0 and 68.5
    at 3 on reichstag, 89.0 and 90.4, 93.7 and 92.2, 85.9 and 88.3 on Strecha's three."""
    root: bool = True
    """Whether to make RootSIFT, which the released matcher expects; False: plain SIFT, scaled to unit length."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DogPoints:
    """Points of one image in OpenCV's terms; ``n`` may be zero."""

    opencv_points: Float32[np.ndarray, "n 2"]
    """Positions (x, y), pixels, with OpenCV's shift of a quarter of a pixel."""
    scores: Float32[np.ndarray, " n"]
    """Contrast of each point at the extremum, for images in [0, 1]."""
    sizes: Float32[np.ndarray, " n"]
    """Size of each point, twice the sigma, pixels."""
    angles: Float32[np.ndarray, " n"]
    """Angle of each point, radians, clockwise as seen."""
    descriptors: Float32[np.ndarray, "n 128"] | None = None
    """SIFT descriptors, 0 to 255; None if they were not asked for."""

    @property
    def points(self) -> Float32[np.ndarray, "n 2"]:
        """Positions (x, y), pixels, without OpenCV's shift; the centre of the top-left pixel is (0, 0)."""
        return self.opencv_points - np.float32(OPENCV_SHIFT)

    def __len__(self) -> int:
        return len(self.opencv_points)

    def __getitem__(self, rows: Int64[np.ndarray, " k"]) -> "DogPoints":
        return DogPoints(**{name: array[rows] for name, array in vars(self).items() if array is not None})


class SIFT(ReleasedExtractor):
    """SIFT points and descriptors, by OpenCV (the extra ``sift``), on the CPU."""

    records = WEIGHTS
    config: SIFTConfig
    kind = "sift-opencv"
    descriptor_dim = 128

    def __init__(self, config: SIFTConfig | None = None) -> None:
        super().__init__(config or SIFTConfig())

    def detect(self, images: Float[Tensor, "b c h w"], masks: Bool[Tensor, "b h w"] | None = None) -> list[Features]:
        """Features of a batch of images of one size, in pixels of these tensors; see ``Extractor.detect``."""
        grays = to_uint8(to_gray(images))
        wanted = [None] * len(grays) if masks is None else list(masks.cpu().numpy())
        return [self._detect_one(gray, mask).to(images.device) for gray, mask in zip(grays, wanted, strict=True)]

    def _detect_one(self, gray: UInt8[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"] | None) -> Features:
        # Angles are signed before the points are merged, as with COLMAP's, which the matcher was trained on.
        found = detect_dog(gray, mask, self.config, signed_angles=True, describe=True)
        descriptors = torch.from_numpy(found.descriptors)
        return Features(
            keypoints=torch.from_numpy(found.points),
            descriptors=root_sift(descriptors) if self.config.root else functional.normalize(descriptors, eps=1e-6),
            scores=torch.from_numpy(found.scores),
            image_size=(gray.shape[1], gray.shape[0]),
            kind=self.kind,
            scales=torch.from_numpy(found.sizes / 2),
            orientations=torch.from_numpy(found.angles),
        )


def to_uint8(grays: Float[Tensor, "b 1 h w"]) -> UInt8[np.ndarray, "b h w"]:
    """Gray images in [0, 1] as the 8 bits that OpenCV's SIFT takes, cut off as in the official code.

    A thousandth of a gray level is added first: k / 255 · 255, and the weighted sum of three equal channels, can come
    out a few float32 steps below k, and k - 1 would remain. The official code has that loss.
    """
    return (grays[:, 0] * 255 + 1e-3).to(torch.uint8).cpu().numpy()


def detect_dog(
    gray: UInt8[np.ndarray, "h w"],
    mask: Bool[np.ndarray, "h w"] | None,
    config: DogConfig,
    *,
    signed_angles: bool,
    describe: bool = False,
) -> DogPoints:
    """The best points of an image, best first: inside the mask, one a pixel, at most ``config.max_keypoints``.

    Args:
        gray: The image, 8 bits.
        mask: True where points are wanted; None: everywhere.
        config: The detector's options.
        signed_angles: Whether angles are in (-pi, pi]; otherwise in [0, 2 pi).
        describe: Whether to compute SIFT descriptors, too.
    """
    # OpenCV can stop at the highest scores, before it describes them, but knows neither our mask (its own comes after
    # the choice) nor the merging. A point is dropped only for one with a higher score, so what is left of the highest
    # scores is what would be left of all, as far as it goes. So ask for a surplus, and for all if that was too small.
    count = _surplus(mask, config)
    while True:
        every = _opencv_points(gray, config, count, signed_angles=signed_angles, describe=describe)
        rows = _chosen(every, mask, config)
        if count == 0 or len(every) < count or len(rows) == config.max_keypoints:
            return every[rows]
        count = 0


def root_sift(descriptors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The square root of descriptors of unit sum, of unit length: their dot product is the Hellinger kernel.

    Reference: Arandjelović and Zisserman (CVPR 2012), Sec. 2; the epsilons are the official code's.
    """
    shares = functional.normalize(descriptors, p=1, dim=-1, eps=1e-6)
    return functional.normalize(shares.clamp_(min=1e-6).sqrt_(), p=2, dim=-1, eps=1e-6)


def _surplus(mask: Bool[np.ndarray, "h w"] | None, config: DogConfig) -> int:
    """How many points to ask OpenCV for, so that most likely ``config.max_keypoints`` are left; 0: all."""
    share = 1.0 if mask is None else float(mask.mean())
    if config.max_keypoints is None or share == 0:
        return 0
    count = math.ceil((1.5 if config.nms_radius == 0 else 3.0) * config.max_keypoints / share)
    return min(count, 2**31 - 1)  # OpenCV's is a 32-bit number, and a mask may leave a single pixel


def _opencv_points(
    gray: UInt8[np.ndarray, "h w"], config: DogConfig, count: int, *, signed_angles: bool, describe: bool
) -> DogPoints:
    """The points with the ``count`` highest scores (0: all), in no order."""
    cv2 = require("cv2", extra="sift")
    # Made anew for each image (microseconds): OpenCV's objects can be neither copied nor pickled.
    sift = cv2.SIFT_create(
        nfeatures=count,
        nOctaveLayers=config.octave_layers,
        contrastThreshold=config.detection_threshold,
        edgeThreshold=config.edge_threshold,
        enable_precise_upscale=False,
    )
    keypoints, descriptors = sift.detectAndCompute(gray, None) if describe else (sift.detect(gray, None), None)
    n = len(keypoints)
    if describe and n == 0:
        descriptors = np.zeros((0, 128), np.float32)
    # OpenCV's bindings give whole arrays of coordinates only; the rest has to be read one by one.
    degrees = np.fromiter((keypoint.angle for keypoint in keypoints), np.float32, n)
    if signed_angles:
        degrees = np.where(degrees > 180, degrees - np.float32(360), degrees)
    return DogPoints(
        opencv_points=np.asarray(cv2.KeyPoint_convert(keypoints), np.float32).reshape(-1, 2),
        scores=np.fromiter((keypoint.response for keypoint in keypoints), np.float32, n),
        sizes=np.fromiter((keypoint.size for keypoint in keypoints), np.float32, n),
        angles=np.deg2rad(degrees),
        descriptors=descriptors,
    )


def _chosen(every: DogPoints, mask: Bool[np.ndarray, "h w"] | None, config: DogConfig) -> Int64[np.ndarray, " k"]:
    """Rows of the best points inside the mask, one a pixel, best first."""
    rows = np.arange(len(every))
    if mask is not None:
        x, y = np.rint(every.points).astype(np.int64).T
        rows = rows[mask[y, x]]
    # The official filter takes OpenCV's points for corner-based ones, hence the half; kept, to merge the same points.
    pixels = np.rint(every.opencv_points - 0.5).astype(np.int64)
    rows = rows[_one_per_pixel(pixels[rows], every.scores[rows], every.angles[rows])]
    if config.nms_radius > 0:
        rows = rows[_highest_around(pixels[rows], every.scores[rows], config.nms_radius)]
    order = best(torch.from_numpy(every.scores[rows]), config.max_keypoints).numpy()
    return np.asarray(rows[order])


def _one_per_pixel(
    pixels: Int64[np.ndarray, "n 2"], scores: Float32[np.ndarray, " n"], angles: Float32[np.ndarray, " n"]
) -> Int64[np.ndarray, " k"]:
    """Rows, row of pixels by row: of the points at one pixel that with the highest score, then the smallest |angle|.

    A point with several orientations comes once for each; near-duplicates also come from neighbouring scales.
    """
    x, y = pixels.T
    order = np.lexsort((angles, np.abs(angles), -scores, x, y))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (pixels[order[1:]] != pixels[order[:-1]]).any(axis=1)
    return order[first]


def _highest_around(
    pixels: Int64[np.ndarray, "n 2"], scores: Float32[np.ndarray, " n"], radius: int
) -> Bool[np.ndarray, " n"]:
    """True for points with the highest score within ``radius`` pixels along both axes."""
    x, y = pixels.T
    score_map = np.zeros([int(axis.max(initial=0)) + 1 for axis in (y, x)], np.float32)
    score_map[y, x] = scores
    maxima = local_maxima(torch.from_numpy(score_map)[None], radius)[0].numpy()
    return np.asarray(maxima[y, x])
