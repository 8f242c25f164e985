"""Which points of a pair match, which have no partner, and which nobody can tell: decided from the geometry alone.

Two one-way distances carry everything: how far a point of image 0, brought into image 1, lands from each point there,
and the same backwards. Points match if both are small and they are each other's nearest; a point has no partner if it
lands far from everything. What is between, or hidden, or without depth, is ignored by the losses.

The rules are those of the official training code (glue-factory); one is added for depth: see `_label_posed`.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from photoglue.datasets.depth import has_depth, project_points
from photoglue.errors import ConfigError, ShapeError
from photoglue.geometry.epipolar import all_line_distances, fundamental_matrix
from photoglue.geometry.homography import warp_points
from photoglue.structs import TensorStruct
from photoglue.training.pairs.base import HomographyPair, PosedPair, TrainingPair

UNMATCHED = -1
"""The point has no partner in the other image."""
IGNORED = -2
"""Nobody can tell: the losses leave the point out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels(TensorStruct):
    """The true matches of a pair; the two sides agree."""

    matches0: Int64[Tensor, " m"]
    """Partner in image 1 of each keypoint of image 0, or ``UNMATCHED``, or ``IGNORED``."""
    matches1: Int64[Tensor, " n"]
    """Partner in image 0 of each keypoint of image 1, or ``UNMATCHED``, or ``IGNORED``."""


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """Distances below which points match, and above which they do not, in pixels of the image that a point lands in.

    Raises:
        ConfigError: If a distance is not positive, or a point could be a match and none at once.
    """

    positive_px: float = 3.0
    """Points match if they are each other's nearest and land nearer than this, in both images."""
    homography_negative_px: float = 3.0
    """A point of a homography pair has no partner if it lands farther than this from every point."""
    depth_negative_px: float = 5.0
    """A point of a posed pair has no partner if it lands farther than this from every point; depth is not exact."""
    epipolar_px: float | None = 5.0
    """A point without depth has no partner if the epipolar lines are farther than this from every point that is still
    ignored (mean of the two distances from point to line). None: it stays ignored."""

    def __post_init__(self) -> None:
        for name in ("positive_px", "homography_negative_px", "depth_negative_px", "epipolar_px"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value}; it must be a positive number of pixels.")
        for name in ("homography_negative_px", "depth_negative_px"):
            if getattr(self, name) < self.positive_px:
                raise ConfigError(
                    f"{name} is {getattr(self, name):g} and positive_px {self.positive_px:g}: a point between the two "
                    f"would match and have no partner at once. Make {name} at least as large."
                )


# Frozen, so that one can serve as the default of every call.
DEFAULT_RULES = LabelRules()


def label(pair: TrainingPair, rules: LabelRules = DEFAULT_RULES) -> Labels:
    """The true matches of a pair, on the device of its keypoints.

    Swapping the images swaps the labels. Several points at one place (SIFT returns one for each orientation) share the
    partner's place: one of them matches, the others are ignored.

    Raises:
        ShapeError: If a posed pair has not one depth for each keypoint.
    """
    if isinstance(pair, HomographyPair):
        return _label_homography(pair, rules)
    return _label_posed(pair, rules)


def _label_homography(pair: HomographyPair, rules: LabelRules) -> Labels:
    points0, points1 = pair.features0.keypoints, pair.features1.keypoints
    forth = pair.image1_from_image0.to(points0.device)
    squared0 = _squared_distances(_warped(points0, forth), points1)
    squared1 = _squared_distances(points0, _warped(points1, torch.linalg.inv(forth)))
    matches0, matches1 = _mutual_nearest(torch.maximum(squared0, squared1), rules.positive_px**2)
    limit = rules.homography_negative_px**2
    matches0[_smallest(squared0, dim=1) > limit] = UNMATCHED
    matches1[_smallest(squared1, dim=0) > limit] = UNMATCHED
    return Labels(matches0=matches0, matches1=matches1)


