"""Where the camera is in each frame: a simple monocular odometry on the tracks.

Two frames with parallax begin a map (essential matrix, triangulation); other frames are placed by the tracks whose
point in space is known (PnP), and points are triangulated as they get parallax. There is no bundle adjustment and no
closing of loops, so it drifts: `photoglue map` on the keyframes makes a better model, later.
"""

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from photoglue.errors import require
from photoglue.files import write_whole
from photoglue.geometry.camera import PinholeCamera
from photoglue.geometry.pose import quaternion_from_rotation
from photoglue.solvers import poselib
from photoglue.video.results import FrameResult

LEAST = 12
"""Fewest tracks that place a frame."""
BEGIN_TRACKS, BEGIN_DEG = 40, 1.5
"""A map begins with so many tracks of two frames, whose rays meet at so large an angle (median)."""
POINT_DEG, SHARPER = 1.5, 1.6
"""Rays of a new point meet at this angle or more; it is triangulated anew when their angle has grown by this factor."""
ERROR_PX = 2.5
"""Largest error of a point that is where it should be, pixels of a frame 640 pixels long."""
WAITING, POINTS_KEPT = 120, 50_000
"""Frames that wait for a map to begin; points that are remembered."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraPose:
    """Where the camera was."""

    frame: int
    timestamp: float
    """Seconds."""
    cam_from_world: Float64[np.ndarray, "4 4"]
    """The world is the camera of the frame that the map began with; the unit of length is the distance from there to
    the other frame that it began with."""

    def tum(self) -> str:
        """A line of a TUM trajectory: timestamp tx ty tz qx qy qz qw, from the camera to the world."""
        world_from_cam = np.linalg.inv(self.cam_from_world)
        w, x, y, z = quaternion_from_rotation(torch.from_numpy(world_from_cam[:3, :3])).tolist()
        numbers = [*world_from_cam[:3, 3].tolist(), x, y, z, w]
        return " ".join([f"{self.timestamp:.6f}", *(f"{number:.9g}" for number in numbers)])


@dataclass
class _Point:
    """A track in space, or on the way there."""

    pose: np.ndarray
    """``cam_from_world`` of the frame where it was first seen."""
    ray: np.ndarray
    """(x, y, 1) there."""
    place: np.ndarray | None = None
    """In the world; None: not enough parallax yet."""
    angle: float = 0.0
    """At which its rays met, radians."""
    misses: int = 0


@final
class Odometry:
    """Places frames one after the other.

    Args:
        camera: The camera of all frames.

    Raises:
        MissingExtra: If PoseLib is not installed.
    """

    def __init__(self, camera: PinholeCamera) -> None:
        self._poselib = require("poselib", extra="geometry")
        self.camera = camera
        self._focal = np.array([camera.fx, camera.fy])
        self._centre = np.array([camera.cx, camera.cy])
        self._limit_px = ERROR_PX * max(camera.image_size) / 640
        self._options = {
            "max_reproj_error": self._limit_px, "seed": 0, "max_iterations": 1000, "min_iterations": 50,
        }  # fmt: skip
        self._model = {
            "model": "PINHOLE", "width": camera.image_size[0], "height": camera.image_size[1],
            "params": [camera.fx, camera.fy, camera.cx, camera.cy],
        }  # fmt: skip
        self._points: dict[int, _Point] = {}
        self._waiting: deque[FrameResult] = deque()
        self._begun = False
        self._last: Any = None

    def add(self, result: FrameResult) -> list[CameraPose]:
        """The poses that are known by this frame: mostly its own; of all that waited when the map begins.

        Args:
            result: What ``push`` returned, for frames of the camera's size.
        """
        if self._begun:
            pose = self._place(result)
            return [] if pose is None else [pose]
        self._waiting.append(result)
        shared = np.isin(self._waiting[0].ids, result.ids).sum()
        while shared < BEGIN_TRACKS or len(self._waiting) > WAITING:
            self._waiting.popleft()
            if len(self._waiting) < 2:
                return []
            shared = np.isin(self._waiting[0].ids, result.ids).sum()
        if not self._begin(self._waiting[0], result):
            return []
        waited, self._begun = list(self._waiting), True
        self._waiting.clear()
        return [pose for pose in map(self._place, waited) if pose is not None]

    def _begin(self, first: FrameResult, second: FrameResult) -> bool:
        """Make a map of two frames, if they have parallax."""
        ids, rows0, rows1 = np.intersect1d(first.ids, second.ids, return_indices=True)
        points0, points1 = first.points[rows0], second.points[rows1]
        if np.median(np.linalg.norm(points1 - points0, axis=1)) < 0.02 * max(self.camera.image_size):
            return False
        found = poselib.verify(
            torch.from_numpy(points0), torch.from_numpy(points1), "essential", camera0=self.camera, camera1=self.camera,
            threshold_px=self._limit_px / 2, max_iterations=1000,
        )  # fmt: skip
        if found.rotation is None or found.translation is None or len(found) < BEGIN_TRACKS / 2:
            return False
        pose0, pose1 = np.eye(4), np.eye(4)
        pose1[:3, :3], pose1[:3, 3] = found.rotation.numpy(), found.translation.numpy()
        good = found.inliers.numpy()
        rays0, rays1 = self._rays(points0[good]), self._rays(points1[good])
        places, angles, ok = _triangulated(pose0[None], pose1, rays0, rays1)
        if ok.sum() < BEGIN_TRACKS / 2 or np.degrees(np.median(angles[ok])) < BEGIN_DEG:
            return False
        for track, ray, place, angle in zip(ids[good][ok], rays0[ok], places[ok], angles[ok], strict=True):
            self._points[int(track)] = _Point(pose0, ray, place, float(angle))
        return True

    def _place(self, result: FrameResult) -> CameraPose | None:
        known = [row for row, track in enumerate(result.ids.tolist()) if self._is_placed(track)]
        if len(known) < LEAST:
            return None
        ids, pixels = result.ids[known], result.points[known].astype(np.float64)
        places = np.array([self._points[track].place for track in ids.tolist()])
        found, info = self._poselib.estimate_absolute_pose(pixels, places, self._model, self._options, {}, self._last)
        inliers = np.array(info["inliers"], dtype=bool)
        if inliers.sum() < max(LEAST, 0.3 * len(known)):
            return None
        self._last = found
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = found.R, found.t
        self._judge(ids, inliers)
        self._extend(result, pose)
        return CameraPose(frame=result.frame, timestamp=result.timestamp, cam_from_world=pose)

    def _is_placed(self, track: int) -> bool:
        point = self._points.get(track)
        return point is not None and point.place is not None

    def _judge(self, ids: Int64[np.ndarray, " n"], inliers: Bool[np.ndarray, " n"]) -> None:
        """Forget points that are not where they should be, again and again."""
        for track, good in zip(ids.tolist(), inliers.tolist(), strict=True):
            point = self._points[track]
            point.misses = 0 if good else point.misses + 1
            if point.misses > 3:
                del self._points[track]

    def _extend(self, result: FrameResult, pose: Float64[np.ndarray, "4 4"]) -> None:
        """Triangulate tracks with enough parallax since they were first seen, or much more than at the last time."""
        rays = self._rays(result.points)
        rows = []
        for row, track in enumerate(result.ids.tolist()):
            if track in self._points:
                rows.append(row)
            else:
                self._points[track] = _Point(pose, rays[row])
        chosen = [self._points[track] for track in result.ids[rows].tolist()]
        if not chosen:
            return
        poses = np.stack([point.pose for point in chosen])
        least = np.array([max(np.radians(POINT_DEG), SHARPER * point.angle) for point in chosen])
        first = np.stack([point.ray for point in chosen])
        places, angles, ok = _triangulated(poses, pose, first, rays[rows])
        errors = np.maximum(self._errors(places, poses, first), self._errors(places, pose[None], rays[rows]))
        for number in np.flatnonzero(ok & (angles > least) & (errors < self._limit_px)).tolist():
            chosen[number].place, chosen[number].angle = places[number], float(angles[number])
        if len(self._points) > POINTS_KEPT:
            here = set(result.ids.tolist())
            old = [track for track in list(self._points)[: POINTS_KEPT // 2] if track not in here]
            for track in old:
                del self._points[track]

    def _rays(self, points: Any) -> Float64[np.ndarray, "n 3"]:
        """(x, y, 1) of pixels."""
        return np.column_stack([(points.astype(np.float64) - self._centre) / self._focal, np.ones(len(points))])

    def _errors(
        self, places: Float64[np.ndarray, "n 3"], poses: Float64[np.ndarray, "p 4 4"], rays: Float64[np.ndarray, "n 3"]
    ) -> Float64[np.ndarray, " n"]:
        """How far points are from their rays, pixels; p is n, or 1 for all."""
        seen = np.einsum("nij,nj->ni", np.broadcast_to(poses[:, :3, :3], (len(places), 3, 3)), places) + poses[:, :3, 3]
        depth = np.where(np.abs(seen[:, 2:]) > 1e-9, seen[:, 2:], 1e-9)
        return np.asarray(np.linalg.norm((seen[:, :2] / depth - rays[:, :2]) * self._focal, axis=1))


def _triangulated(
    poses0: Float64[np.ndarray, "p 4 4"],
    pose1: Float64[np.ndarray, "4 4"],
    rays0: Float64[np.ndarray, "n 3"],
    rays1: Float64[np.ndarray, "n 3"],
) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Where rays meet best (the middle of their nearest points), at which angle, and whether before both cameras.

    Args:
        poses0: ``cam_from_world`` of the first camera of each point; one for all if p is 1.
        pose1: That of the second camera.
        rays0: (x, y, 1) in the first cameras.
        rays1: (x, y, 1) in the second one.
    """
    turned0 = np.broadcast_to(poses0[:, :3, :3], (len(rays0), 3, 3))
    direction0 = np.einsum("nji,nj->ni", turned0, rays0)
    direction1 = rays1 @ pose1[:3, :3]
    centre0 = -np.einsum("nji,nj->ni", turned0, np.broadcast_to(poses0[:, :3, 3], (len(rays0), 3)))
    centre1 = -pose1[:3, :3].T @ pose1[:3, 3]
    unit0 = direction0 / np.linalg.norm(direction0, axis=1, keepdims=True)
    unit1 = direction1 / np.linalg.norm(direction1, axis=1, keepdims=True)
    cosine = np.sum(unit0 * unit1, axis=1)
    between = centre1 - centre0
    along0, along1 = np.sum(unit0 * between, axis=1), np.sum(unit1 * between, axis=1)
    square = np.maximum(1 - cosine**2, 1e-12)
    depth0, depth1 = (along0 - cosine * along1) / square, (cosine * along0 - along1) / square
    places = (centre0 + depth0[:, None] * unit0 + centre1 + depth1[:, None] * unit1) / 2
    return places, np.arccos(np.clip(cosine, -1, 1)), (depth0 > 0) & (depth1 > 0)


def write_trajectory(poses: list[CameraPose], path: str | os.PathLike[str]) -> None:
    """Write a TUM trajectory, which evo reads: ``evo_ape tum truth.txt FILE -a -s`` compares it with a true one.

    Raises:
        OutputError: If the file cannot be written.
    """
    lines = ["# timestamp tx ty tz qx qy qz qw (camera to world)", *(pose.tum() for pose in poses)]
    write_whole(Path(path), ("\n".join(lines) + "\n").encode())
