"""A photo's matches with photos of a map → the pose that they agree on, and whether it can be believed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from photoglue.geometry.frames import StoredFrame, to_colmap
from photoglue.geometry.pose import rotation_error_deg
from photoglue.sfm.locating.cameras import FocalSource, Guess, focal_of
from photoglue.sfm.locating.known import KnownMap
from photoglue.solvers.absolute_pose import (
    AbsolutePose,
    PoseSpread,
    absolute_pose,
    pose_spread,
    project,
    refined_pose,
)
from photoglue.structs import Features, Matches

MIN_INLIERS = 12
"""A pose that fewer points agree with is none."""
THRESHOLD_PX = 4.0
"""Largest error of an inlier, pixels of the photo as the extractor saw it."""
WORSE = 0.9
"""A camera is wrong if it gets less than this share of the inliers that an estimated focal length gets …"""
FOCAL_OFF = 0.03
"""… and the two focal lengths differ by more than this."""
RIVAL = 0.5
"""A photo may be in two places if the second has this share of the inliers of the first."""
RIVAL_TRIALS = 1000
APART, TURNED_DEG = 0.05, 5.0
"""Two poses are two places if they are farther apart than this share of the distance to the scene, or turned more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Links:
    """Which keypoints of a photo see which points of a map."""

    keypoints: Int64[np.ndarray, " k"]
    """Rows of the features."""
    points: Int64[np.ndarray, " k"]
    """Rows of the map's points."""
    photos: Int64[np.ndarray, " k"]
    """Which photo of the map says so, by its position among those that were matched."""

    @classmethod
    def none(cls) -> "Links":
        """No link."""
        empty = np.empty(0, dtype=np.int64)
        return cls(keypoints=empty, points=empty, photos=empty)

    def and_of(self, matches: Matches, points: Int64[np.ndarray, " n"], photo: int) -> "Links":
        """These, and those of the matches of one more photo, whose features see ``points``."""
        own, other = matches.indices.cpu().numpy().T
        seen = points[other]
        keep = seen >= 0
        return Links(
            keypoints=np.concatenate([self.keypoints, own[keep]]),
            points=np.concatenate([self.points, seen[keep]]),
            photos=np.concatenate([self.photos, np.full(int(keep.sum()), photo)]),
        )

    def once(self) -> Int64[np.ndarray, " u"]:
        """Rows of which no two link the same keypoint with the same point."""
        pairs = np.stack([self.keypoints, self.points])
        return np.sort(np.unique(pairs, axis=1, return_index=True)[1])

    def select(self, rows: Int64[np.ndarray, " u"] | Bool[np.ndarray, " k"]) -> "Links":
        """Only some of them."""
        return Links(keypoints=self.keypoints[rows], points=self.points[rows], photos=self.photos[rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """A photo that is to be placed."""

    features: Features
    stored: StoredFrame
    """How the upright photo is turned against the stored one."""
    guesses: Sequence[Guess]
    """The cameras that it may have."""
    xy: Float64[np.ndarray, "n 2"]
    """The keypoints in COLMAP's stored pixels."""
    threshold_px: float
    """Largest error of an inlier."""

    @classmethod
    def of(cls, features: Features, stored: StoredFrame, guesses: Sequence[Guess], resize: int | None) -> "Query":
        """The query of features; ``resize`` is the side that the extractor saw."""
        side = max(features.image_size)
        return cls(
            features=features,
            stored=stored,
            guesses=guesses,
            xy=to_colmap(stored.from_upright(features.keypoints.cpu().double())).numpy(),
            threshold_px=THRESHOLD_PX * max(1.0, side / (resize or side)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """A pose with what speaks for it."""

    pose: AbsolutePose
    links: Links
    """What it was found with; ``pose.inliers`` says which of them agree."""
    source: FocalSource
    """Where the focal length comes from."""
    notes: tuple[str, ...] = ()
    """What was strange."""

    def __len__(self) -> int:
        return len(self.pose)

    @property
    def inliers(self) -> Links:
        """The links that agree."""
        return self.links.select(self.pose.inliers)


def found_pose(query: Query, known: KnownMap, links: Links) -> Found | None:
    """The pose that most links agree with, by the likeliest camera that does not do clearly worse than a free one."""
    links = links.select(links.once())
    if len(links.points) < MIN_INLIERS:
        return None
    points = query.xy[links.keypoints], known.xyz[links.points]
    best: tuple[Guess, AbsolutePose] | None = None
    for guess in query.guesses:
        free = guess.source == "estimated"
        pose = absolute_pose(*points, guess.camera, threshold_px=query.threshold_px, focal=free)
        if pose is None or len(pose) < MIN_INLIERS:
            continue
        if best is None or (len(best[1]) < WORSE * len(pose) and _differ(best[1], pose)):
            best = guess, pose
    if best is None:
        return None
    return Found(pose=best[1], links=links, source=best[0].source, notes=_about_camera(query, best[0], best[1]))


def _differ(pose: AbsolutePose, other: AbsolutePose) -> bool:
    return abs(focal_of(pose.camera) / focal_of(other.camera) - 1) > FOCAL_OFF


def _about_camera(query: Query, used: Guess, pose: AbsolutePose) -> tuple[str, ...]:
    first = query.guesses[0]
    if used.source != "estimated" or first.source not in ("given", "EXIF"):
        return ()
    which = "given focal length" if first.source == "given" else "focal length in its EXIF data"
    return (
        f"the {which}, {focal_of(first.camera):.0f} px, does not fit the matches; one of "
        f"{focal_of(pose.camera):.0f} px was estimated",
    )


def with_more(query: Query, known: KnownMap, found: Found, more: Links) -> Found:
    """A pose made better with links that it was not found with."""
    both = Links(
        keypoints=np.concatenate([found.inliers.keypoints, more.keypoints]),
        points=np.concatenate([found.inliers.points, more.points]),
        photos=np.concatenate([found.inliers.photos, more.photos]),
    )
    both = both.select(both.once())
    points = query.xy[both.keypoints], known.xyz[both.points]
    pose = refined_pose(
        found.pose, *points, threshold_px=query.threshold_px, focal=found.source in ("EXIF", "estimated")
    )
    return replace(found, pose=pose, links=both)


def spread_of(query: Query, known: KnownMap, found: Found) -> PoseSpread:
    """How far the pose may be off."""
    links = found.links
    free = found.source in ("EXIF", "estimated")
    return pose_spread(found.pose, query.xy[links.keypoints], known.xyz[links.points], focal=free)


def depth_of(known: KnownMap, found: Found) -> float:
    """Median distance of the inliers along the axis of the camera."""
    _, depths = project(found.pose.camera, found.pose.cam_from_world, known.xyz[found.inliers.points])
    return float(np.median(depths)) if len(depths) else math.inf


def rival_of(query: Query, known: KnownMap, found: Found, links: Links, agreeing: int) -> int:
    """How many of the links that do not agree with a pose agree with another place; 0: with none that counts.

    Args:
        query: The photo.
        known: The map.
        found: The pose.
        links: All links that the matcher found.
        agreeing: How many of them agree with the pose.
    """
    taken = set(zip(found.inliers.keypoints.tolist(), found.inliers.points.tolist(), strict=True))
    rows = [(k, p) not in taken for k, p in zip(links.keypoints.tolist(), links.points.tolist(), strict=True)]
    rest = links.select(np.array(rows, dtype=bool))
    rest = rest.select(rest.once())
    # A keypoint that agrees with the pose by another of its points is no witness of another place.
    rest = rest.select(~np.isin(rest.keypoints, found.inliers.keypoints))
    points = query.xy[rest.keypoints], known.xyz[rest.points]
    other = absolute_pose(*points, found.pose.camera, threshold_px=query.threshold_px, trials=RIVAL_TRIALS)
    if other is None or len(other) < max(MIN_INLIERS, RIVAL * agreeing):
        return 0
    return len(other) if apart(found.pose, other, depth_of(known, found)) else 0


def apart(pose: AbsolutePose, other: AbsolutePose, depth: float) -> bool:
    """Whether two poses are two places."""
    rotations = pose.cam_from_world[:3, :3], other.cam_from_world[:3, :3]
    centres = [
        -rotation.T @ each.cam_from_world[:3, 3] for rotation, each in zip(rotations, (pose, other), strict=True)
    ]
    distance = float((centres[0] - centres[1]).norm())
    return distance > APART * depth or rotation_error_deg(*rotations) > TURNED_DEG