def _label_posed(pair: PosedPair, rules: LabelRules) -> Labels:
    """Labels from depth, pose and cameras.

    Beyond the official rules, no point is called unmatched where the depth of the *other* image says that something
    may be there. Beside a hole or an edge in the depth, the official rules match one of two neighbouring points and
    call its twin, a pixel away, unmatched.
    """
    points0, points1 = pair.points0, pair.points1
    depths0, depths1 = (depths.to(points0.device) for depths in (pair.depths0, pair.depths1))
    for points, depths, side in ((points0, depths0, 0), (points1, depths1, 1)):
        if len(points) != len(depths):
            raise ShapeError(f"Image {side} has {len(points)} keypoints and {len(depths)} depths; give one for each.")
    forth = pair.cam1_from_cam0.to(points0.device)
    landed0 = project_points(points0, depths0, pair.camera0, pair.camera1, forth).nan_to_num(nan=math.inf)
    landed1 = project_points(points1, depths1, pair.camera1, pair.camera0, torch.linalg.inv(forth)).nan_to_num(
        nan=math.inf
    )
    squared0, squared1 = _squared_distances(landed0, points1), _squared_distances(points0, landed1)
    matches0, matches1 = _mutual_nearest(torch.maximum(squared0, squared1), rules.positive_px**2)

    known0, known1 = has_depth(depths0), has_depth(depths1)
    limit = rules.depth_negative_px**2
    far0, far1 = _smallest(squared0, dim=1) > limit, _smallest(squared1, dim=0) > limit
    twin0 = _smallest(squared1[:, matches1 >= 0], dim=1) < rules.positive_px**2
    twin1 = _smallest(squared0[matches0 >= 0], dim=0) < rules.positive_px**2
    matches0[known0 & far0 & ~twin0] = UNMATCHED
    matches1[known1 & far1 & ~twin1] = UNMATCHED
    if rules.epipolar_px is not None:
        # Both sides are judged by what was ignored before either was changed.
        open0, open1 = matches0 == IGNORED, matches1 == IGNORED
        alone0 = _smallest(squared1, dim=1) > limit
        alone1 = _smallest(squared0, dim=0) > limit
        off0, off1 = _off_all_lines(pair, open0, open1, rules.epipolar_px)
        matches0[open0 & ~known0 & off0 & alone0] = UNMATCHED
        matches1[open1 & ~known1 & off1 & alone1] = UNMATCHED
    return Labels(matches0=matches0, matches1=matches1)


def _squared_distances(points: Float[Tensor, "m 2"], others: Float[Tensor, "n 2"]) -> Float[Tensor, "m n"]:
    """By plain differences: in single precision the expansion |a|² + |b|² - 2ab is off by pixels."""
    x0, y0 = points.float().unbind(dim=1)
    x1, y1 = others.float().unbind(dim=1)
    return (x0[:, None] - x1).square_().add_((y0[:, None] - y1).square_())


def _smallest(squared: Float[Tensor, "m n"], dim: int) -> Float[Tensor, " k"]:
    """Along an axis, which may be empty: nothing is infinitely far."""
    return squared.amin(dim) if squared.shape[dim] else squared.new_full((squared.shape[1 - dim],), math.inf)


def _mutual_nearest(squared: Float[Tensor, "m n"], limit: float) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " n"]]:
    """Points that are each other's nearest and nearer than ``limit``; all others ``IGNORED``.

    Of several at one place the first matches, on any device and in either order of the images.
    """
    m, n = squared.shape
    device = squared.device
    matches0 = torch.full((m,), IGNORED, dtype=torch.int64, device=device)
    matches1 = torch.full((n,), IGNORED, dtype=torch.int64, device=device)
    rows = torch.nonzero(_smallest(squared, dim=1) < limit).flatten()
    if len(rows) == 0:
        return matches0, matches1
    # Only rows that can match are searched for their column: the search is the slow part.
    value, column = squared[rows].min(dim=1)
    mutual = value == squared.amin(0)[column]
    rows, column = rows[mutual], column[mutual]
    first = torch.full((n,), m, dtype=torch.int64, device=device).scatter_reduce(0, column, rows, "amin")
    chosen = first[column] == rows
    rows, column = rows[chosen], column[chosen]
    matches0[rows], matches1[column] = column, rows
    return matches0, matches1


def _warped(points: Float[Tensor, "n 2"], homography: Float64[Tensor, "3 3"]) -> Float[Tensor, "n 2"]:
    """Where points land in the other image; infinitely far away if that camera has them behind."""
    return warp_points(points, homography).nan_to_num(nan=math.inf)


def _off_all_lines(
    pair: PosedPair, open0: Bool[Tensor, " m"], open1: Bool[Tensor, " n"], limit: float
) -> tuple[Bool[Tensor, " m"], Bool[Tensor, " n"]]:
    """Points whose epipolar distance to every open point of the other image is above ``limit``."""
    points0, points1 = pair.points0, pair.points1
    fundamental = fundamental_matrix(pair.cam1_from_cam0, pair.camera0, pair.camera1)
    distances = all_line_distances(points0[open0], points1[open1], fundamental)
    off0, off1 = torch.zeros_like(open0), torch.zeros_like(open1)
    off0[open0] = _smallest(distances, dim=1) > limit
    off1[open1] = _smallest(distances, dim=0) > limit
    return off0, off1
