"""A pose that is about right → the keypoints that see points of the map where the pose says, without a matcher."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from photoglue.sfm.locating.known import KnownMap
from photoglue.sfm.locating.search import Found, Links, Query
from photoglue.solvers.absolute_pose import project

ANGLE_DEG, SCALE = 60.0, 4.0
"""A point looks about the same from directions that differ by this at most, and at sizes that do by this factor."""
LIKE = 0.1
"""Share of the pairs that the matcher found which are less alike than a pair must be that is found here."""
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Guided:
    """What a pose predicts, and what there is of it."""

    links: Links
    """The keypoints that see a point where it is predicted, and look like it."""
    predicted: int
    """Points that are predicted in the photo near a keypoint."""

    @property
    def share(self) -> float:
        """Share of the predicted points that were found."""
        return len(self.links.points) / self.predicted if self.predicted else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """Points of the map as the photo that saw each from nearly the same direction describes them."""

    points: Int64[np.ndarray, " m"]
    descriptors: Float[np.ndarray, "m d"]


def guided_links(query: Query, known: KnownMap, found: Found, photos: Sequence[str]) -> Guided:
    """The keypoints that see points of some photos of the map where a pose predicts them.

    Args:
        query: The photo.
        known: The map.
        found: The pose, with the pairs that the matcher found: others must be as alike as nine tenths of these.
        photos: The photos of the map whose points are looked for.
    """
    own = _unit(query.features.descriptors.float().cpu().numpy())
    seen = _seen(query, known, found, photos)
    if not len(seen.points):
        return Guided(links=Links.none(), predicted=0)
    row_of = np.full(len(known.xyz), -1)
    row_of[seen.points] = np.arange(len(seen.points))
    inliers = found.inliers
    rows = row_of[inliers.points]
    alike = (seen.descriptors[rows[rows >= 0]] * own[inliers.keypoints[rows >= 0]]).sum(axis=1)
    least = float(np.quantile(alike, LIKE)) if len(alike) else 1.0
    predicted, _ = project(found.pose.camera, found.pose.cam_from_world, known.xyz[seen.points])
    pairs = _near(predicted, query.xy, query.threshold_px)
    similar = (seen.descriptors[pairs[0]] * own[pairs[1]]).sum(axis=1)
    best = _mutual(*pairs, similar)
    best = best[similar[best] >= least]
    points, keypoints = seen.points[pairs[0][best]], pairs[1][best]
    return Guided(
        links=Links(keypoints=keypoints, points=points, photos=np.full(len(points), -1)),
        predicted=len(np.unique(pairs[0])),
    )


def _seen(query: Query, known: KnownMap, found: Found, photos: Sequence[str]) -> _Seen:
    """The points that the photos see from about where the pose is, each as the best of them describes it."""
    centre = _centre(found.pose.cam_from_world.numpy())
    focal = found.pose.camera.parameters[0]
    points, rows, numbers, turned = [], [], [], []
    for number, name in enumerate(photos):
        photo = known.photo(name)
        row = np.flatnonzero(photo.points >= 0)
        point = photo.points[row]
        to_query, to_photo = centre - known.xyz[point], photo.image.centre.numpy() - known.xyz[point]
        lengths = np.linalg.norm(to_query, axis=1), np.linalg.norm(to_photo, axis=1)
        cosine = (to_query * to_photo).sum(axis=1) / np.maximum(lengths[0] * lengths[1], 1e-300)
        record = known.model.cameras[photo.image.camera_id]
        zoom = max(query.stored.size) / max(record.image_size)  # both are seen at one size by the extractor
        scale = focal / lengths[0] / zoom / (record.parameters[0] / lengths[1])
        keep = (cosine > np.cos(np.deg2rad(ANGLE_DEG))) & (scale < SCALE) & (scale > 1 / SCALE)
        points.append(point[keep])
        rows.append(row[keep])
        numbers.append(np.full(int(keep.sum()), number))
        turned.append(-cosine[keep])
    empty = np.empty(0, dtype=np.int64)
    point, row_of, number_of = (np.concatenate([empty, *part]) for part in (points, rows, numbers))
    order = np.lexsort((np.concatenate([np.empty(0), *turned]), point))
    chosen = order[np.unique(point[order], return_index=True)[1]]
    descriptors = np.empty((len(chosen), query.features.descriptors.shape[1]), dtype=np.float32)
    for i, name in enumerate(photos):
        mine = number_of[chosen] == i
        if mine.any():
            descriptors[mine] = known.features(name).descriptors.float().numpy()[row_of[chosen[mine]]]
    return _Seen(points=point[chosen], descriptors=_unit(descriptors))


def _near(
    predicted: Float64[np.ndarray, "m 2"], keypoints: Float64[np.ndarray, "n 2"], radius: float
) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """All pairs of rows of both that are at most so far apart; nan is far from everything."""
    order = np.argsort(keypoints[:, 0], kind="stable")
    x = keypoints[order, 0]
    first = np.searchsorted(x, predicted[:, 0] - radius)
    last = np.where(np.isnan(predicted[:, 0]), first, np.searchsorted(x, predicted[:, 0] + radius, side="right"))
    counts = np.maximum(last - first, 0)
    row = np.repeat(np.arange(len(predicted)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    column = order[place]
    near = np.linalg.norm(predicted[row] - keypoints[column], axis=1) <= radius
    return row[near], column[near]


def _mutual(
    row: Int64[np.ndarray, " p"], column: Int64[np.ndarray, " p"], similar: Float[np.ndarray, " p"]
) -> Int64[np.ndarray, " b"]:
    """The pairs that are the most similar of their row and of their column."""
    order = np.argsort(-similar, kind="stable")
    of_row = order[np.unique(row[order], return_index=True)[1]]
    of_column = order[np.unique(column[order], return_index=True)[1]]
    return np.intersect1d(of_row, of_column)


def _centre(matrix: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "3"]:
    return np.asarray(-matrix[:3, :3].T @ matrix[:3, 3])


def _unit(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
